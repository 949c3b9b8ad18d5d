"""What stands beside an inspection: the same queries and keys through another attention."""

from __future__ import annotations

from dataclasses import dataclass, replace

from regard.attention.call import pose
from regard.attention.planning import check
from regard.attention.problem import Tensors
from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Pattern
from regard.attention.vocabulary import parse
from regard.errors import InputError
from regard.inspector.inspection import Inspection
from regard.inspector.seen import Seen

__all__ = ["Otherwise"]


@dataclass
class Otherwise:
    """The self-attentions of an inspection with another attention for the queries and keys that the model had.

    Each layer by itself: what it gives is not passed on. Nothing is learned anew, so the attention must learn nothing.

    Args:
        text: a pattern, which then hides what it does in the layer's own attention, or an Attention. inspection: of a run.

    Raises:
        InputError: another text, an attention that learns something or needs what the sets do not have.
    """

    text: str
    inspection: Inspection

    def __post_init__(self) -> None:
        value = parse(self.text)
        if not isinstance(value, Pattern | tuple | Attention):
            raise InputError(f"--beside is {self.text!r}, expected a run, a pattern or an Attention")
        self.name = self.text
        self.seen = [self._through(value, seen) if seen.kind == "self" else seen for seen in self.inspection.seen]

    def _through(self, value: Pattern | tuple[Pattern, ...] | Attention, seen: Seen) -> Seen:
        calls = []
        for call in seen.calls:
            heads, d = call.q.shape[1:]
            attention = value if isinstance(value, Attention) else replace(call.attention, pattern=value)
            shapes = attention.parameters(heads, d, call.v.shape[-1])
            if isinstance(value, Attention) and shapes:
                raise InputError(
                    f"--beside {attention.text} learns {', '.join(shapes)}, expected an attention that learns nothing"
                )
            learned = call.parameters if shapes else {}
            check(pose(attention, Tensors(call.q, call.k, call.v, learned), call.layout, call.key_layout, None))
            calls.append(replace(call, attention=attention, parameters=learned))
        return replace(seen, calls=tuple(calls))
