"""Sets and layouts as trees of tensors, which torch traces, exports and stores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from regard.sets.layout import Layout
from regard.sets.vectors import VectorSets

__all__ = ["register"]


# The names of the fields that are there tell one structure of a layout from another, as text that can be stored.
def _flatten_layout(layout: Layout) -> tuple[list[Tensor], str]:
    there = [name for name in Layout.FIELDS if getattr(layout, name) is not None]
    return [getattr(layout, name) for name in there], " ".join(there)


def _unflatten_layout(fields: Iterable[Any], names: str) -> Layout:
    there = dict(zip(names.split(), fields, strict=True))
    return Layout._trusted([there.get(name) for name in Layout.FIELDS])


def _flatten_layout_with_keys(layout: Layout) -> tuple[list[tuple[Any, Any]], str]:
    fields, names = _flatten_layout(layout)
    return [(pytree.GetAttrKey(name), field) for name, field in zip(names.split(), fields, strict=True)], names


def _flatten_sets(sets: VectorSets) -> tuple[list[Any], None]:
    return [sets.values, sets.layout], None


def _unflatten_sets(fields: Iterable[Any], context: None) -> VectorSets:
    return VectorSets._trusted(*fields)


def _flatten_sets_with_keys(sets: VectorSets) -> tuple[list[tuple[Any, Any]], None]:
    return [(pytree.GetAttrKey("values"), sets.values), (pytree.GetAttrKey("layout"), sets.layout)], None


def register() -> None:
    """Tell torch of both; done once, when the package is imported."""
    pytree.register_pytree_node(
        Layout,
        _flatten_layout,
        _unflatten_layout,
        serialized_type_name="regard.Layout",
        flatten_with_keys_fn=_flatten_layout_with_keys,
    )
    pytree.register_pytree_node(
        VectorSets,
        _flatten_sets,
        _unflatten_sets,
        serialized_type_name="regard.VectorSets",
        flatten_with_keys_fn=_flatten_sets_with_keys,
    )
    # What is stored may be loaded without trusting the file.
    torch.serialization.add_safe_globals([Layout, VectorSets])
