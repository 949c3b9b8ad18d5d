"""Vectors of the processor in kernels: what LLVM is to emit (`emit`), as values (`lanes`), and along rows of memory (`rows`)."""
