"""What scores and biases read of the values that edges carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from regard.attention.pairs.pairs import Pairs
    from regard.sets import Layout

__all__ = ["lacking_edge_values", "projected_edges"]


def lacking_edge_values(part: object, width: int, layout: Layout, key_layout: Layout) -> str | None:
    """What layouts lack for a part that reads `width` values of each edge: a sentence, or None."""
    values = layout.edge_values
    found = 0 if values is None or key_layout is not layout else values.shape[1]
    if found == width:
        return None
    whose = "" if layout is key_layout else " of queries and keys together"
    return f"the sets{whose} lack what {part!r} reads, expected {width} values on each edge (it has {found})"


def projected_edges(
    weight: Float[Tensor, "m h c"], pairs: Pairs | None, like: Float[Tensor, " ..."]
) -> Float[Tensor, "*b h c"]:
    """`[..., h, c]`: the values x of each pair's edge times a learned `[m, h, c]`, in the type of `like`; 0 for no edge."""
    assert pairs is not None, "a score that reads edges is told the pairs"
    return (pairs.edge_values.to(like.dtype) @ weight.flatten(1)).unflatten(-1, weight.shape[1:])
