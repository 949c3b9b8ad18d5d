"""What the eigenvectors of a graph cost, told without loading torch."""

from __future__ import annotations

from regard.errors import InputError

__all__ = ["MOST_NODES", "check_nodes"]

MOST_NODES = 5_000
"""Of a graph whose eigenvectors are computed: 200 MB, and a minute on one core."""


def check_nodes(nodes: int, what: str) -> None:
    """Refuse a graph that is too large for its eigenvectors; `what` begins the sentence.

    >>> check_nodes(50_000, "the training graph")
    Traceback (most recent call last):
    regard.errors.InputError: the training graph has 50,000 vectors, whose eigenvectors take 20.0 GB and about 1e+15 operations, \
expected at most 5,000: a polynomial of the Laplacian ('chebyshev') needs no eigenvectors
    """
    if nodes > MOST_NODES:
        cost = f"{nodes * nodes * 8 / 1e9:,.1f} GB and about {9 * nodes**3:.0e} operations"
        raise InputError(
            f"{what} has {nodes:,} vectors, whose eigenvectors take {cost}, expected at most {MOST_NODES:,}: a polynomial of the "
            "Laplacian ('chebyshev') needs no eigenvectors"
        )
