"""`additive`: additive scores on the CPU, with exponentials per vector instead of per pair."""
