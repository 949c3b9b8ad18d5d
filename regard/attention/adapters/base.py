"""`Adapter`: what attends where no product of score, pattern, normalizer and bias says it.

An adapter is a value, with a text form, around an `Attention`. It reorders vectors, reduces keys or remembers them, and calls the
one verb on what it made of them; it is given that verb and never imports it. It holds no tensors: those that are learned belong to
the layer, and what a growing set remembers is a `State`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from regard.attention.spec.attention import Attention
from regard.attention.spec.base import Part, Shapes
from regard.attention.spec.bias import Bias
from regard.attention.spec.normalizers import Normalizer
from regard.attention.spec.pattern import Pattern
from regard.attention.spec.score import Score
from regard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from regard.attention.dropout import Dropout
    from regard.attention.problem import Tensors
    from regard.sets import Layout

__all__ = ["START", "Adapter", "Attends", "Call", "Own", "State", "check_attention"]

START = 0.1
"""The standard deviation with which learned vectors begin: small, so that at first every allowed key is heard about alike."""


@runtime_checkable
class Attends(Protocol):
    """The verb: `[t, h, e]`, as `attend`."""

    def __call__(
        self,
        attention: Attention,
        tensors: Tensors,
        layout: Layout,
        key_layout: Layout | None = None,
        dropout: Dropout | None = None,
    ) -> Float[Tensor, "t h e"]: ...


def check_attention(value: object) -> None:
    """Refuse what is neither an attention nor an adapter.

    Raises:
        InputError: a part of one, such as a pattern, or something else; the sentence says what to write.
    """
    if isinstance(value, Attention | Adapter):
        return
    made = {Pattern: "pattern", Score: "score", Normalizer: "normalizer", Bias: "bias"}
    option = next((name for kind, name in made.items() if isinstance(value, kind)), None)
    wanted = f"Attention({option}={value!r})" if option else "an Attention or an adapter"
    if isinstance(value, str):
        wanted = f"parse({value!r}), the value of that text"
    raise InputError(f"the attention is {value!r}, expected {wanted}")


class Call(NamedTuple):
    """One call of the verb that an adapter makes: what it is for, what attends, and whose the rows are."""

    name: str
    attention: Attention
    layout: Layout
    key_layout: Layout


class Own(NamedTuple):
    """What an adapter computes by itself, for a plan: what for, the pairs of one head, and how many pairs it holds at once."""

    name: str
    pairs: int
    at_once: int


@runtime_checkable
class State(Protocol):
    """What a growing set remembers, for all sets of a batch; it never changes, each call gives a new one."""

    def attend(
        self, verb: Attends, tensors: Tensors, layout: Layout, dropout: Dropout | None = None
    ) -> tuple[Float[Tensor, "t h e"], State]:
        """`[t, h, e]` for the next vectors of each set, any number of them, and the state with them in it.

        Args:
            verb: `attend`. tensors: of the new vectors. layout: whose rows they are, from `starts` on.
        """
        ...

    def select(self, sets: Int[Tensor, " chosen"]) -> State:
        """The state of these sets alone, in this order; one may come several times."""
        ...


@dataclass(frozen=True, repr=False)
class Adapter(Part):
    """What every adapter offers; a new one defines `attend` and `calls`, and the others where they differ.

    Args:
        attention: what is computed of the vectors that the adapter made.
    """

    attention: Attention = field(default_factory=Attention)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.attention, Attention):
            raise InputError(f"{type(self).__name__} has attention {self.attention!r}, expected an Attention(...)")
        # Made here, since code that torch traces can read an attribute but not print a value.
        object.__setattr__(self, "text", repr(self))

    @cached_property
    def text(self) -> str:
        """The text form, which `parse` reads back."""
        return repr(self)

    @property
    def extent(self) -> tuple[float, float]:
        """How many places before a vector the first that it depends on can lie, and after it the last."""
        return self.attention.extent

    @property
    def reads_edges(self) -> bool:
        """Whether it depends on the layout's edges."""
        return self.attention.reads_edges

    @property
    def linear(self) -> bool:
        """Whether no pair needs a weight, so that layers drop none; see `Attention.linear`."""
        return self.attention.linear

    @property
    def coordinates(self) -> int:
        """How many coordinates the vectors must have at least."""
        return self.attention.coordinates

    @property
    def shared(self) -> bool:
        """Whether queries are keys as well, so that keys of their own are not read, and a layer need not project any."""
        return False

    def parameters(self, heads: int, d: int, e: int | None = None) -> Shapes:
        """The names and shapes of the learned tensors, as `Attention.parameters`."""
        return self.attention.parameters(heads, d, e)

    def deviation(self, name: str, shape: Sequence[int]) -> float:
        """The standard deviation of the numbers, normal and independent, with which a learned tensor begins."""
        return START

    @property
    def averages(self) -> tuple[str, ...]:
        """Which of the tensors that `parameters` names learn by no gradient: they follow what a layer sees, as `follow` says."""
        return ()

    def follow(self, tensors: Tensors) -> Mapping[str, Float[Tensor, " ..."]]:
        """What those tensors become after a step of training, from the vectors of the step and what they are in `parameters`."""
        return {}

    @property
    def own(self) -> str | None:
        """The name of how it computes by itself, where it calls no verb and no executor can be asked for."""
        return None

    def calls(self, layout: Layout, key_layout: Layout) -> Sequence[Call | Own]:
        """The calls of the verb that `attend` makes, or what it does by itself, for a plan."""
        raise NotImplementedError

    def made_of(self, layout: Layout) -> Sequence[range] | None:
        """For each vector that is made of several, set by set, the places of those; None where none is made."""
        return None

    def attend(
        self, verb: Attends, tensors: Tensors, layout: Layout, key_layout: Layout, dropout: Dropout | None
    ) -> Float[Tensor, "t h e"]:
        """`[t, h, e]` for q `[t, h, d]`, k `[u, g, d]`, v `[u, g, e]`; layouts have what `needs` asks for."""
        raise NotImplementedError

    def by_pairs(self, verb: Attends, tensors: Tensors, layout: Layout, key_layout: Layout) -> Float[Tensor, "t h e"]:
        """The same as `attend`, by calls of the verb alone, whose weights can be shown."""
        return self.attend(verb, tensors, layout, key_layout, None)
