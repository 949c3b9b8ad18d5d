"""Sets that skip what a block adds, while training."""

import pytest
import torch

from regard import InputError, VectorSets
from regard.data.encoding import Encoding
from regard.layers.blocks import Block, StochasticDepth
from regard.layers.mixers import Pointwise
from regard.models.encoder import Encoder
from regard.models.pieces import Positions
from regard.train.kinds import build


def sets_of_two() -> VectorSets:
    return VectorSets.pack([torch.ones(2, 3, dtype=torch.float64)] * 4000)


def test_all_vectors_of_a_set_stay_or_go_together_and_keep_their_mean() -> None:
    torch.manual_seed(0)
    sets = sets_of_two()
    leaf = sets.values.clone().requires_grad_()
    found = StochasticDepth(0.25)(sets.with_values(leaf))
    of_set = found.values.view(4000, -1)
    assert bool((of_set == of_set[:, :1]).all())
    assert found.values.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float(found.values.detach().mean()) == pytest.approx(1, abs=0.03)
    (gradient,) = torch.autograd.grad(found.values.sum(), leaf)
    torch.testing.assert_close(gradient, found.values.detach())


def test_it_does_nothing_outside_of_training_and_without_a_probability() -> None:
    sets = sets_of_two()
    assert StochasticDepth(0.5).eval()(sets) is sets
    assert StochasticDepth(0.0)(sets) is sets


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_set_that_skips_both_layers_of_a_block_leaves_it_as_it_came(norm) -> None:
    torch.manual_seed(0)
    block = Block(Pointwise(3), torch.nn.Linear(3, 3), 3, norm, skip=0.5).double()
    sets = VectorSets.pack([torch.randn(2, 3, dtype=torch.float64) for _ in range(200)])
    found = block(sets).values.view(200, -1)
    x = sets.values
    if norm == "post":
        x = block.norm_feed_forward(block.norm_mixer(x))
    same = (found - x.view(200, -1)).abs().amax(1) < 1e-12
    assert 30 < int(same.sum()) < 70  # a quarter


def test_blocks_of_an_encoder_skip_more_the_later_they_come() -> None:
    options = Encoder(width=4, heads=1, feed_forward=4, layers=4, stochastic_depth=0.2, positions=Positions("none"))
    model = build(options, Encoding(width=2))
    assert [block.depth.one.p for block in model.stack.blocks] == pytest.approx([0.05, 0.1, 0.15, 0.2])
    with pytest.raises(InputError, match=r"model\.stochastic_depth is 1, expected at least 0 and less than 1"):
        Encoder(stochastic_depth=1)
