"""A disk that fills up costs the file that was being written, and nothing that was there before."""

import errno
import os

import pytest
import tiny
from processes import in_process

from regard.errors import InputError
from regard.train import fit
from regard.train.checkpoints import newest
from regard.train.recorder import read_metrics


class HalfWritten:
    """A file that takes half of what it is given, and then there is no space left."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, content):
        self.file.write(content[: len(content) // 2])
        self.file.flush()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fill_disk(patch, at):
    """The file number `at` of those written whole finds the disk full."""
    opened, written = os.fdopen, []

    def fdopen(handle, mode):
        written.append(handle)
        file = opened(handle, mode)
        return HalfWritten(file) if len(written) == at else file

    patch.setattr("regard.files.writing.os.fdopen", fdopen)


# Four files come first: the configuration and the encoding. Then checkpoints after steps 4 and 8.
def test_the_checkpoint_before_survives(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        fill_disk(patch, at=6)
        with pytest.raises(InputError, match=r"step-000000008\.ckpt cannot be written: No space left on device"):
            fit(tiny.experiment(), folder)
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-000000004.ckpt"]
    assert newest(folder / "checkpoints")[1]["global_step"] == 4
    fit(tiny.experiment(), folder, resume=True)
    calm = fit(tiny.experiment(), tmp_path / "calm")
    assert read_metrics(folder) == read_metrics(calm)


def test_the_best_weights_before_survive(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        fill_disk(patch, at=7)
        with pytest.raises(InputError, match=r"model\.safetensors cannot be written: No space left on device"):
            fit(tiny.experiment(), tmp_path / "run")
    assert not (tmp_path / "run" / "model.safetensors").exists()


def limited(folder):
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    with pytest.raises(InputError, match=r"step-000000004\.ckpt cannot be written: File too large"):
        fit(tiny.experiment(), folder)


def test_a_limit_of_the_system_is_told_in_one_sentence(tmp_path):
    assert in_process(limited, tmp_path / "run") == 0
    assert not list((tmp_path / "run" / "checkpoints").iterdir())
