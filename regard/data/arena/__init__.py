"""Long Range Arena: its tasks drawn by the published rules, and the readers of its data."""
