"""The peers: what else computes a case, by name, each from its own project.

`make peers` installs the versions that `peers.txt` names into `.peers`, beside the project's environment and behind it in the
search path. A peer that is not there is named as missing in the results.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.measure import Contestant
from regard.attention.pairs.pairs import Pairs

if TYPE_CHECKING:
    from benchmarks.cases import Case, Inputs

__all__ = ["FOLDER", "PEERS", "Peer", "load", "missing"]

FOLDER = Path(__file__).parent.parent / ".peers"


@dataclass(frozen=True)
class Peer:
    """Another implementation.

    Args:
        make: the contestant for a case. package: the module that it needs beside torch, or None.
        about: how it is called and where its meaning differs, for the documentation.
    """

    make: Callable[[Case, Inputs], Contestant]
    package: str | None = None
    about: str = ""


def load(name: str) -> Any:
    """A module of a peer; what it prints and warns of at its import is kept away."""
    if FOLDER.is_dir() and str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def missing(name: str) -> str | None:
    """Why a peer cannot take part, or None."""
    package = PEERS[name].package
    if package is None:
        return None
    try:
        load(package)
    except ImportError as error:
        return f"not installed ({error.name or error}): `make peers`"
    return None


def _square(x: Tensor, case: Case) -> Tensor:
    """`[b, h, n, d]` from `[t, h, d]`, the same memory: sets of equal lengths side by side."""
    return x.unflatten(0, (len(case.lengths), -1)).transpose(1, 2)


def _own(case: Case, inputs: Inputs) -> list[Tensor]:
    """Queries, keys and values `[b, h, n, d]` in memory of their own, as most peers want them."""
    leaves = [_square(x, case).detach().contiguous() for x in (inputs.q, inputs.k, inputs.v)]
    return [leaf.requires_grad_() for leaf in leaves] if case.backward else leaves


def _contestant(case: Case, leaves: list[Tensor], call: Callable[..., Tensor], once: bool = False) -> Contestant:
    return Contestant(lambda: call(*leaves), leaves if case.backward else (), once=once)


def sdpa(case: Case, inputs: Inputs) -> Contestant:
    """On the very tensors that we get."""
    leaves = [inputs.q, inputs.k, inputs.v]

    def call(*leaves: Tensor) -> Tensor:
        q, k, v = (_square(x, case) for x in leaves)
        return scaled_dot_product_attention(q, k, v, dropout_p=case.dropout).transpose(1, 2).flatten(0, 1)

    return _contestant(case, leaves, call)


def sdpa_masked(case: Case, inputs: Inputs) -> Contestant:
    rows = torch.arange(case.lengths[0])
    pairs = Pairs(inputs.layout, inputs.layout, rows[:, None], rows)
    mask = case.problem().attention.allows(pairs).movedim(-1, 0)
    return _contestant(
        case,
        _own(case, inputs),
        lambda q, k, v: scaled_dot_product_attention(q, k, v, mask, dropout_p=case.dropout),
    )


def sdpa_one_head(case: Case, inputs: Inputs) -> Contestant:
    leaves = [x[:, :1].detach().contiguous() for x in _own(case, inputs)]
    leaves = [x.requires_grad_(case.backward) for x in leaves]
    causal = "Causal" in repr(case.attention)
    return _contestant(
        case, leaves, lambda q, k, v: scaled_dot_product_attention(q, k, v, is_causal=causal), once=case.total > 20_000
    )


def sdpa_kept(case: Case, inputs: Inputs) -> Contestant:
    """Exact attention of one query to all keys and values from before."""
    q, k, v = _own(case, inputs)
    last = q[:, :, -1:].contiguous()
    return Contestant(lambda: scaled_dot_product_attention(last, k, v))


def eager(case: Case, inputs: Inputs) -> Contestant:
    """The score of every pair by its formula, then softmax and a product: an additive score as it is usually written."""
    q, k, v = _own(case, inputs)
    leaves = [q, k, v, *inputs.parameters.values()]

    def call(q: Tensor, k: Tensor, v: Tensor, weight: Tensor) -> Tensor:
        scores = torch.tanh(q[..., :, None, :] + k[..., None, :, :]) @ weight[:, None, :, None]
        return scores.squeeze(-1).softmax(-1) @ v

    return _contestant(case, leaves, call)


def flex(case: Case, inputs: Inputs) -> Contestant:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    pattern, length = case.attention.patterns[0], case.lengths[0]

    def allows(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return pattern.allows(i, j, None)

    mask = create_block_mask(allows, None, None, length, length, device="cpu")
    compiled = torch.compile(flex_attention)
    return _contestant(case, _own(case, inputs), lambda q, k, v: compiled(q, k, v, block_mask=mask))


def local_attention(case: Case, inputs: Inputs) -> Contestant:
    pattern: Any = case.attention.patterns[0]
    module = load("local_attention").LocalAttention(
        pattern.left, look_backward=1, look_forward=1, exact_windowsize=True, dropout=case.dropout
    )
    return _contestant(case, _own(case, inputs), module)


def linear_attention(case: Case, inputs: Inputs) -> Contestant:
    module = load("linear_attention_transformer.linear_attention_transformer")
    if "Causal" not in repr(case.attention):
        return _contestant(case, _own(case, inputs), module.linear_attn)
    return _contestant(case, _own(case, inputs), lambda q, k, v: module.causal_linear_attn(q, k, v, bucket_size=64))


def performer(case: Case, inputs: Inputs) -> Contestant:
    """With as many random features as it takes by itself, d ln d."""
    causal = "Causal" in repr(case.attention)
    with contextlib.redirect_stdout(io.StringIO()):  # It prints that it has no CUDA.
        module = load("performer_pytorch").FastAttention(case.d, int(case.d * math.log(case.d)), causal=causal)
    return _contestant(case, _own(case, inputs), module)


def _hidden(case: Case, inputs: Inputs) -> Tensor:
    """`[1, n, width]`, what a layer gets."""
    assert inputs.values is not None, "a case of a layer has its vectors"
    return inputs.values.detach()[None].requires_grad_()


def longformer(case: Case, inputs: Inputs) -> Contestant:
    module = load("transformers.models.longformer.modeling_longformer")
    pattern: Any = case.attention.patterns[0]
    window, first = (pattern.a, pattern.b.n) if hasattr(pattern, "a") else (pattern, 0)
    config = module.LongformerConfig(
        hidden_size=case.heads * case.d,
        num_attention_heads=case.heads,
        attention_window=[2 * window.left],
        attention_probs_dropout_prob=case.dropout,
    )
    layer, x = module.LongformerSelfAttention(config, 0), _hidden(case, inputs)
    glob = torch.zeros(1, x.shape[1], dtype=torch.bool)
    glob[:, :first] = True
    mask, none = glob.float() * 10_000, torch.zeros_like(glob)

    def forward() -> Tensor:
        return layer(x, mask, none, glob, bool(first))[0]

    return Contestant(forward, [x, *(p for p in layer.parameters() if first or "global" not in _name(layer, p))])


def _name(module: torch.nn.Module, parameter: Tensor) -> str:
    return next(name for name, each in module.named_parameters() if each is parameter)


def big_bird(case: Case, inputs: Inputs) -> Contestant:
    module = load("transformers.models.big_bird.modeling_big_bird")
    config = module.BigBirdConfig(
        hidden_size=case.heads * case.d,
        num_attention_heads=case.heads,
        attention_probs_dropout_prob=case.dropout,
        block_size=64,
        num_random_blocks=3,
    )
    layer, x = module.BigBirdBlockSparseAttention(config, seed=0), _hidden(case, inputs)
    layer.train()
    ones = torch.ones(1, x.shape[1])
    blocked, band, rows, keys = module.BigBirdModel.create_masks_for_block_sparse_attn(ones, 64)

    def forward() -> Tensor:
        return layer(x, band, rows, keys, blocked, blocked)[0]

    return Contestant(forward, [x, *layer.parameters()])


def _graph_layer(name: str) -> Callable[[Case, Inputs], Contestant]:
    """A layer of PyTorch Geometric with the same projections: without self-loops and without a projection beside attention."""

    def make(case: Case, inputs: Inputs) -> Contestant:
        options = {"root_weight": False} if name == "TransformerConv" else {"add_self_loops": False}
        width = case.heads * case.d
        layer = getattr(load("torch_geometric.nn"), name)(width, case.d, heads=case.heads, **options)
        x, edges = _hidden(case, inputs)[0], inputs.layout.edges
        assert edges is not None, "a case of a graph has its edges"
        x, index = x.detach().requires_grad_(), edges.flip(0).contiguous()
        return Contestant(lambda: layer(x, index), [x, *layer.parameters()])

    return make


PEERS = {
    "SDPA": Peer(sdpa, about="scaled_dot_product_attention on the same tensors"),
    "SDPA, mask": Peer(sdpa_masked, about="scaled_dot_product_attention with a mask of booleans, n x n"),
    "SDPA, one head": Peer(sdpa_one_head, about="everyone, one head; its time counts once for every head"),
    "SDPA, keys kept": Peer(sdpa_kept, about="exact attention of the last query to keys that were kept"),
    "eager": Peer(eager, about="an additive score written out in torch: tanh of n x n x d sums"),
    "FlexAttention": Peer(flex, about="compiled; it has no backward pass on a CPU"),
    "local-attention": Peer(local_attention, "local_attention", "the window exactly, without rotation"),
    "linear-attention-transformer": Peer(
        linear_attention,
        "linear_attention_transformer.linear_attention_transformer",
        "softmax of queries over d and of keys over n; causal in buckets of 64",
    ),
    "performer-pytorch": Peer(performer, "performer_pytorch", "FastAttention with d ln d random features"),
    "TransformerConv": Peer(_graph_layer("TransformerConv"), "torch_geometric.nn", "PyTorch Geometric"),
    "GATConv": Peer(_graph_layer("GATConv"), "torch_geometric.nn", "PyTorch Geometric, without self-loops"),
    "GATv2Conv": Peer(_graph_layer("GATv2Conv"), "torch_geometric.nn", "PyTorch Geometric, without self-loops"),
    "Longformer": Peer(
        longformer, "transformers.models.longformer.modeling_longformer", "Hugging Face; with projections"
    ),
    "BigBird": Peer(
        big_bird,
        "transformers.models.big_bird.modeling_big_bird",
        "Hugging Face; with projections; 3 blocks of 64 around, first and last, 3 random",
    ),
}
