"""Which rows meet: pairs of rows, keys of rows as intervals, neighbors in space, tiles, and pictures of patterns."""
