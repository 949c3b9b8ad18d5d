"""Who speaks: comparing voices, error rates of verification, enrolled voices."""
