"""Files of parallel text: sentences of one language with those of another, line by line, in tables or in JSON lines."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from regard.data.documents import Document, in_parts
from regard.data.examples import Part
from regard.data.folders import files_at, files_by_part
from regard.data.parts import part_in, stated_part
from regard.data.survey import Skips
from regard.data.tables import check_separator, read_table
from regard.errors import InputError, nearest
from regard.files import parse_object, plain_suffix, read_lines, text_form

__all__ = ["Pairs", "Sides", "looks_parallel", "read_pairs"]

_ENCODING = "--data.encoding"
_TABLES, _OBJECTS = (".csv", ".tsv"), (".jsonl", ".ndjson", ".json")
# Those of ISO 639-1.
_LANGUAGES = frozenset(
    re.findall(
        r"\w\w",
        "aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cs cu cv cy da de dv dz ee el en eo "
        "es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv "
        "ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd "
        "ne ng nl nn no nr nv ny oc oj om or os pa pi pl pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss "
        "st su sv sw ta te tg th ti tk tl tn to tr tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu ",
    )
)


@dataclass(frozen=True)
class Sides:
    """What the two languages are called, and how their files are written.

    Args:
        source, target: the endings of files, and the names of columns and entries.
        split: the column, or entry, of the part, where it is there.
        separator: between the fields of a table; empty where the file tells.
        encoding: of text that is not UTF-8, and does not say what else it is; empty for none.
        most: how many characters a sentence of the training part may have; 0 is no limit.
    """

    source: str = "de"
    target: str = "en"
    split: str = "split"
    separator: str = ""
    encoding: str = ""
    most: int = 0


@dataclass(frozen=True)
class Pairs:
    """What a place was read as: each document has the source as its `text` and the target as its `label`.

    Args:
        documents: the pairs, each in its part once they are divided.
        format: such as "two files, line by line", "TSV" or "JSON lines".
        encoding: such as "UTF-8".
        columns: what each column, entry or ending is taken for.
        skips: what was passed over.
    """

    documents: tuple[Document, ...]
    format: str
    encoding: str
    columns: dict[str, str] = field(default_factory=dict)
    skips: Skips = field(default_factory=Skips)


def looks_parallel(place: Path) -> int:
    """How many files at a place belong to others of the same name in another language, such as `train.de` and `train.en.gz`."""
    if not os.path.isdir(place):
        other = [path for path in _beside(place) if _stem(path) == _stem(place) and path != place]
        return int(_language(place) in _LANGUAGES and any(_language(path) in _LANGUAGES for path in other))
    named: dict[tuple[str, str], int] = defaultdict(int)
    for path in files_at(place):
        if _language(path) in _LANGUAGES:
            named[str(path.parent), _stem(path)] += 1
    return sum(count for count in named.values() if count > 1)


def _beside(place: Path) -> list[Path]:
    try:
        return sorted(place.parent / name for name in os.listdir(place.parent))
    except OSError:
        return []


def _language(path: Path) -> str:
    return plain_suffix(path)[1:]


def _stem(path: Path) -> str:
    """The name of a file without its language and its compression."""
    suffix = plain_suffix(path)
    return path.name[: path.name.lower().rindex(suffix)] if suffix else path.name


def read_pairs(place: Path, other: Path | None, sides: Sides, divide: bool = True) -> Pairs:
    """The pairs of parallel text, each in its part.

    A folder holds files with train, dev (or val, validation) and test in their names, either two of each name, which end in the
    languages, or one each with both in it. A file holds both, or has the other beside it, with the other language as its ending.
    Where nothing says which part a pair belongs to, and where there is no validation part, `split` decides by their names, not so
    without `divide`. Pairs of which one is empty, and in the training part those that are longer than `sides.most`, are skipped.

    Args:
        place: a file or folder. other: the file of the targets, where its name does not follow from that of the sources.

    Raises:
        InputError: nothing to read, files of different length, or what departs from its format.
    """
    if not place.exists():
        raise InputError(f"{place} is not there, expected a file of parallel text, or a folder")
    files = _files(place, other, sides)
    changed = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    return _read(place, other, sides, divide, changed)


def _files(place: Path, other: Path | None, sides: Sides) -> list[Path]:
    """All that is read, or looked at."""
    if os.path.isdir(place):
        return [path for path in _beside(place / "any") if path.is_file()]
    return [place, *_others(place, other, sides)]


def _others(place: Path, other: Path | None, sides: Sides) -> list[Path]:
    """The file of the other language, where there is one."""
    if other is not None:
        if not other.exists():
            raise InputError(f"{other} is not there, expected the file of the targets of {place}")
        return [other]
    language = _language(place)
    if language not in (sides.source, sides.target):
        return []
    wanted = sides.target if language == sides.source else sides.source
    found = [path for path in _beside(place) if _stem(path) == _stem(place) and _language(path) == wanted]
    if not found:
        raise InputError(
            f"{place} has no file {_stem(place)}.{wanted} beside it, expected the same sentences in {wanted},"
            " or --data.target_path"
        )
    return found[:1]


@lru_cache(maxsize=4)
def _read(place: Path, other: Path | None, sides: Sides, divide: bool, changed: tuple[Any, ...]) -> Pairs:
    """What `read_pairs` gives; a changed file is another key."""
    found = _of_folder(place, sides) if os.path.isdir(place) else _of_file(place, other, sides)
    skips, kept = found.skips, []
    for document in found.documents:
        if document.text and document.label:
            kept.append(document)
        else:
            skips.add("pairs with an empty side", document.name)
    if not kept:
        raise InputError(f"{place} has no pair of sentences, expected at least one in each part")
    if divide:
        kept = in_parts(kept, place, by_label=False)
    return replace(found, documents=tuple(_short(kept, sides.most, skips)))


def _short(documents: Sequence[Document], most: int, skips: Skips) -> Iterator[Document]:
    for document in documents:
        if most and document.part == "train" and max(len(document.text), len(document.label or "")) > most:
            skips.add(f"pairs of the training part longer than {most:,} characters", document.name)
        else:
            yield document


def _of_folder(place: Path, sides: Sides) -> Pairs:
    languages = sides.source, sides.target
    named = files_by_part(place)[0]
    if any(_language(path) in languages for path, _ in named):
        return _of_files(place, sides)
    tables, skips = files_by_part(place, lambda path: plain_suffix(path) in (*_TABLES, *_OBJECTS, ".txt"))
    if not tables:
        endings = sorted({_language(path) for path, _ in named if _language(path) in _LANGUAGES})
        known = f", found files that end in {', '.join(endings)}" if endings else ""
        expected = f"train.{sides.source} and train.{sides.target}, and so on, or train.tsv or train.jsonl"
        raise InputError(f"{place} has no files of {sides.source} and {sides.target}{known}, expected {expected}")
    found = [
        replace(each, documents=tuple(replace(document, part=part) for document in each.documents))
        for path, part in tables
        for each in [_of_file(path, None, sides)]
    ]
    return _joined(found, skips)


def _of_files(place: Path, sides: Sides) -> Pairs:
    """A folder with a file for each language and part."""
    languages = sides.source, sides.target
    files, skips = files_by_part(place, lambda path: _language(path) in languages)
    by_stem: dict[str, dict[str, Path]] = {}
    for path, _ in files:
        same = by_stem.setdefault(_stem(path), {}).setdefault(_language(path), path)
        if same != path:
            raise InputError(f"{place} has {same.name} and {path.name}, expected one of them")
    found = []
    for stem, sibling in by_stem.items():
        for language in languages:
            if language not in sibling:
                has = next(iter(sibling.values())).name
                raise InputError(f"{place} has {has} and no {stem}.{language}, expected a file for each language")
        pairs = _aligned(sibling[sides.source], sibling[sides.target], sides)
        part = part_in(stem)
        found.append(replace(pairs, documents=tuple(replace(each, part=part) for each in pairs.documents)))
    return _joined(found, skips)


def _joined(found: Sequence[Pairs], skips: Skips) -> Pairs:
    """Files as one."""
    columns: dict[str, str] = {}
    for pairs in found:
        skips.update(pairs.skips)
        columns |= pairs.columns
    forms, encodings = (" and ".join(dict.fromkeys(getattr(p, name) for p in found)) for name in ("format", "encoding"))
    return Pairs(tuple(each for pairs in found for each in pairs.documents), forms, encodings, columns, skips)


def _of_file(place: Path, other: Path | None, sides: Sides) -> Pairs:
    """One file with both languages, or two."""
    others = _others(place, other, sides)
    if others:
        source, target = place, others[0]
        if other is None and _language(place) == sides.target:
            source, target = target, source
        return _aligned(source, target, sides)
    suffix = plain_suffix(place)
    if suffix in _OBJECTS:
        return _objects(place, sides)
    first = next((line for _, line in read_lines(place, form=_form(place, sides)) if line.strip()), "")
    if first.lstrip().startswith("{"):
        return _objects(place, sides)
    names = {name.strip().strip('"') for name in re.split(r"[\t,;|]", first.lstrip("\ufeff"))}
    # A header that names one language alone is refused as such, and not taken for two sentences.
    if {sides.source, sides.target} & names or suffix == ".csv":
        return _table(place, sides)
    return _tabbed(place, sides)


def _form(path: Path, sides: Sides) -> Any:
    return text_form(path, sides.encoding, _ENCODING)


def _aligned(source: Path, target: Path, sides: Sides) -> Pairs:
    """Two files, whose lines of the same number are a pair.

    Raises:
        InputError: files of a different number of lines.
    """
    forms = _form(source, sides), _form(target, sides)
    texts, others = (
        [line.strip() for _, line in read_lines(path, form=form)]
        for path, form in zip((source, target), forms, strict=True)
    )
    if len(texts) != len(others):
        raise InputError(
            f"{source} has {len(texts):,} lines and {target} has {len(others):,}, expected as many, line by line"
        )
    documents = tuple(
        Document(text, label, f"{source.name}:{number}", f"{source}, line {number},")
        for number, (text, label) in enumerate(zip(texts, others, strict=True), 1)
    )
    encodings = " and ".join(dict.fromkeys(form.name for form in forms))
    return Pairs(documents, "two files, line by line", encodings, _uses(sides))


def _table(path: Path, sides: Sides) -> Pairs:
    tabs, separator = plain_suffix(path) == ".tsv", check_separator(sides.separator, "data.separator")
    table = read_table(path, (sides.source, sides.target), tabs, separator, sides.encoding, _ENCODING)
    places = {name: place for place, name in enumerate(table.header)}
    documents = []
    for number, row in table.rows:
        where = f"{path}, line {number},"
        part = stated_part(row[places[sides.split]], where, sides.split) if sides.split in places else None
        pair = row[places[sides.source]], row[places[sides.target]]
        documents.append(Document(*pair, f"{path.name}:{number}", where, part))
    return Pairs(tuple(documents), table.format, table.encoding, _uses(sides, sides.split in places), table.skips)


def _tabbed(path: Path, sides: Sides) -> Pairs:
    """Lines of a source, a tab and a target.

    Raises:
        InputError: a line of more or fewer fields.
    """
    form, documents, skips = _form(path, sides), [], Skips()
    for number, line in read_lines(path, form=form):
        where = f"{path}, line {number},"
        if not line.strip():
            skips.add("blank lines", f"{path.name}, line {number}")
            continue
        if line.count("\t") != 1:
            columns = f"a first line that names the columns {sides.source} and {sides.target}"
            raise InputError(f"{where} has {line.count(chr(9)) + 1} fields, expected SOURCE<TAB>TARGET, or {columns}")
        source, target = map(str.strip, line.split("\t"))
        documents.append(Document(source, target, f"{path.name}:{number}", where))
    return Pairs(tuple(documents), "lines `source<TAB>target`", form.name, skips=skips)


def _objects(path: Path, sides: Sides) -> Pairs:
    """JSON objects with an entry for each language, or with these in an entry `translation`."""
    form, documents, skips = _form(path, sides), [], Skips()
    divided: set[Part | None] = set()
    for number, line in read_lines(path, form=form):
        where = f"{path}, line {number},"
        if not line.strip():
            skips.add("blank lines", f"{path.name}, line {number}")
            continue
        entries = parse_object(line, where)
        stated = entries.get(sides.split)
        part = None if stated is None else stated_part(str(stated), where, sides.split)
        inner = entries.get("translation")
        source, target = (
            _text(inner if isinstance(inner, dict) else entries, language, where)
            for language in (sides.source, sides.target)
        )
        divided.add(part)
        documents.append(Document(source, target, f"{path.name}:{number}", where, part))
    return Pairs(tuple(documents), "JSON lines", form.name, _uses(sides, bool(divided - {None})), skips)


def _text(entries: dict[str, Any], name: str, where: str) -> str:
    if name not in entries:
        raise InputError(f"{where} has no entry {name!r}: {nearest(name, entries)}")
    text = entries[name]
    if text is not None and not isinstance(text, str):
        raise InputError(f"{where} has the {name} {str(text)[:40]!r}, expected a text")
    return (text or "").strip()


def _uses(sides: Sides, divided: bool = False) -> dict[str, str]:
    return {sides.source: "source", sides.target: "target"} | ({sides.split: "part"} if divided else {})
