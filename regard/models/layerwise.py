"""A model's hidden vectors layer by layer, each for some vectors of a graph at a time: exact, in the memory of a part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from regard.attention.spec.attention import Attention
from regard.attention.spec.biases import EdgeBias, EdgeVectors
from regard.attention.spec.patterns import Edges
from regard.data.batch import Batch
from regard.data.sampling import Neighbors
from regard.errors import InputError
from regard.layers.attention import Attend, SelfAttention
from regard.layers.blocks import Block, Stack
from regard.layers.chebyshev import Chebyshev
from regard.layers.gcn import GraphConvolution
from regard.layers.gcnii import DeepGraphAttention, DeepGraphConvolution
from regard.layers.graph_attention import GraphAttentionLayer
from regard.layers.graph_transformer import GraphTransformer
from regard.layers.mixers import Pointwise
from regard.layers.side_by_side import SideBySide
from regard.layers.spatial import GraphSAGE, SpatialConvolution
from regard.layers.stacks import PlainStack
from regard.models.model import Model
from regard.sets import Layout, VectorSets

__all__ = ["layer_by_layer"]

_Step = Callable[[VectorSets], VectorSets]


@torch.no_grad()
def layer_by_layer(model: Model, batch: Batch, rows: int) -> VectorSets:
    """The hidden vectors of `batch.inputs` as `model(batch)` gives them in evaluation, in less memory.

    Each layer is computed for `rows` vectors at a time, from the results of the layer before for these and for the vectors that
    they have edges to; nothing is drawn, and each vector is computed once per layer. What a layer needs inside (queries, keys,
    values, the hidden vectors of a feed-forward network) is there for one part only; what it costs is that vectors near several
    parts are projected for each.

    Raises:
        InputError: a layer that looks at vectors farther away than along some edges, such as attention among everyone.

    Source: Hamilton et al. 2017, algorithm 1, whose outer loop is over layers.
    """
    steps = list(_steps(model))
    sets = model.entered(batch)
    if model.positions.per_block(sets) is not None:
        raise InputError("each block has positions of its own, expected training.layer_rows 0: all vectors at once")
    host = sets.layout.host
    neighbors = Neighbors(host.total, (torch.empty(2, 0) if host.edges is None else host.edges).long().numpy())
    for step, hops in steps:
        sets = _by_parts(step, hops, sets, rows, neighbors)
    return sets


def _by_parts(step: _Step, hops: int, sets: VectorSets, rows: int, neighbors: Neighbors) -> VectorSets:
    layout, none = sets.layout, np.random.default_rng(0)
    values, edge_values = [], None
    for first in range(0, layout.total, rows):
        own = np.arange(first, min(first + rows, layout.total))
        part = neighbors.drawn(own, (0,) * hops, none)
        nodes, numbers = (torch.from_numpy(each).to(layout.device) for each in part)
        of_part = _layout_of(layout, nodes, numbers)
        found = step(VectorSets(sets.values[nodes], of_part))
        at = np.searchsorted(part.nodes, first)
        values.append(found.values[at : at + len(own)])
        carried = None if found.layout is of_part else found.layout.edge_values
        if carried is not None and layout.edges is not None:
            if edge_values is None:
                edge_values = carried.new_empty(layout.edges.shape[1], carried.shape[1])
            query = layout.edges[0, numbers]
            mine = (query >= first) & (query < first + len(own))
            edge_values[numbers[mine]] = carried[mine]
    changed = layout if edge_values is None else layout.with_edge_values(edge_values)
    return VectorSets(torch.cat(values) if values else step(sets).values, changed)


def _layout_of(layout: Layout, nodes: Tensor, numbers: Tensor) -> Layout:
    """That of some vectors and edges; vectors of several sets may be in one, as they meet along edges only."""
    edges = layout.edges
    if edges is not None:
        edges = torch.searchsorted(nodes, edges[:, numbers])
    carried = None if layout.edge_values is None else layout.edge_values[numbers]
    offsets = torch.tensor([0, len(nodes)], device=nodes.device)
    return Layout(offsets, edges=edges, edge_values=carried)


def _steps(model: Model) -> Iterator[tuple[_Step, int]]:
    """The layers of a model, and along how many edges each reads: 1 where the edges of a vector are all that it knows of."""
    stack = model.stack
    if isinstance(stack, PlainStack):
        deep = [n for n, layer in enumerate(stack.layers) if isinstance(layer, DeepGraphConvolution)] or [0]
        for n, layer in enumerate(stack.layers):
            yield partial(_plain_step, stack, n, deep[0] < n <= deep[-1], deep[0] <= n < deep[-1]), _hops(layer)
    elif isinstance(stack, Stack):
        for block in stack.blocks:
            yield block, _hops(block)
        yield (lambda sets: sets.with_values(stack.norm(sets.values))), 0
    else:
        raise _refused(stack)


def _plain_step(stack: PlainStack, number: int, joined: bool, joins: bool, sets: VectorSets) -> VectorSets:
    """One layer of a stack; the first vectors of its deep layers come joined to the others, and leave so where some follow."""
    first = None
    if joined:
        width = stack.layers[number - 1].width
        first, sets = sets.values[:, width:], sets.with_values(sets.values[:, :width])
    sets, first = stack.step(number, sets, first)
    return sets if first is None or not joins else sets.with_values(torch.cat([sets.values, first], dim=1))


def _hops(layer: nn.Module) -> int:
    if isinstance(layer, Pointwise):
        return 0
    if isinstance(layer, (SpatialConvolution, GraphSAGE, GraphTransformer)):
        return 1
    if isinstance(layer, (GraphConvolution, DeepGraphConvolution)) and not isinstance(layer, DeepGraphAttention):
        return 2  # the degrees of neighbors
    if isinstance(layer, Chebyshev):
        return layer.terms
    if isinstance(layer, (GraphAttentionLayer, DeepGraphAttention, SelfAttention)) and _along_edges(layer.attend):
        return 1
    if isinstance(layer, Block) and layer.cross is None:
        return _hops(layer.mixer)
    if isinstance(layer, SideBySide):
        return max(_hops(mixer) for mixer in layer.mixers)
    raise _refused(layer)


def _along_edges(attend: nn.Module) -> bool:
    attention = attend.attention if isinstance(attend, Attend) else None
    if not isinstance(attention, Attention) or not isinstance(attention.bias, (EdgeBias, EdgeVectors, type(None))):
        return False
    return all(pattern == Edges() for pattern in attention.patterns)


def _refused(layer: nn.Module) -> InputError:
    expected = "expected layers that read along edges, or training.layer_rows 0, which computes all vectors at once"
    return InputError(f"{type(layer).__name__} cannot be computed for some vectors of a graph at a time, {expected}")
