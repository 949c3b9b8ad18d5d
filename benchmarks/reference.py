"""Writes the reference: pages of Markdown under `docs/reference`, from the docstrings, to be read without building anything.

python -m benchmarks.reference
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["PAGES", "main", "page"]

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "reference"
# What a page says first is the name of its file; then the modules of it, in this order.
_MODULE = re.compile(r"^<!-- module: ([\w.]+) -->$", flags=re.MULTILINE)
_SECTION = re.compile(r"^(Args|Raises|Returns|Yields|Attributes|Source):$")


def _pages() -> dict[str, list[str]]:
    return {path.stem: _MODULE.findall(path.read_text()) for path in sorted(FOLDER.glob("*.md"))}


PAGES = _pages()
"""The modules of each page, in order: what the pages themselves list. A new module is a new line `<!-- module: NAME -->`."""


def page(name: str) -> str:
    """The text of a page."""
    title = (FOLDER / f"{name}.md").read_text().splitlines()[0]
    parts = [title, "Written from the docstrings by `make tables`."]
    for module in PAGES[name]:
        parts += [f"<!-- module: {module} -->", *_of_module(module)]
    return "\n\n".join(parts) + "\n"


def _of_module(module: str) -> Iterator[str]:
    path = ROOT / Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(path.read_text())
    yield f"## `{module}`"
    yield _text(ast.get_docstring(tree) or "")
    public = _public(tree)
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name in public:
            yield from _of(node, module, 3)


def _public(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(x, ast.Name) and x.id == "__all__" for x in node.targets):
            names = (x.value for x in ast.walk(node.value) if isinstance(x, ast.Constant))
            return [name for name in names if isinstance(name, str)]
    return []


def _of(node: ast.ClassDef | ast.FunctionDef, owner: str, level: int) -> Iterator[str]:
    """A heading, what is called how, the docstring, and the public methods of a class."""
    name = f"{owner}.{node.name}" if level == 3 else node.name
    yield f"{'#' * level} `{name}`"
    made = node
    if isinstance(node, ast.ClassDef):
        made = next((x for x in node.body if isinstance(x, ast.FunctionDef) and x.name == "__init__"), node)
    yield f"```text\n{_signature(node, made)}\n```"
    yield _text(ast.get_docstring(node) or "")
    if isinstance(node, ast.ClassDef):
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and not method.name.startswith("_") and ast.get_docstring(method):
                yield from _of(method, name, level + 1)


def _signature(node: ast.ClassDef | ast.FunctionDef, made: ast.ClassDef | ast.FunctionDef) -> str:
    if isinstance(made, ast.ClassDef):
        fields = [ast.unparse(x) for x in made.body if isinstance(x, ast.AnnAssign)]
        head = f"class {node.name}({', '.join(map(ast.unparse, made.bases))})"
        return "\n    ".join([head, *fields])
    arguments = made.args
    if arguments.args and arguments.args[0].arg in ("self", "cls"):
        arguments.args = arguments.args[1:]
    given = ast.unparse(arguments)
    decorated = [ast.unparse(x) for x in made.decorator_list]
    if made is node and {"property", "cached_property"} & set(decorated):
        return f"{node.name}: {ast.unparse(made.returns) if made.returns else ''}"
    result = f" -> {ast.unparse(made.returns)}" if made is node and made.returns else ""
    kind = "class" if made is not node else "def"
    one = f"{kind} {node.name}({given}){result}"
    if len(one) <= 100:
        return one
    parts = re.split(r", (?=\*{0,2}\w+(?:: |=|, |$)|\*, |\*$|/)", given)
    return f"{kind} {node.name}(\n    " + ",\n    ".join(parts) + f",\n){result}"


def _text(docstring: str) -> str:
    """A docstring as Markdown: sections in bold, their entries as lists, examples and formulas as code."""
    out: list[str] = []
    section = example = False
    for line in inspect.cleandoc(docstring).splitlines():
        if line.startswith(">>>") and not example:
            out, example = [*out, "", "```pycon"], True
        elif example and not line.strip():
            out, example = [*out, "```"], False
        if example:
            out.append(line)
        elif found := _SECTION.match(line):
            section = True
            out += ["", f"**{found[1]}**", ""]
        elif section and (entry := re.match(r"^    ( *)(\S.*)$", line)):
            begins = not entry[1] and re.match(r"[*\w`][\w, `*|.]*: ", entry[2])
            out.append(f"{'- ' if begins else '  '}{entry[2]}")
        else:
            section = section and (not line or line.startswith(" "))
            out.append(line)
    if example:
        out.append("```")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).strip()


def main() -> int:
    for name in PAGES:
        (FOLDER / f"{name}.md").write_text(page(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
