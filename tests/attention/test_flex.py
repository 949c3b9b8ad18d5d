"""The parts of `flex` that need no GPU: which blocks are seen, what the mask and the bias look up, and the unfused forward pass."""

import pytest
import torch
from torch.nn.attention import flex_attention as torch_flex

from regard.attention.call import pose
from regard.attention.executors import flex
from regard.attention.planning import plan
from regard.attention.problem import USUAL, Problem, Tensors, TileSizes
from regard.attention.spec.attention import Attention
from regard.attention.spec.biases import T5, ALiBi
from regard.attention.spec.patterns import Blocks, Causal, Dilated, Everyone, First, Stride, Window
from regard.attention.spec.scores import Additive
from regard.errors import InputError
from regard.sets import Layout

from .catalogue import MIXED, SMALL, Case, Inputs
from .checks import allowed_pairs, budget, distances, truth

SIZES = ((130, 0, 300), MIXED, (128,), (0, 0))
CASES = [
    Case(Attention(), key_heads=2, e=5),
    Case(Attention(pattern=Causal(), bias=ALiBi())),
    Case(Attention(pattern=Window(64, 3) | First(2), bias=T5(buckets=8, max_distance=40))),
    Case(Attention(pattern=(Window(3, 0), ~Everyone(), Blocks(40), Causal())), key_heads=1),
    Case(Attention(pattern=Window(140, 140)), cross=True),
    Case(Attention(pattern=Causal(), bias=ALiBi()), continued=True),
]


def posed(case: Case, x: Inputs, tiles: TileSizes = USUAL) -> tuple[Problem, Tensors]:
    tensors = Tensors(x.q, x.k, x.v, x.parameters)
    problem = pose(case.attention, tensors, x.layout, x.key_layout, None, tiles)
    prepared = case.attention.prepare(x.parameters, lambda: problem.reach)
    return problem, Tensors(x.q, x.k, x.v, prepared)


@pytest.mark.parametrize(
    ("sizes", "tiles"), [*((sizes, USUAL) for sizes in SIZES), (MIXED, SMALL)], ids=["", "", "", "", "small"]
)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_unfused_forward_pass_equals_the_meaning(case, sizes, tiles, monkeypatch):
    monkeypatch.setattr(torch_flex, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    problem, tensors = posed(case, case.inputs(sizes, torch.float32), tiles)
    assert flex._unlike(problem) is None
    with torch.no_grad():
        detached = Tensors(*(x.detach() for x in (tensors.q, tensors.k, tensors.v)), tensors.parameters)
        found = flex.run_with(torch_flex.flex_attention, problem, detached)
    assert found.dtype == torch.float32
    assert distances(found, truth(case, sizes)["out"]).within(budget(case, sizes, torch.float32)["out"])


@pytest.mark.rare
@pytest.mark.unpoisoned
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, by torch
def test_one_compiled_kernel_serves_patterns_and_batches():
    torch._dynamo.reset()
    for number, sizes in enumerate([(130, 0, 300), (200,), (90, 128, 500), (700,)]):
        for pattern in (Causal(),) if number < 2 else (Causal(), Window(40, 3), Blocks(40)):
            case = Case(Attention(pattern=pattern), d=16, e=16)
            problem, tensors = posed(case, case.inputs(sizes, torch.float32))
            tensors = Tensors(*(x.detach() for x in (tensors.q, tensors.k, tensors.v)), {})
            # What was compiled for the first two batches must do for all.
            with torch.no_grad(), torch.compiler.set_stance("fail_on_recompile" if number > 1 else "default"):
                found = flex.run(problem, tensors)
            assert distances(found, truth(case, sizes)["out"]).within(budget(case, sizes, torch.float32)["out"])


@pytest.mark.parametrize(
    ("sizes", "tiles"), [*((sizes, USUAL) for sizes in SIZES[:3]), (MIXED, SMALL)], ids=["", "", "", "small"]
)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_blocks_and_mask_are_those_of_the_pattern(case, sizes, tiles):
    x = case.inputs(sizes, torch.float32)
    (problem, _), block = posed(case, x, tiles), tiles.block
    ready, (ours, theirs) = flex.prepared(problem), (flex._line(problem, each) for each in (x.layout, x.key_layout))
    mask = ready.mask
    allowed = torch.zeros(case.heads, ours.rows, theirs.rows, dtype=torch.bool)
    allowed[:, ours.place[:, None], theirs.place] = allowed_pairs(case, x).movedim(-1, 0)
    h, q, k = torch.arange(case.heads)[:, None, None], torch.arange(ours.rows)[:, None], torch.arange(theirs.rows)
    assert torch.equal(mask.mask_mod(None, h, q, k), allowed)
    parts = allowed.unflatten(1, (-1, block)).unflatten(3, (-1, block))
    real = torch.zeros(ours.rows, dtype=torch.bool).index_fill(0, ours.place, True).view(1, -1, block, 1, 1)
    some, full = parts.any(4).any(2), (parts | ~real).all(4).all(2)
    numbers, indices = mask.full_kv_num_blocks, mask.full_kv_indices
    assert torch.equal(numbers.expand(1, case.heads, -1)[0], full.sum(-1).int())
    assert torch.equal(mask.kv_num_blocks.expand(1, case.heads, -1)[0], (some & ~full).sum(-1).int())
    for head in range(case.heads):
        for row in range(full.shape[1]):
            listed = indices[0, min(head, indices.shape[1] - 1), row, : full[head, row].sum()]
            assert listed.tolist() == full[head, row].nonzero()[:, 0].tolist()


def test_no_block_holds_two_sets():
    problem, _ = posed(CASES[0], CASES[0].inputs((130, 0, 300), torch.float32))
    line = flex._line(problem, problem.layout)
    owner = torch.full((line.rows,), -1).index_copy(0, line.place, problem.layout.set_of_row).view(-1, USUAL.block)
    assert all(len(set(block.tolist()) - {-1}) == 1 for block in owner)
    assert line.rows == 256 + 384


@pytest.mark.parametrize(
    ("attention", "reason"),
    [
        (Attention(score=Additive()), "it computes the score Dot, not Additive"),
        (Attention(pattern=Stride(3)), "some row sees 9 stretches of keys, expected at most 4"),
        (Attention(pattern=Dilated(2, 2, 2)), "some row sees 5 stretches of keys, expected at most 4"),
        (Attention(bias=ALiBi(coordinates=True)), "ALiBi(coordinates=True) is no function of the distance alone"),
    ],
)
def test_what_it_cannot_compute_anywhere(attention, reason):
    layout = Layout(torch.tensor([0, 26]), coords=torch.zeros(26, 2))
    problem = Problem(attention, layout, layout, 1, 1, 8, 8, torch.float32)
    assert flex._unlike(problem) == reason


def test_it_refuses_to_train_on_a_cpu():
    with pytest.raises(InputError, match=r"refuses .*: FlexAttention has no backward pass on cpu"):
        plan(Attention(), Layout.of_lengths([4]), executor="flex")
