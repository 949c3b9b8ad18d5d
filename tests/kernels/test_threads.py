"""Parts of kernels on torch's own threads, or on a pool where these are not to be had."""

import threading

import pytest
import torch

from regard.kernels import threads
from regard.kernels.threads import share


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["OpenMP", "a pool", "forked"])
def way(request, monkeypatch, three_threads):
    if request.param == "OpenMP":
        if threads._openmp() is None:
            pytest.skip("torch brings no libgomp")
    elif request.param == "a pool":
        monkeypatch.setattr(threads, "_openmp", lambda: None)
    else:
        monkeypatch.setattr(threads, "_forked", True)
    return request.param


def test_every_part_is_computed_once(way):
    done = []
    share(lambda begin, end, to: to.append((begin, end)), [0, 3, 4, 9, 9, 20], done)
    assert sorted(done) == [(0, 3), (3, 4), (4, 9), (9, 9), (9, 20)]


def test_several_threads_take_part(way):
    """Three parts that wait for each other would wait forever on fewer threads than three."""
    meeting = threading.Barrier(3)
    share(lambda begin, end: meeting.wait(timeout=60), range(4))


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_an_error_is_raised_where_it_was_called(parts, way):
    def fail(begin: int, end: int) -> None:
        if begin == parts - 1:
            raise ValueError(f"part {begin}")

    with pytest.raises(ValueError, match=f"part {parts - 1}"):
        share(fail, range(parts + 1))


def test_torch_goes_on_in_between(way):
    x = torch.randn(600, 600)
    before = x @ x, (x + 1).sum()
    for _ in range(3):
        share(lambda begin, end: None, range(9))
        assert torch.equal(x @ x, before[0])
        assert torch.equal((x + 1).sum(), before[1])


def test_several_callers_at_once(way):
    """Each of them has threads of its own."""
    found = [[] for _ in range(4)]
    callers = [threading.Thread(target=share, args=(lambda a, b, to: to.append(a), range(51), mine)) for mine in found]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert [sorted(each) for each in found] == [list(range(50))] * 4
