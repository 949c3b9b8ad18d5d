"""Feature maps of linear attention, and the sums that their products are divided by."""

import pytest
import torch

from regard import Attention, InputError, Layout, attend, plan
from regard.attention.spec.feature_maps import Elu, Favor
from regard.attention.spec.normalizers import Sum
from regard.attention.spec.scores import Dot, Kernel, Mixture, Synthesized


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_elu_keeps_what_lies_far_below_zero():
    x = torch.tensor([-50.0, -1.0, 0.0, 2.0], requires_grad=True)
    phi = Elu().of_keys(x)
    torch.testing.assert_close(phi, torch.tensor([-50.0, -1.0, 0.0, 1.0986123]).exp())
    phi.sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([-50.0, -1.0, 0.0, 0.0]).exp())


def test_favor_comes_closer_to_softmax_with_more_features():
    # Short vectors: the estimate varies as exp(|q + k|^2 / sqrt(d)).
    q, k, v = (normal(40, 1, 16, seed=n) * scale for n, scale in enumerate((0.3, 0.3, 1)))
    layout = Layout.of_lengths([40])
    true = attend(Attention(), q, k, v, layout)

    def error(features: int) -> float:
        errors = []
        for seed in range(8):
            attention = Attention(Kernel(Favor(features, seed)), normalizer=Sum())
            errors.append((attend(attention, q, k, v, layout) - true).square().mean())
        return float(torch.stack(errors).mean().sqrt())

    few, many = error(32), error(2048)
    # 64 times as many features leave an eighth of the error.
    assert many < few / 6
    assert many < 0.01


def test_favor_is_orthogonal_within_blocks_and_drawn_from_its_seed():
    y = torch.eye(8, dtype=torch.float64) * 8**0.25

    def rows(favor: Favor) -> torch.Tensor:
        return (favor.of_keys(y).log() + 0.5).T

    w = rows(Favor(features=12, seed=5))
    assert w.shape == (12, 8)
    products = w @ w.T
    for block in (products[:8, :8], products[8:, 8:]):
        torch.testing.assert_close(block, block.diagonal().diag(), atol=1e-9, rtol=0)
    assert products[:8, 8:].abs().max() > 0.1
    assert torch.equal(w, rows(Favor(features=12, seed=5)))
    assert not torch.allclose(w, rows(Favor(features=12, seed=5).redrawn()))


def test_the_factor_of_a_query_cancels():
    q, k, v = (normal(9, 2, 4, seed=n) for n in range(3))
    s = Kernel(Favor(16)).tile(q.transpose(0, 1), k.transpose(0, 1), {})
    w = Favor(16)
    true = torch.einsum("ihm,jhm->hij", w.of_keys(q), w.of_keys(k))
    torch.testing.assert_close(s / s.sum(-1, keepdim=True), true / true.sum(-1, keepdim=True))
    out = attend(Attention(Kernel(w), normalizer=Sum()), q, k, v, Layout.of_lengths([9]))
    torch.testing.assert_close(out.transpose(0, 1), true @ v.transpose(0, 1) / true.sum(-1, keepdim=True))


@pytest.mark.parametrize("executor", ["dense", "edges"])
def test_scores_that_are_all_zero_give_zeros(executor):
    q = torch.full((3, 1, 4), -200.0, requires_grad=True)
    k, v = (normal(3, 1, 4, seed=n).float().requires_grad_() for n in range(2))
    out = attend(Attention(Kernel(), normalizer=Sum()), q, k, v, Layout.of_lengths([3]), executor=executor)
    assert (out == 0).all()
    for gradient in torch.autograd.grad(out.sum(), (q, k, v)):
        assert (gradient == 0).all()


def test_longer_sets_than_there_are_places_are_refused():
    attention = Attention(Synthesized(places=7))
    assert plan(attention, Layout.of_lengths([7, 2])).executor
    with pytest.raises(InputError, match=r"queries have 8 places in a set, expected at most the 7 of Synthesized\("):
        plan(attention, Layout.of_lengths([8, 2]))
    with pytest.raises(InputError, match="keys have 9 places"):
        plan(attention, Layout.of_lengths([7]), key_layout=Layout(torch.tensor([0, 7]), starts=torch.tensor([2])))


def test_factorized_dense_scores_are_products_of_two_tiled_factors():
    """A_i, of r numbers, repeated to all places, times B_i, each of whose numbers stands for r places in a row."""
    score, n = Synthesized(places=10, kind="factorized_dense", rank=4), 10
    q = torch.randn(n, 1, 3, dtype=torch.float64)
    learned = {name: torch.randn(shape, dtype=torch.float64) for name, shape in score.parameters(1, 3).items()}
    sizes = {"score_left": 4, "score_right": 3, "score_left_shift": 4, "score_right_shift": 3}
    assert {name: len(table) for name, table in learned.items()} == sizes
    a, b = (
        q[:, 0].relu() @ learned[f"score_{x}"][:, 0].T + learned[f"score_{x}_shift"][:, 0] for x in ("left", "right")
    )
    expected = a.repeat(1, 3)[:, :n] * b.repeat_interleave(4, 1)[:, :n]
    out = attend(
        Attention(score), q, q, torch.eye(n, dtype=torch.float64)[:, None], Layout.of_lengths([n]), parameters=learned
    )
    assert torch.allclose(out[:, 0], expected.softmax(-1))


def test_a_mixture_of_one_score_that_has_all_the_weight_is_that_score():
    mixture = Mixture((Synthesized(9, "random"), Dot()))
    x = [torch.randn(9, 2, 4, dtype=torch.float64) for _ in range(3)]
    layout = Layout.of_lengths([9])
    learned = {name: torch.randn(shape, dtype=torch.float64) for name, shape in mixture.parameters(2, 4).items()}
    random = {"score_pairs": learned["score_pairs_0"]}
    for shares, alone, own in (([800.0, 0], mixture.scores[0], random), ([0, 800.0], Dot(), {})):
        learned["score_mixture"] = torch.tensor([shares] * 2, dtype=torch.float64)
        found = attend(Attention(mixture), *x, layout, parameters=learned)
        assert torch.allclose(found, attend(Attention(alone), *x, layout, parameters=own))
    # A head that mixes for itself: the first is all random, the second all dot products.
    learned["score_mixture"] = torch.tensor([[800.0, 0], [0, 800.0]], dtype=torch.float64)
    found = attend(Attention(mixture), *x, layout, parameters=learned)
    assert torch.allclose(found[:, 1], attend(Attention(), *x, layout)[:, 1])
    assert torch.allclose(found[:, 0], attend(Attention(mixture.scores[0]), *x, layout, parameters=random)[:, 0])
