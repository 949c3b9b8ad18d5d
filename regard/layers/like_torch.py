"""`nn.MultiheadAttention` and `nn.TransformerEncoder` of torch, computed by `attend`: the same options, calls and state dicts.

What a mask says becomes a pattern: nothing masked is `Everyone`, an upper triangle `Causal`, any other mask of rows and columns
`Edges`. Keys that a padding mask names are not computed at all. A row without any key gives the vector of the output projection's
bias, where torch gives no numbers. Weights and outputs are those of torch to rounding, gradients too; dropout draws for itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from regard.attention.dropout import Dropout
from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Causal, Edges
from regard.attention.verb import attend, attention_weights
from regard.errors import InputError
from regard.layers.torch_masks import check_tensors, edged, pattern_of, real_of, rectangle, with_pattern
from regard.sets import Layout
from regard.sets.layout import offsets_of

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

__all__ = ["MultiheadAttention", "TransformerEncoder", "TransformerEncoderLayer", "from_torch"]


class _Asked(NamedTuple):
    """What attends to what: the rows of queries and of keys, flat, that take part (None: all), their layouts, and the attention."""

    attention: Attention
    layout: Layout
    key_layout: Layout
    keys: Tensor | None


class MultiheadAttention(nn.MultiheadAttention):
    """`torch.nn.MultiheadAttention`, drop-in: `MultiheadAttention(8, 2).load_state_dict(theirs.state_dict())`.

    Queries that are padding have outputs too, as in torch, which cannot know them. Weights are without dropout. `is_causal`
    needs no mask.

    Args:
        arguments, options: those of torch's.
        attention: what attends; None means `Attention()`, which is what torch computes.

    Raises:
        InputError: `add_bias_kv` or `add_zero_attn`, which add keys that no set has; (when called) a mask that is no
            pattern: one per set and head, numbers but 0 and -inf, or one of more keys than queries that is not causal.

    >>> layer = MultiheadAttention(8, 2, batch_first=True)
    >>> x = torch.ones(2, 3, 8)
    >>> out, weights = layer(x, x, x, key_padding_mask=torch.tensor([[False, False, True]] * 2))
    >>> weights[0, 0].tolist()
    [0.5, 0.5, 0.0]
    """

    def __init__(self, *arguments: Any, attention: Attention | None = None, **options: Any) -> None:
        try:
            super().__init__(*arguments, **options)
        except (AssertionError, ValueError) as error:
            raise InputError(f"MultiheadAttention has options that do not fit: {error}") from None
        if self.bias_k is not None or self.add_zero_attn:
            raise InputError(
                "MultiheadAttention has add_bias_kv or add_zero_attn, expected neither: no set has such keys"
            )
        self.spec = attention or Attention()
        shapes = self.spec.parameters(self.num_heads, self.head_dim)
        self.learned = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(shape) * 0.1) for name, shape in shapes.items()}
        )

    def forward(
        self,
        query: Float[Tensor, "*queries d"],
        key: Float[Tensor, "*keys dk"],
        value: Float[Tensor, "*keys dv"],
        key_padding_mask: Shaped[Tensor, "*s k"] | None = None,
        need_weights: bool = True,
        attn_mask: Shaped[Tensor, "q k"] | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Float[Tensor, "*queries d"], Float[Tensor, "*heads q k"] | None]:
        """As `torch.nn.MultiheadAttention.forward`; quicker with `need_weights=False`."""
        own = key is query and value is query
        check_tensors(query=query, key=key, value=value)
        single = query.dim() == 2
        if single:
            query, key, value = (x[None] for x in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask[None]
        elif not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        asked = self._asked(query, key, value, key_padding_mask, attn_mask, is_causal)
        q, k, v = self._project(query, key, value, own, asked.keys)
        out = self._attended(asked, q, k, v).view(query.shape)
        weights = None
        if need_weights:
            weights = self._weights(asked, q, k, key.shape[1])
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights[0] if single else weights
        return out[0] if single else out if self.batch_first else out.transpose(0, 1), weights

    def packed(self, x: Float[Tensor, "t d"], layout: Layout, attention: Attention) -> Float[Tensor, "t d"]:
        """`[t, width]` for the vectors of sets, which attend to each other."""
        q, k, v = linear(x, self.in_proj_weight, self.in_proj_bias).unflatten(-1, (3, self.num_heads, -1)).unbind(1)
        return self._attended(_Asked(attention, layout, layout, None), q, k, v)

    def _attended(self, asked: _Asked, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        drop = Dropout.draw(self.dropout) if self.training and self.dropout else None
        learned = {name: tensor.to(q.dtype) for name, tensor in self.learned.items()}
        out = attend(asked.attention, q, k, v, asked.layout, asked.key_layout, learned, dropout=drop)
        return linear(out.flatten(1), self.out_proj.weight, self.out_proj.bias)

    def _asked(
        self, query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None, mask: Tensor | None, is_causal: bool
    ) -> _Asked:
        sets, rows, columns = query.shape[0], query.shape[1], key.shape[1]
        if key.shape[0] != sets or key.shape[:2] != value.shape[:2]:
            found = f"{list(query.shape[:2])}, {list(key.shape[:2])} and {list(value.shape[:2])}"
            raise InputError(
                f"query, key and value are {found} sets by vectors, expected as many sets, and values as keys"
            )
        real = real_of(padding, sets, columns)
        pattern = Causal() if is_causal else pattern_of(mask, rows, columns)
        layout = rectangle(sets, rows, query.device)
        if isinstance(pattern, Tensor):
            if rows != columns:
                raise InputError(
                    f"attn_mask is [{rows}, {columns}] and not causal, expected as many queries as keys for it"
                )
            layout = edged(sets, pattern, real, packed=False)
            return _Asked(with_pattern(self.spec, Edges()), layout, layout, None)
        attention = with_pattern(self.spec, pattern)
        if real is None:
            return _Asked(
                attention, layout, layout if rows == columns else rectangle(sets, columns, query.device), None
            )
        places = real.nonzero()[:, 1]
        return _Asked(attention, layout, Layout(offsets_of(real.sum(1)), places=places), real.flatten().nonzero()[:, 0])

    def _project(self, query: Tensor, key: Tensor, value: Tensor, own: bool, keys: Tensor | None) -> list[Tensor]:
        """q `[t, h, d]`, and k and v `[u, h, d]` of the keys that take part."""
        if own and keys is None and self._qkv_same_embed_dim:
            joined = linear(query.flatten(0, 1), self.in_proj_weight, self.in_proj_bias)
            return list(joined.unflatten(-1, (3, self.num_heads, -1)).unbind(1))
        if self._qkv_same_embed_dim:
            matrices = self.in_proj_weight.chunk(3)
        else:
            matrices = self.q_proj_weight, self.k_proj_weight, self.v_proj_weight
        shifts = [None] * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        flat = [x.flatten(0, 1) for x in (query, key, value)]
        if keys is not None:
            flat[1:] = [x.index_select(0, keys) for x in flat[1:]]
        triples = zip(flat, matrices, shifts, strict=True)
        return [linear(x, matrix, shift).unflatten(-1, (self.num_heads, -1)) for x, matrix, shift in triples]

    def _weights(self, asked: _Asked, q: Tensor, k: Tensor, columns: int) -> Tensor:
        """`[sets, h, rows, columns]`"""
        learned = {name: tensor.to(q.dtype) for name, tensor in self.learned.items()}
        found = attention_weights(asked.attention, q, k, asked.layout, asked.key_layout, learned)
        sets = asked.layout.sets
        rows = asked.layout.total // max(sets, 1)
        column = (found.key if asked.keys is None else asked.keys[found.key]) % max(columns, 1)
        out = found.values.new_zeros(sets, rows, columns, self.num_heads)
        index = (found.query // max(rows, 1), found.query % max(rows, 1), column)
        return out.index_put(index, found.values).movedim(-1, 1)


class TransformerEncoderLayer(nn.TransformerEncoderLayer):
    """`torch.nn.TransformerEncoderLayer`, drop-in; padding is not computed, and comes out as zeros.

    Args:
        arguments, options: those of torch's. attention: what attends; None means `Attention()`.
    """

    def __init__(self, *arguments: Any, attention: Attention | None = None, **options: Any) -> None:
        try:
            super().__init__(*arguments, **options)
        except (AssertionError, ValueError, RuntimeError) as error:
            raise InputError(f"TransformerEncoderLayer has options that do not fit: {error}") from None
        self.self_attn: Any = _multihead(self.self_attn, attention)

    def forward(
        self,
        src: Float[Tensor, "*rows d"],
        src_mask: Shaped[Tensor, "n n"] | None = None,
        src_key_padding_mask: Shaped[Tensor, "*s n"] | None = None,
        is_causal: bool = False,
    ) -> Float[Tensor, "*rows d"]:
        """As `torch.nn.TransformerEncoderLayer.forward`."""
        return _through([self], src, src_mask, src_key_padding_mask, is_causal)

    def packed(self, x: Float[Tensor, "t d"], layout: Layout, attention: Attention) -> Float[Tensor, "t d"]:
        """`[t, width]` for the vectors of sets."""
        if self.norm_first:
            x = x + self.dropout1(self.self_attn.packed(self.norm1(x), layout, attention))
            return x + self._feed_forward(self.norm2(x))
        x = self.norm1(x + self.dropout1(self.self_attn.packed(x, layout, attention)))
        out: Tensor = self.norm2(x + self._feed_forward(x))
        return out

    def _feed_forward(self, x: Tensor) -> Tensor:
        activation: Any = self.activation
        out: Tensor = self.dropout2(self.linear2(self.dropout(activation(self.linear1(x)))))
        return out


class TransformerEncoder(nn.TransformerEncoder):
    """`torch.nn.TransformerEncoder`, drop-in; sets are packed once for all layers, and padding comes out as zeros.

    Args:
        encoder_layer: one of this module's. num_layers: how many copies of it. norm: at the end, or None.
        options: others of torch's, which say how it speeds up, and nothing here.

    >>> encoder = TransformerEncoder(TransformerEncoderLayer(8, 2, 16, batch_first=True), num_layers=2)
    >>> encoder(torch.ones(2, 3, 8), src_key_padding_mask=torch.tensor([[True, False, False]] * 2))[:, 0].abs().max().item()
    0.0
    """

    def __init__(
        self, encoder_layer: nn.Module, num_layers: int, norm: nn.Module | None = None, **options: Any
    ) -> None:
        if not isinstance(encoder_layer, TransformerEncoderLayer):
            found = type(encoder_layer).__name__
            raise InputError(
                f"encoder_layer is {found} of another module, expected regard's TransformerEncoderLayer, or from_torch"
            )
        super().__init__(encoder_layer, num_layers, norm, **options | {"enable_nested_tensor": False})

    def forward(
        self,
        src: Float[Tensor, "*rows d"],
        mask: Shaped[Tensor, "n n"] | None = None,
        src_key_padding_mask: Shaped[Tensor, "*s n"] | None = None,
        is_causal: bool | None = None,
    ) -> Float[Tensor, "*rows d"]:
        """As `torch.nn.TransformerEncoder.forward`."""
        return _through(list(self.layers), src, mask, src_key_padding_mask, bool(is_causal), self.norm)


def from_torch(module: nn.Module, attention: Attention | None = None) -> Any:
    """A drop-in with copies of the weights of `nn.MultiheadAttention`, `nn.TransformerEncoderLayer` or `nn.TransformerEncoder`.

    Args:
        module: torch's. attention: what attends instead of all to all.

    Raises:
        InputError: another module, or options that are not taken.
    """
    if isinstance(module, nn.MultiheadAttention):
        made: nn.Module = _multihead(module, attention)
    elif isinstance(module, nn.TransformerEncoderLayer):
        made = _layer(module, attention)
    elif isinstance(module, nn.TransformerEncoder):
        layers = [from_torch(layer, attention) for layer in module.layers]
        made = TransformerEncoder(layers[0], len(layers), module.norm)
        made.layers = nn.ModuleList(layers)
    else:
        known = "nn.MultiheadAttention, nn.TransformerEncoderLayer or nn.TransformerEncoder"
        raise InputError(f"from_torch was given {type(module).__name__}, expected {known}")
    return made.train(module.training)


def _multihead(module: nn.MultiheadAttention, attention: Attention | None) -> MultiheadAttention:
    weight = module.out_proj.weight
    made = MultiheadAttention(
        module.embed_dim,
        module.num_heads,
        dropout=module.dropout,
        bias=module.in_proj_bias is not None,
        add_bias_kv=module.bias_k is not None,
        add_zero_attn=module.add_zero_attn,
        kdim=module.kdim,
        vdim=module.vdim,
        batch_first=module.batch_first,
        device=weight.device,
        dtype=weight.dtype,
        attention=attention,
    )
    made.load_state_dict(module.state_dict() | {name: x for name, x in made.state_dict().items() if "learned" in name})
    return made


def _layer(module: nn.TransformerEncoderLayer, attention: Attention | None) -> TransformerEncoderLayer:
    weight = module.linear1.weight
    made = TransformerEncoderLayer(
        module.linear1.in_features,
        module.self_attn.num_heads,
        module.linear1.out_features,
        dropout=module.dropout.p,
        activation=module.activation,
        layer_norm_eps=module.norm1.eps,
        batch_first=module.self_attn.batch_first,
        norm_first=module.norm_first,
        bias=module.linear1.bias is not None,
        device=weight.device,
        dtype=weight.dtype,
        attention=attention,
    )
    made.load_state_dict(module.state_dict() | {name: x for name, x in made.state_dict().items() if "learned" in name})
    return made


def _through(
    layers: list[Any],
    src: Tensor,
    mask: Tensor | None,
    padding: Tensor | None,
    is_causal: bool,
    norm: nn.Module | None = None,
) -> Tensor:
    """A rectangle through layers that take packed vectors, zeros where there is padding."""
    check_tensors(src=src)
    first = layers[0].self_attn
    single = src.dim() == 2
    if single:
        src, padding = src[None], None if padding is None else padding[None]
    elif not first.batch_first:
        src = src.transpose(0, 1)
    sets, longest = src.shape[:2]
    real = real_of(padding, sets, longest)
    pattern = Causal() if is_causal else pattern_of(mask, longest, longest)
    rows = None if real is None else real.flatten().nonzero()[:, 0]
    if isinstance(pattern, Tensor):
        layout, pattern = edged(sets, pattern, real, packed=True), Edges()
    else:
        layout = rectangle(sets, longest, src.device) if real is None else Layout(offsets_of(real.sum(1)))
    x = src.flatten(0, 1) if rows is None else src.flatten(0, 1).index_select(0, rows)
    for layer in layers:
        x = layer.packed(x, layout, with_pattern(layer.self_attn.spec, pattern))
    x = x if norm is None else norm(x)
    if rows is not None:
        x = x.new_zeros(sets * longest, x.shape[1]).index_copy(0, rows, x)
    out = x.view(src.shape)
    return out[0] if single else out if first.batch_first else out.transpose(0, 1)
