"""Public ports of efficient Transformers as layers of the same small model: each takes `[sets, n, width]` and gives as many.

`make peers` installs the versions that `peers.txt` names. Where a port's meaning differs from the paper's, `about` says so.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peers import load
from regard.sets import VectorSets

__all__ = ["PORTS", "Port", "Ported"]


class Ported(nn.Module):
    """A layer of a port as a mixer of sets of equal lengths, which are its padded batch as they lie.

    Args:
        layer: from `[sets, n, width]` to the same, or to a tuple that begins with it.
    """

    context = (float("inf"), float("inf"))

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, sets: VectorSets) -> VectorSets:
        out: Any = self.layer(sets.values.unflatten(0, (len(sets), -1)))
        out = out[0] if isinstance(out, tuple) else out
        return sets.with_values(out.flatten(0, 1))


@dataclass(frozen=True)
class Port:
    """A port.

    Args:
        make: the layer, for a width, heads and a length. package: that it needs. system: which of ours computes the same.
        about: how it is called and where its meaning differs.
    """

    make: Callable[[int, int, int], nn.Module]
    package: str
    system: str
    about: str


def _local(width: int, heads: int, length: int) -> nn.Module:
    layer = load("local_attention").LocalMHA
    made: nn.Module = layer(
        dim=width, window_size=32, dim_head=width // heads, heads=heads, look_forward=1, exact_windowsize=True
    )
    return made


def _performer(width: int, heads: int, length: int) -> nn.Module:
    with contextlib.redirect_stdout(io.StringIO()):  # It prints that it has no CUDA.
        made: nn.Module = load("performer_pytorch").SelfAttention(
            width, heads=heads, dim_head=width // heads, nb_features=256, causal=False
        )
    return made


def _linformer(width: int, heads: int, length: int) -> nn.Module:
    made: nn.Module = load("linformer").LinformerSelfAttention(width, length, k=256, heads=heads)
    return made


def _reformer(width: int, heads: int, length: int) -> nn.Module:
    # As in the paper: no other buckets, and no pair counted twice.
    made: nn.Module = load("reformer_pytorch").LSHSelfAttention(
        width, heads=heads, bucket_size=64, n_hashes=2, attend_across_buckets=False, allow_duplicate_attention=False
    )
    return made


def _routing(width: int, heads: int, length: int) -> nn.Module:
    layer = load("routing_transformer.routing_transformer").SelfAttention
    made: nn.Module = layer(width, 1, length, heads, 0, max(1, length // 32))
    return made


def _sinkhorn(width: int, heads: int, length: int) -> nn.Module:
    made: nn.Module = load("sinkhorn_transformer").SinkhornSelfAttention(
        width, 64, length, heads=heads, non_permutative=False
    )
    return made


class _WithMask(nn.Module):
    """A layer of Hugging Face with the masks that it takes besides the vectors."""

    def __init__(self, layer: nn.Module, masks: Callable[[Tensor], dict[str, Any]]) -> None:
        super().__init__()
        self.layer, self._masks = layer, masks

    def forward(self, x: Tensor) -> Any:
        return self.layer(x, **self._masks(x))


def _longformer(width: int, heads: int, length: int) -> nn.Module:
    module = load("transformers.models.longformer.modeling_longformer")
    config = module.LongformerConfig(hidden_size=width, num_attention_heads=heads, attention_window=[256])

    def masks(x: Tensor) -> dict[str, Any]:
        first = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
        first[:, 0] = True
        return {
            "attention_mask": first.float() * 10_000,
            "is_index_masked": torch.zeros_like(first),
            "is_index_global_attn": first,
            "is_global_attn": True,
        }

    return _WithMask(module.LongformerSelfAttention(config, 0), masks)


def _big_bird(width: int, heads: int, length: int) -> nn.Module:
    module = load("transformers.models.big_bird.modeling_big_bird")
    config = module.BigBirdConfig(
        hidden_size=width,
        num_attention_heads=heads,
        attention_probs_dropout_prob=0.0,
        block_size=64,
        num_random_blocks=3,
        max_position_embeddings=length,
    )

    def masks(x: Tensor) -> dict[str, Any]:
        everyone = torch.ones(x.shape[:2], device=x.device)
        blocked, band, rows, keys = module.BigBirdModel.create_masks_for_block_sparse_attn(everyone, 64)
        return {
            "band_mask": band,
            "from_mask": rows,
            "to_mask": keys,
            "from_blocked_mask": blocked,
            "to_blocked_mask": blocked,
        }

    return _WithMask(module.BigBirdBlockSparseAttention(config, seed=0), masks)


def _hashed(width: int, heads: int, length: int) -> nn.Module:
    module = load("transformers.models.reformer.modeling_reformer")
    config = module.ReformerConfig(
        hidden_size=width,
        num_attention_heads=heads,
        attention_head_size=width // heads,
        lsh_attn_chunk_length=64,
        num_hashes=2,
        num_buckets=2 * max(1, length // 128),
        lsh_attention_probs_dropout_prob=0.0,
        is_decoder=False,
        max_position_embeddings=length,
    )
    made: nn.Module = module.LSHSelfAttention(config)
    return made


PORTS = {
    "local-attention": Port(_local, "local_attention", "local", "LocalMHA; window of 32 on each side, with rotation"),
    "performer-pytorch": Port(_performer, "performer_pytorch", "performer", "SelfAttention with 256 features"),
    "linformer of PyPI": Port(_linformer, "linformer", "linformer", "LinformerSelfAttention, k = 256"),
    "reformer-pytorch": Port(
        _reformer, "reformer_pytorch", "reformer", "LSHSelfAttention, chunks of 64, two rounds, its own bucket alone"
    ),
    "routing-transformer": Port(
        _routing,
        "routing_transformer.routing_transformer",
        "routing",
        "SelfAttention, 32 clusters; what no cluster takes is zero, what two take the mean",
    ),
    "sinkhorn-transformer": Port(
        _sinkhorn,
        "sinkhorn_transformer",
        "sinkhorn",
        "SinkhornSelfAttention, blocks of 64; values of sorted blocks are overwritten by keys",
    ),
    "Hugging Face Longformer": Port(
        _longformer,
        "transformers.models.longformer.modeling_longformer",
        "longformer",
        "LongformerSelfAttention, window of 128 on each side, one global vector",
    ),
    "Hugging Face BigBird": Port(
        _big_bird,
        "transformers.models.big_bird.modeling_big_bird",
        "bigbird",
        "BigBirdBlockSparseAttention, blocks of 64: three around, the first, the last and three drawn",
    ),
    "Hugging Face Reformer": Port(
        _hashed,
        "transformers.models.reformer.modeling_reformer",
        "reformer",
        "LSHSelfAttention, chunks of 64, two rounds, as many buckets as chunks; no projection of the output",
    ),
}
"""By their names in tables."""
