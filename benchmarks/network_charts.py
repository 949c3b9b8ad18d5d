"""A network drawn: people as points that messages pull together, and who wrote to whom as a matrix."""

from __future__ import annotations

import matplotlib.pyplot as plt
import networkx
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from regard.data.examples import Array
from regard.recipes import RECIPES

__all__ = ["departments"]

# As many departments as there are colors that can be told apart; the others are gray.
_COLORS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#b8a400", "#6a3d9a")
_GRAY = "#b9bec7"


def departments() -> Figure:
    """Who wrote to whom in email-Eu-core, once as points and once as the matrix of its edges, sorted by department."""
    people, edges = _people()
    sizes = np.bincount(people)
    largest = np.argsort(-sizes, kind="stable")
    color = np.array([_GRAY] * len(sizes), dtype=object)
    color[largest[: len(_COLORS)]] = _COLORS
    figure, (points, matrix) = plt.subplots(1, 2, figsize=(9.5, 4.8), layout="constrained")

    # Those who wrote to nobody of the largest component lie apart and are left out of the points.
    graph = networkx.from_edgelist(edges.T.tolist())
    together = max(networkx.connected_components(graph), key=len)
    places = networkx.spring_layout(graph.subgraph(sorted(together)), k=0.09, iterations=80, seed=0)
    shown = np.array(sorted(together))
    at = np.zeros((len(people), 2))
    at[shown] = [places[person] for person in shown]
    within = edges[:, np.isin(edges, shown).all(0) & (edges[0] < edges[1])]
    points.add_collection(LineCollection(list(at[within.T]), colors="#30343f", linewidths=0.25, alpha=0.05))
    points.scatter(*at[shown].T, s=5, c=color[people[shown]].tolist(), zorder=2, linewidths=0)
    low, high = np.quantile(at[shown], [0.002, 0.998], axis=0)
    points.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    points.set_title(f"{len(shown):,} people, pulled together by messages", fontsize=10)
    points.axis("off")

    rank = np.empty(len(sizes), np.int64)
    rank[largest] = np.arange(len(sizes))
    order = np.argsort(rank[people], kind="stable")
    place = np.argsort(order)
    matrix.scatter(place[edges[1]], place[edges[0]], s=0.35, c=color[people[edges[0]]].tolist(), linewidths=0)
    ends = sizes[largest].cumsum()
    for end in ends[: len(_COLORS)]:
        matrix.axhline(end - 0.5, color=_GRAY, linewidth=0.4, zorder=0)
        matrix.axvline(end - 0.5, color=_GRAY, linewidth=0.4, zorder=0)
    matrix.set(xlim=(0, len(people)), ylim=(len(people), 0), aspect="equal", xticks=[], yticks=[])
    matrix.set(xlabel="to whom, by department, the largest first", ylabel="who wrote")
    matrix.set_title(f"{edges.shape[1]:,} edges: the pairs that attention along them computes", fontsize=10)
    return figure


def _people() -> tuple[Array, Array]:
    """The department of each person, and `[2, e]` the edges between different people."""
    data = RECIPES["departments"].experiment().data
    whole = data.part("all", data.fit())[0]
    target, edges = whole.target, whole.edges
    assert isinstance(target, np.ndarray)
    assert edges is not None
    return target, edges[:, edges[0] != edges[1]]
