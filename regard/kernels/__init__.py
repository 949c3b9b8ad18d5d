"""Tools for code that Numba compiles for the CPU: compilation, SIMD vectors, packed copies, hashing. No attention in it."""
