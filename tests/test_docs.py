"""The documentation: tables come from results, links lead somewhere, lessons run."""

import json
import re
import tomllib
from pathlib import Path

import nbformat
import pytest

from benchmarks import lessons, tables
from regard.attention.vocabulary import parse, vocabulary
from regard.layers.registry import MIXERS
from regard.models.encoder import Encoder

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("[!l]*.md"), *(ROOT / "benchmarks").glob("*.md")]
LESSONS = sorted((ROOT / "docs" / "lessons").glob("*.ipynb"))
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
ROW = {"model": "a|b", "metric": "accuracy", "values": [0.9, 0.92], "mean": 0.91, "sd": 0.0141, "parameters": 12345}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", tables.documents(), ids=named)
def test_tables_are_those_of_the_results(path):
    assert path.read_text() == tables.fill(path.read_text()), f"run `make tables` to write the tables of {named(path)}"


@pytest.mark.parametrize("path", sorted(tables.RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_result_stands_in_a_document(path):
    assert any(f"<!-- table: {path.stem} -->" in document.read_text() for document in tables.documents())


def test_a_table_shows_what_the_rows_have(tmp_path, monkeypatch):
    result = {"data": "some", "split": "fixed", "rows": [ROW], "machine": {"cores": 2}}
    (tmp_path / "case.json").write_text(json.dumps(result))
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    text = tables.fill("before\n<!-- table: case -->\nold\n<!-- end -->\nafter\n")
    assert text.startswith("before\n<!-- table: case -->\n")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "| model | metric | test | parameters |" in text
    assert "| a\\|b | accuracy | 0.9100 ± 0.0141 (2 seeds) | 12,345 |" in text
    assert "some; fixed; cores: 2." in text
    assert "old" not in text
    assert tables.fill(text) == text


def anchors(path: Path) -> set[str]:
    """What links to the headings of a page end in."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_links_lead_to_files_and_headings(path):
    for target in LINK.findall(re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)):
        if not target.startswith(("https://", "mailto:")):
            name, _, anchor = target.partition("#")
            page = path.parent / name if name else path
            assert page.exists(), f"{named(path)} links to {target}"
            assert not anchor or anchor in anchors(page), f"{named(path)} links to {target}"


def test_every_page_is_in_the_navigation_and_on_the_first_page():
    docs = ROOT / "docs"
    written = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    listed = set(re.findall(r"'([\w/.-]+\.md)'", str(written)))
    pages = {str(path.relative_to(docs)) for path in docs.rglob("*.md") if path.parent.name != "lessons"}
    assert pages == {name for name in listed if not name.startswith("lessons/")}
    first = (docs / "index.md").read_text()
    for page in pages - {"index.md"}:
        assert page.startswith("reference/") or f"({page})" in first, f"docs/index.md does not link to {page}"


@pytest.mark.parametrize(
    "path", [LESSONS[0], *(pytest.param(path, marks=pytest.mark.rare) for path in LESSONS[1:])], ids=named
)
def test_lessons_run_and_print_what_they_show(path, request):
    if "regard data get" in path.read_text():
        request.getfixturevalue("data")
    assert lessons.outputs(lessons.execute(path)) == lessons.outputs(nbformat.read(path, as_version=4))


@pytest.mark.parametrize("path", [path for path in PAGES if "```python" in path.read_text()], ids=named)
def test_python_in_the_documentation_runs(path):
    code = "\n".join(re.findall(r"```python\n(.*?)```", path.read_text(), flags=re.DOTALL))
    exec(compile(code, named(path), "exec"), {})


def test_what_can_be_named_is_explained():
    """Every name of the text form stands in the concepts, every mixer in its table and in the help of `--model.mixer`."""
    concepts, mixers = ((ROOT / "docs" / page).read_text() for page in ("concepts.md", "mixers.md"))
    assert [name for name in vocabulary() if not re.search(rf"`{name}[`(]", concepts)] == []
    assert [name for name in MIXERS if f"| `{name}` |" not in mixers] == []
    assert [name for name in MIXERS if f'"{name}"' not in (Encoder.__doc__ or "")] == []


def test_text_forms_of_efficient_attention_are_read():
    """Every text form of the table is a value, but for mixers, which are named."""
    lines = (ROOT / "docs" / "efficient.md").read_text().splitlines()
    cells = [
        re.split(r"(?<!\\)\|", line)[4].replace("\\|", "|")
        for line in lines
        if "arxiv.org/abs" in line and line[0] == "|"
    ]
    assert len(cells) > 15
    texts = [text for cell in cells for text in re.findall(r"`([^`]+)`", cell)]
    for text in texts:
        if text.startswith("-"):
            assert re.search(rf"--model.mixer ({'|'.join(MIXERS)}) ", text)
        else:
            parse(text)


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_files_that_pages_name_exist(path):
    for name in re.findall(r"`((?:regard|tests|benchmarks|docs)/[\w./-]*)`", path.read_text()):
        assert (ROOT / name).exists(), f"{named(path)} names {name}"
