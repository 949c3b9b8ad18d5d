"""`kernelized`: linear attention by sums over keys."""
