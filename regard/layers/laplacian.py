"""The eigenvectors of the graphs of a batch, and what they cost."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from regard.errors import InputError
from regard.layers.adjacency import normalized_adjacency
from regard.layers.eigenvectors import check_nodes
from regard.sets import Layout

__all__ = ["Spectrum", "spectra"]


class Spectrum(NamedTuple):
    """The eigenvectors of s graphs of n vectors each.

    Args:
        rows: `[s, n]` int64; where their vectors lie in the batch.
        values: `[s, n]` float64; eigenvalues in increasing order, from 0 to 2.
        vectors: `[s, n, n]` float64; the eigenvector of each value as a column, of length 1.
    """

    rows: Tensor
    values: Tensor
    vectors: Tensor


def spectra(layout: Layout) -> list[Spectrum]:
    """Of the normalized Laplacians L = I - D^-1/2 A D^-1/2, graphs of one size together, from small to large.

    A_ij = 1 where an edge is and i is not j, D_ii = sum_j A_ij, and D^-1/2 is 0 for a vector without edges. Computed once per
    batch, in float64 on the CPU. Where an eigenvalue occurs several times, its vectors are any basis of their space, and each
    vector has any sign.

    Raises:
        InputError: a layout without edges, an edge that goes one way only, or a graph of more than
            `regard.layers.eigenvectors.MOST_NODES` vectors.

    >>> layout = Layout(torch.tensor([0, 2]), edges=torch.tensor([[0, 1], [1, 0]]))
    >>> [value.item() for value in spectra(layout)[0].values[0].round(decimals=12).abs()]
    [0.0, 2.0]
    """
    if layout.edges is None:
        raise InputError("the sets have no edges, expected graphs: a spectrum is that of a graph's Laplacian")
    return layout.kept("spectra", lambda: _new_spectra(layout))


def _new_spectra(layout: Layout) -> list[Spectrum]:
    if layout.longest:
        check_nodes(layout.longest, f"set {int(layout.lengths.argmax())}")
    _check_both_ways(layout)
    found = []
    adjacency = normalized_adjacency(layout, self_loops=False).rows
    query = torch.repeat_interleave(adjacency.offsets.diff())
    for size in layout.lengths.unique().tolist():
        if not size:
            continue
        sets = (layout.lengths == size).nonzero()[:, 0]
        rows = layout.offsets[sets, None] + torch.arange(size, device=layout.device)
        number = torch.full((layout.sets,), -1, device=layout.device)
        number[sets] = torch.arange(len(sets), device=layout.device)
        owner = number[layout.set_of_row[query]]
        i, j = (
            x[owner >= 0] - layout.offsets[layout.set_of_row[query[owner >= 0]]] for x in (query, adjacency.columns)
        )
        laplacian = torch.eye(size, dtype=torch.float64, device=layout.device).repeat(len(sets), 1, 1)
        laplacian[owner[owner >= 0], i, j] -= adjacency.weights[owner >= 0]
        values, vectors = torch.linalg.eigh(laplacian.cpu())
        found.append(Spectrum(rows, values.to(layout.device), vectors.to(layout.device)))
    return found


def _check_both_ways(layout: Layout) -> None:
    assert layout.edges is not None
    query, key = layout.edges
    back = torch.isin(key * layout.total + query, layout.edge_codes)
    if not back.all():
        i, j = layout.edges[:, int((~back).nonzero()[0])].tolist()
        b = int(layout.set_of_row[i])
        raise InputError(
            f"set {b} has an edge from row {i} to row {j} and none back, expected each edge both ways: only then do the "
            "eigenvectors of a graph stand at right angles"
        )
