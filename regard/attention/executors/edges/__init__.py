"""`edges`: compressed rows, pair by pair; graphs and very sparse patterns."""
