"""Sequences out of a model that scores the next id: the best by greedy or beam search, or some drawn by chance."""
