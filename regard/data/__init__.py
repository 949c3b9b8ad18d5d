"""Readers: files of text, speech, pictures and graphs in, examples of one set of vectors and its target out."""
