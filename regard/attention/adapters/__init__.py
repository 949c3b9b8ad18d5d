"""What does not fit score, pattern, normalizer and bias: remember keys from before, reorder vectors, reduce keys."""
