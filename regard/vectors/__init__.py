"""Word vectors from plain text: counted, predicted, read, written, compared and drawn."""
