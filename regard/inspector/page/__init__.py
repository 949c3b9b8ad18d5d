"""The page: one JavaScript module, served on the loopback, written into a file, or put into a notebook."""
