"""The Conformer: its block is the paper's formula, and no set ever hears of another."""

import pytest
import torch

from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.errors import InputError
from regard.layers.conformer import ConformerBlock
from regard.models.conformer import Conformer
from regard.sets import VectorSets
from regard.train.kinds import build

SMALL = {"width": 12, "layers": 2, "heads": 2, "feed_forward": 20, "taps_left": 3, "taps_right": 2}


def sets_of(*lengths: int, width: int = 12) -> VectorSets:
    torch.manual_seed(2)
    return VectorSets.pack([torch.randn(n, width, dtype=torch.float64) for n in lengths])


def test_the_block_is_the_formula_of_the_paper():
    block = build(Conformer(**SMALL), Encoding(width=5)).stack.blocks[0].double().eval()
    assert isinstance(block, ConformerBlock)
    sets = sets_of(6)
    n, x = block.norms, sets.values
    x = x + block.before(n[0](x)) / 2
    x = x + block.attention(sets.with_values(n[1](x))).values
    x = x + block.convolution(sets.with_values(n[2](x))).values
    x = n[4](x + block.after(n[3](x)) / 2)
    torch.testing.assert_close(block(sets).values, x)


@pytest.mark.parametrize("join", ["last", "all", "stem"])
@pytest.mark.parametrize("step", [1, 3])
def test_a_set_gives_what_it_gives_alone(join, step):
    model = build(Conformer(**SMALL, join=join, step=step), Encoding(width=5)).double().eval()
    sets = sets_of(7, 0, 1, 20, width=5)
    together = model(Batch(sets))
    assert together.values.shape[1] == model.width == {"last": 12, "all": 24, "stem": 36}[join]
    assert together.layout.lengths.tolist() == [-(-n // step) for n in (7, 0, 1, 20)]
    for b, alone in enumerate(sets):
        torch.testing.assert_close(together[b].values, model(Batch(alone)).values)


def test_joining_all_blocks_ends_with_the_last_one():
    torch.manual_seed(0)
    last = build(Conformer(**SMALL), Encoding(width=5)).double().eval()
    joined = build(Conformer(**SMALL, join="all"), Encoding(width=5)).double().eval()
    joined.load_state_dict(last.state_dict(), strict=False)
    joined.stack.norm = torch.nn.Identity()
    batch = Batch(sets_of(4, 9, width=5))
    torch.testing.assert_close(joined(batch).values[:, 12:], last(batch).values)


def test_joining_the_stem_begins_with_what_enters_the_first_block():
    torch.manual_seed(0)
    model = build(Conformer(**SMALL, join="stem", step=2), Encoding(width=5)).double().eval()
    model.stack.norm = torch.nn.Identity()
    batch = Batch(sets_of(4, 9, width=5))
    entering = model.front.stem(batch.inputs)
    inside = model.stack.blocks[0](entering).values
    torch.testing.assert_close(model(batch).values[:, :24], torch.cat([entering.values, inside], 1))


def test_widths_and_heads_that_do_not_divide_are_refused():
    with pytest.raises(InputError, match=r"model\.width is 12, expected a multiple of the 5 heads"):
        Conformer(**SMALL | {"heads": 5})
    with pytest.raises(InputError, match=r"model\.taps_left is -1"):
        Conformer(**SMALL | {"taps_left": -1})
