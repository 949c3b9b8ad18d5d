import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data.examples import PARTS, check_part, split
from regard.errors import InputError


@given(
    st.lists(st.tuples(st.text(), st.sampled_from("abc")), unique_by=lambda pair: pair[0], max_size=60), st.randoms()
)
def test_a_division_is_by_name_within_each_label(pairs: list[tuple[str, str]], random) -> None:
    def divide(pairs: list[tuple[str, str]]) -> dict[str, str]:
        names, labels = [name for name, _ in pairs], [label for _, label in pairs]
        return dict(zip(names, split(names, labels), strict=True))

    parts = divide(pairs)
    shuffled = pairs.copy()
    random.shuffle(shuffled)
    assert divide(shuffled) == parts
    for label in "abc":
        found = [parts[name] for name, its in pairs if its == label]
        if len(found) >= 3:
            assert set(found) == set(PARTS)
            assert abs(found.count("test") - len(found) / 10) <= 1
        else:
            assert set(found) <= {"train"}


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'validation'"):
        check_part("validations")


def test_readers_are_imported_without_torch_or_their_libraries() -> None:
    program = (
        "import sys, regard.data.text, regard.data.speech, regard.data.image, regard.data.graph, regard.data.registry\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'soundfile', 'soxr', 'kaldi_native_fbank', 'PIL', 'torchdata'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"
