"""`blocks`: every attention on interval patterns, in tiles of matrix products."""
