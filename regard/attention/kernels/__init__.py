"""Kernels for the CPU, written in Python and compiled by Numba; only executors call them, and nothing else imports Numba."""
