import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from regard.data.archives import labeled_texts, read_text
from regard.data.documents import Columns, read_documents
from regard.errors import InputError

TREE = {
    "set/Train/good/1.txt": "fine",
    "set/Train/bad/1.TXT": "poor",
    "set/TEST/good/1.txt": "great",
    "set/Train/unsup/1.txt": "something",
    "set/Train/good/.ipynb_checkpoints/1.txt": "fine",
    "__MACOSX/set/Train/good/._1.txt": "\0\1",
    "set/Train/.DS_Store": "",
    "set/README": "about",
    "set/notes.txt": "about",
}


def tar(path: Path, tree: dict[str, str] = TREE) -> Path:
    with tarfile.open(path, f"w:{path.suffix[1:] if path.suffix != '.tar' else ''}") as archive:
        for name, text in tree.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
        link = tarfile.TarInfo("set/Train/good/link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "1.txt"
        archive.addfile(link)
        folder = tarfile.TarInfo("set/Train/ugly")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    return path


def zipped(path: Path, tree: dict[str, str] = TREE) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in tree.items():
            archive.writestr(name, text)
        archive.writestr("set/Train/ugly/", "")
    return path


def folder(path: Path) -> Path:
    for name, text in TREE.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    (path / "set/Train/ugly").mkdir()
    return path


@pytest.mark.parametrize("kind", ["a.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2", "a.zip", "a"])
def test_archives_and_folders_are_read_alike(tmp_path: Path, kind: str) -> None:
    place = tmp_path / kind
    (zipped if kind.endswith("zip") else tar if ".tar" in kind else folder)(place)
    texts, skips = labeled_texts(place)
    read = {text.name: (text.text, text.label, text.part) for text in texts}
    assert read == {
        "TEST/good/1.txt": ("great", "good", "test"),
        "Train/bad/1.TXT": ("poor", "bad", "train"),
        "Train/good/1.txt": ("fine", "good", "train"),
    }
    assert {reason: skipped.names for reason, skipped in skips} == {
        "hidden files and folders": ["set/Train/good/.ipynb_checkpoints", "__MACOSX", "set/Train/.DS_Store"]
        if kind != "a"
        else [*("__MACOSX", "set/Train/.DS_Store", "set/Train/good/.ipynb_checkpoints")],
        "files without an ending": ["set/README"],
        "files in no folder of a label": ["set/notes.txt"],
        "folders without a file": ["set/Train/ugly"],
        "texts without labels": ["set/Train/unsup/1.txt"],
        **({"links in the archive": ["set/Train/good/link.txt"]} if ".tar" in kind else {}),
    }


def test_parts_in_folders_and_archives_are_kept_apart(tmp_path: Path) -> None:
    """None of the test part's texts is trained on."""
    for place in (tar(tmp_path / "a.tar.gz"), zipped(tmp_path / "a.zip"), folder(tmp_path / "a")):
        parts: dict[str, set[str]] = {}
        for document in read_documents(place, Columns()):
            parts.setdefault(str(document.part), set()).add(document.text)
        assert parts["test"] == {"great"}
        assert "great" not in parts["train"]


def test_the_last_of_two_members_of_one_name_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    for mode, text in (("w", b"old"), ("a", b"new")):
        with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
            for label in "ab":
                member = tarfile.TarInfo(f"{label}/1.txt")
                member.size = 3
                archive.addfile(member, io.BytesIO(text))
    assert [text.text for text in labeled_texts(path)[0]] == ["new", "new"]


@pytest.mark.parametrize("name", ["a/1.txt", "a/big.bin"])
@pytest.mark.parametrize("kind", ["a.tar.gz", "a.tar.xz", "a.zip"])
def test_an_archive_that_unfolds_without_end_is_refused_before_it_is_unfolded(
    tmp_path: Path, kind: str, name: str
) -> None:
    size = 1 << 27
    path = tmp_path / kind
    if kind.endswith("zip"):
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open(name, "w", force_zip64=True) as file,
        ):
            for _ in range(size >> 20):
                file.write(bytes(1 << 20))
    else:
        with tarfile.open(path, f"w:{path.suffix[1:]}") as packed:
            member = tarfile.TarInfo(name)
            member.size = size
            packed.addfile(member, _Zeros(size))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"(has 134,217,728 bytes|unfolds to more than [0-9]+ MiB), expected"):
        labeled_texts(path)


class _Zeros:
    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int) -> bytes:
        size = min(size, self._left)
        self._left -= size
        return bytes(size)


def test_a_header_that_promises_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a/1.txt")
    member.type, member.size = tarfile.XHDTYPE, 1 << 32
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(member.tobuf() + bytes(1 << 16)))
    with pytest.raises(InputError, match="unfolds to more than 64 MiB"):
        labeled_texts(path)


@pytest.mark.parametrize("kind", ["a.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2", "a.zip"])
def test_a_damaged_archive_is_named(tmp_path: Path, kind: str) -> None:
    place = tmp_path / kind
    whole = (zipped if kind.endswith("zip") else tar)(place).read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 3], whole[:7]):
        place.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.(tar|zip).*(is no whole archive|has no file by label)"):
            labeled_texts(place)


def test_a_text_that_is_no_file_or_too_large_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder, expected a file"):
        read_text(tmp_path)
    with (tmp_path / "long.txt").open("wb") as file:
        file.truncate((1 << 24) + 1)
    with pytest.raises(InputError, match=r"long\.txt has more than 16,777,216 bytes"):
        read_text(tmp_path / "long.txt")
