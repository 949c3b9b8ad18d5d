"""`regard calibrate`: what it shows, and that it measures again only where it is told to."""

from pathlib import Path

import pytest
import torch

from regard.attention import calibration
from regard.cli import main


@pytest.fixture(autouse=True)
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []

    def times(run: object, tensors: object) -> list[float]:
        calls.append(1)
        return [0.01] * 5

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(calibration, "_times", times)
    monkeypatch.setattr(calibration, "_known", {})
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    return calls


def test_it_shows_what_is_cached_and_measures_again_when_told(
    made_up: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate"]) == 0
    first = capsys.readouterr().out
    assert "measured on this machine on" in first
    assert str(calibration.place()) in first
    assert {"dense", "blocks", "fused", "edges", "kernelized", "additive"} <= set(first.split())
    number = len(made_up)
    assert main(["calibrate"]) == 0
    assert capsys.readouterr().out == first
    assert len(made_up) == number
    assert main(["calibrate", "--again"]) == 0
    assert len(made_up) == 2 * number


def test_threads_are_those_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    try:
        assert main(["calibrate", "--threads", "2"]) == 0
        assert "2 threads" in capsys.readouterr().out
        assert main(["calibrate", "--threads", "-1"]) == 2
        assert "--threads is -1, expected 0 to 1024" in capsys.readouterr().err
    finally:
        torch.set_num_threads(before)
