import os
from pathlib import Path

import pytest

from regard.data import registry
from regard.data.registry import DATASETS, Published, get, locate
from regard.errors import InputError
from regard.files import sha256, write_atomically


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set `small` that is published in a folder here, and an empty cache."""
    source = tmp_path / "public"
    (source / "in").mkdir(parents=True)
    (source / "a.txt").write_text("one")
    (source / "in" / "b.txt").write_text("two")
    files = {name: sha256(source / name) for name in ("a.txt", "in/b.txt")}
    published = Published("small", "small", "here", "none", "none", files, source.as_uri() + "/")
    monkeypatch.setitem(registry.DATASETS, "small", published)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("REGARD_DATA", raising=False)
    return source


def test_a_data_set_is_downloaded_once_and_then_located(small: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `regard data get small`"):
        locate("small")
    place = get("small")
    assert place == tmp_path / "cache" / "regard" / "data" / "small" == locate("small")
    assert (place / "in" / "b.txt").read_text() == "two"
    (small / "a.txt").unlink()
    assert get("small") == place


def test_the_named_folder_comes_before_the_cache(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    get("small")
    (tmp_path / "named" / "small").mkdir(parents=True)
    monkeypatch.setenv("REGARD_DATA", str(tmp_path / "named"))
    assert locate("small") == tmp_path / "named" / "small"


def test_a_file_with_another_checksum_leaves_nothing_behind(small: Path, tmp_path: Path) -> None:
    (small / "in" / "b.txt").write_text("altered")
    with pytest.raises(InputError, match=r"in/b\.txt has the SHA-256 .* expected"):
        get("small")
    assert list((tmp_path / "cache" / "regard" / "data").iterdir()) == []


def test_a_source_that_does_not_answer_is_named(small: Path) -> None:
    (small / "a.txt").unlink()
    with pytest.raises(InputError, match=r"a\.txt cannot be downloaded"):
        get("small")


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'planetoid'"):
        locate("planetoids")


def test_what_has_no_public_address_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("REGARD_DATA", raising=False)
    with pytest.raises(InputError, match="SLR101"):
        get("speechocean762-adults")


def test_the_embedded_data_are_found_without_download() -> None:
    assert (get("digits") / "digits.csv.gz").is_file()


def test_every_data_set_says_where_it_comes_from() -> None:
    for name, published in DATASETS.items():
        assert name == published.name
        assert published.source.startswith("https://")
        assert published.licence
        assert published.citation
        assert all(len(checksum) == 64 for checksum in published.files.values())


@pytest.mark.skipif(not os.environ.get("REGARD_DATA"), reason="REGARD_DATA names no folder of published data")
@pytest.mark.parametrize("name", ["planetoid", "speechocean762-adults", "heterophilous", "email-eu-core", "molecules"])
def test_the_files_here_are_the_published_ones(name: str) -> None:
    for path, checksum in DATASETS[name].files.items():
        assert sha256(locate(name) / path) == checksum


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="file cannot be written: No space left on device"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
