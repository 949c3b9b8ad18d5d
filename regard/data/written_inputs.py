"""What readers of texts share: examples to predict for, from files and folders, in memory, and as they arrive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, Any, ClassVar

from regard.data.encoded import Documents
from regard.data.encoding import Encoding
from regard.data.examples import Example
from regard.data.inputs import streamed, to_read
from regard.data.reader import refused_value
from regard.data.text_files import Columns, Document
from regard.errors import InputError

__all__ = ["WrittenInputs"]


class WrittenInputs:
    """Examples without targets, each made of a text. A reader that has them says how, by `_unlabeled`."""

    one_per_line: bool = True
    """Whether a plain text file holds one on each line; else it is one."""
    called: ClassVar[str] = "text"

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> Documents:
        """Texts of tables, JSON lines, text files and folders of those.

        Raises:
            InputError: a source that is not there, cannot be read, or has none.
        """
        documents: list[Document] = []
        for source in sources:
            before = len(documents)
            documents += to_read(source, self._columns, self.one_per_line)
            if len(documents) == before:
                raise InputError(f"{source} is empty, expected a {self.called}")
        return self._unlabeled(documents, encoding)

    def example(self, value: Any, encoding: Encoding, name: str = "") -> Example:
        """A text in memory.

        Raises:
            InputError: what is no text.
        """
        name = name or f"the {self.called}"
        if not isinstance(value, str):
            raise refused_value(value, name, "a text")
        return self.texts([value], [name], encoding)[0]

    def texts(self, texts: Sequence[str], names: Sequence[str], encoding: Encoding) -> Documents:
        """Texts in memory, as `example` takes one of them."""
        named = zip(texts, names, strict=True)
        return self._unlabeled([Document(each, None, name, name) for each, name in named], encoding)

    def stream(self, file: IO[bytes], encoding: Encoding) -> Iterator[Documents]:
        """Texts as they arrive, one on each line, or in a JSON object on each line."""
        for group in streamed(file, self._columns):
            yield self._unlabeled(group, encoding)

    @property
    def _columns(self) -> Columns:
        """The columns of tables and the entries of JSON objects that hold texts and what they are called."""
        return Columns()

    def _unlabeled(self, documents: Sequence[Document], encoding: Encoding) -> Documents:
        raise NotImplementedError
