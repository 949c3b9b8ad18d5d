"""What all values of a specification share: they compare, hash, and print as the text that `parse` reads back."""

from dataclasses import MISSING, dataclass, fields

__all__ = ["Value"]


@dataclass(frozen=True, repr=False)
class Value:
    """An immutable piece of a specification. Its `repr` names the options that differ from their defaults."""

    def __repr__(self) -> str:
        options = []
        for field in fields(self):
            value = getattr(self, field.name)
            usual = field.default if field.default_factory is MISSING else field.default_factory()
            if usual is MISSING or value != usual:
                options.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(options)})"
