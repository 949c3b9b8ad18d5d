"""The rule of voice activity, by loops, and frame by frame as a stream has them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data.voice import VoiceActivity, VoiceStream
from regard.errors import InputError

ENERGIES = st.lists(st.floats(-16, 25, width=32), min_size=1, max_size=40)
RULES = st.builds(
    VoiceActivity,
    st.just(True),
    st.floats(0, 12),
    st.sampled_from([0, 0.5, 1]),
    st.integers(0, 5),
    st.sampled_from([0.12, 0.5, 0.6, 1]),
)


def by_loops(rule: VoiceActivity, energies: np.ndarray) -> list[bool]:
    threshold = rule.threshold + rule.mean_scale * float(energies.mean(dtype=np.float64))
    found = []
    for t in range(len(energies)):
        around = [u for u in range(t - rule.context, t + rule.context + 1) if 0 <= u < len(energies)]
        loud = sum(float(energies[u]) > threshold for u in around)
        found.append(loud >= rule.proportion * len(around))
    return found


@given(RULES, ENERGIES)
def test_the_rule_is_the_documented_one(rule: VoiceActivity, energies: list[float]) -> None:
    values = np.array(energies, np.float64)
    assert rule.voiced(values).tolist() == by_loops(rule, values)


@given(RULES.filter(lambda rule: not rule.mean_scale), ENERGIES, st.lists(st.integers(0, 40), max_size=6))
def test_a_stream_keeps_what_the_whole_keeps(rule: VoiceActivity, energies: list[float], cuts: list[int]) -> None:
    values = np.array(energies, np.float32)
    rows = np.arange(len(values), dtype=np.float32)[:, None]
    stream = VoiceStream(rule)
    cuts = sorted(cut for cut in cuts if cut < len(values))
    pieces = list(zip(np.split(values, cuts), np.split(rows, cuts), strict=True))
    found = [stream.accept(e, r) for e, r in pieces[:-1]]
    found.append(stream.accept(*pieces[-1], last=True))
    np.testing.assert_array_equal(np.concatenate(found), rows[rule.voiced(values)])


def test_a_frame_is_judged_after_its_context() -> None:
    rule = VoiceActivity(detect=True, threshold=1, mean_scale=0, context=2)
    stream = VoiceStream(rule)
    counts = [len(stream.accept(np.full(1, 5.0), np.zeros((1, 3)))) for _ in range(6)]
    assert counts == [0, 0, 1, 1, 1, 1]


def test_what_makes_no_rule_is_refused() -> None:
    with pytest.raises(InputError, match="expected 0 for a stream, whose mean is known at its end only"):
        VoiceStream(VoiceActivity(detect=True))
    with pytest.raises(InputError, match=r"data\.voice\.proportion is 0, expected more than 0"):
        VoiceActivity(proportion=0)
    with pytest.raises(InputError, match=r"data\.voice\.context is -1"):
        VoiceActivity(context=-1)
