"""Compiled and exported code: the operators mean what `attend` means, for every executor, whatever the sizes."""

from itertools import product

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from regard.attention import torch_op as operator
from regard.attention.dropout import Dropout
from regard.attention.planning import EXECUTORS
from regard.attention.problem import Tensors
from regard.attention.spec.attention import Attention
from regard.attention.spec.biases import ALiBi, EdgeBias, Shaw
from regard.attention.spec.feature_maps import Elu
from regard.attention.spec.normalizers import Sum
from regard.attention.spec.patterns import Causal, Edges, Everyone, Near, Window
from regard.attention.spec.scores import Additive, Kernel, Separable
from regard.attention.verb import attend
from regard.errors import InputError
from regard.sets import Layout

from . import checks
from .catalogue import EDGE_WIDTH, SHORT, Case, Inputs, computed

CASES = [
    Case(Attention(), key_heads=2, e=5),
    Case(Attention(pattern=Window(2, 1), bias=Shaw(radius=2))),
    Case(Attention(pattern=(Window(2, 0), ~Everyone()), bias=ALiBi()), heads=2, key_heads=1),
    Case(Attention(score=Additive(), pattern=Near(1)), coords=2, cross=True),
    Case(Attention(score=Separable(), pattern=Edges(), bias=EdgeBias(width=EDGE_WIDTH))),
    Case(Attention(pattern=Window(4, 0)), continued=True),
    Case(Attention(score=Additive())),
    Case(Attention(score=Kernel(Elu()), normalizer=Sum(), pattern=Causal())),
]
DROPOUT = Dropout(0.4, seed=123456789012345)


def through_the_operator(name: str) -> checks.Run:
    def run(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
        tensors = Tensors(x.q, x.k, x.v, x.parameters)
        return operator.traced_attend(attention, tensors, x.layout, x.key_layout, dropout, name)

    return run


def same(found: checks.Results, expected: checks.Results) -> None:
    """The same executor ran; where its inputs lie in memory may change how torch's products round."""
    assert list(found) == list(expected)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6)


@pytest.fixture(autouse=True)
def forgotten() -> None:
    torch._dynamo.reset()
    operator._layouts.kept = ()


@pytest.mark.parametrize(
    ("name", "case", "dropout"),
    [(*pair, dropout) for dropout in (None, DROPOUT) for pair in computed(CASES, dropout=0.4 * (dropout is not None))],
    ids=str,
)
def test_an_operator_gives_what_attend_gives(name, case, dropout):
    x = case.inputs(SHORT, torch.float32)
    eager, traced = (
        checks.results(run(name), case.attention, x, dropout) for run in (checks.executor, through_the_operator)
    )
    same(traced, eager)


# From torch 2.14 on, torch's own check reads the gradient of tensors that keep none.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_operators_keep_the_rules_of_torch(case):
    x = case.inputs((3, 0, 5), torch.float32)
    operator.traced_attend(case.attention, Tensors(x.q, x.k, x.v, x.parameters), x.layout, x.key_layout, DROPOUT, None)
    fields = operator._fields(x.layout)
    theirs = "" if x.key_layout is x.layout else operator._fields(x.key_layout)
    call = "\n".join([case.attention.text, " ".join(x.parameters), fields, theirs, ""])
    layouts = [
        [getattr(x.layout, name) for name in fields.split()],
        [getattr(x.key_layout, name) for name in theirs.split()],
    ]
    arguments = (x.q, x.k, x.v, list(x.parameters.values()), *layouts, call, 0.4, torch.tensor(DROPOUT.seed))
    torch.library.opcheck(torch.ops.regard.attend, arguments)
    gradient = torch.randn(x.layout.total, case.heads, case.e)
    wanted = [True, False, True, *[True] * len(x.parameters), *[False] * sum(len(each) for each in layouts)]
    torch.library.opcheck(
        torch.ops.regard.attend_backward,
        (
            gradient,
            *(
                [y.detach() for y in arg] if isinstance(arg, list) else arg.detach() if isinstance(arg, Tensor) else arg
                for arg in arguments
            ),
            wanted,
        ),
    )


@pytest.mark.parametrize("name", EXECUTORS)
def test_every_executor_runs_in_compiled_code(name):
    for dropout, case in product((DROPOUT, None), CASES):
        x = case.inputs(SHORT, torch.float32)
        try:
            expected = checks.results(checks.executor(name), case.attention, x, dropout)
        except InputError:
            continue
        compiled = torch.compile(checks.executor(name), backend="aot_eager", fullgraph=True)
        found = checks.results(compiled, case.attention, x, dropout)
        same(found, expected)
        return
    assert name == "flex", f"{name} refuses all of these cases"


@pytest.mark.parametrize("case", [CASES[1], CASES[3]], ids=str)
def test_sizes_change_and_nothing_is_compiled_again(case):
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(attend, backend=counter, fullgraph=True)

    def run(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
        return compiled(attention, x.q, x.k, x.v, x.layout, x.key_layout, x.parameters, dropout=dropout)

    for number, sizes in enumerate([(4, 3), (2, 9, 5), (7, 0, 1, 2, 30), (3,) * 9]):
        x = case.inputs(sizes, torch.float32)
        torch.manual_seed(number)
        found = checks.results(run, case.attention, x)
        expected = checks.results(
            lambda a, x, d: attend(a, x.q, x.k, x.v, x.layout, x.key_layout, x.parameters), case.attention, x
        )
        same(found, expected)
        assert counter.frame_count <= 2


def test_gradients_reach_what_edges_and_coordinates_carry():
    case = CASES[4]
    x = case.inputs(SHORT)
    found = []
    for run in (checks.executor("edges"), through_the_operator("edges")):
        values = x.layout.edge_values.clone().requires_grad_()
        layout = Layout(x.layout.offsets, edges=x.layout.edges, edge_values=values)
        out = run(case.attention, Inputs(layout, layout, x.q, x.k, x.v, x.parameters), None)
        found.append(torch.autograd.grad(out, values, checks.upstream(out))[0])
    assert torch.equal(*found)
    assert found[0].abs().sum() > 0


def test_layers_share_what_was_derived():
    x = CASES[1].inputs(SHORT, torch.float32)
    for _ in range(3):
        checks.results(through_the_operator("edges"), CASES[1].attention, x)
    assert len(operator._layouts.kept) == 1


def test_a_layout_that_changed_in_place_is_a_new_one():
    offsets, x = torch.tensor([0, 2, 5]), torch.randn(5, 1, 4)
    tensors = Tensors(x, x, x, {})
    for middle in (2, 4, 2, 0):
        # Behind the back of torch, as compiled code does.
        offsets.numpy()[1] = middle
        found = operator.traced_attend(Attention(), tensors, Layout._trusted([offsets, *[None] * 4]), None, None, None)
        assert torch.equal(found, attend(Attention(), x, x, x, Layout(torch.tensor([0, middle, 5]))))
    assert all(layout.offsets is not offsets for layout in operator._layouts.kept)


def test_few_layouts_are_kept():
    for length in range(1, 20):
        x = torch.zeros(length, 1, 4)
        operator.traced_attend(Attention(), Tensors(x, x, x, {}), Layout.of_lengths([length]), None, None, None)
    assert len(operator._layouts.kept) == operator._KEPT


def test_compiled_dropout_draws_as_eager_does():
    attention, layout, x = Attention(), Layout.of_lengths([6, 3]), torch.randn(9, 2, 4)

    def twice(x: Tensor) -> tuple[Tensor, Tensor]:
        return tuple(attend(attention, x, x, x, layout, dropout=Dropout.draw(0.5)) for _ in range(2))

    compiled = torch.compile(twice, backend="aot_eager", fullgraph=True)
    torch.manual_seed(1)
    expected = [twice(x) for _ in range(2)]
    torch.manual_seed(1)
    found = [compiled(x) for _ in range(2)]
    assert all(
        torch.equal(a, b) for one, other in zip(expected, found, strict=True) for a, b in zip(one, other, strict=True)
    )
    assert not torch.equal(*found[0])
    assert not torch.equal(found[0][0], found[1][0])


def test_what_does_not_fit_is_refused_in_the_same_words():
    x, layout = torch.zeros(4, 1, 2), Layout.of_lengths([3])
    compiled = torch.compile(attend, backend="eager", fullgraph=True)
    for attention, executor in ((Attention(), None), (Attention(pattern=Edges()), None), (Attention(), "fastest")):
        rows = x if executor is None and attention == Attention() else x[:3]
        with pytest.raises(InputError) as eager:
            attend(attention, rows, rows, rows, layout, executor=executor)
        with pytest.raises(InputError) as traced:
            compiled(attention, rows, rows, rows, layout, executor=executor)
        assert str(traced.value) == str(eager.value)


@pytest.mark.rare
@pytest.mark.unpoisoned
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, by torch
def test_the_default_compiler_gives_the_same():
    case = CASES[1]
    compiled = torch.compile(attend, fullgraph=True, dynamic=True)

    def run(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
        return compiled(attention, x.q, x.k, x.v, x.layout, x.key_layout, x.parameters, dropout=dropout)

    for sizes in [(4, 3), (7, 0, 1, 2, 30)]:
        x = case.inputs(sizes, torch.float32)
        found = checks.results(run, case.attention, x)
        expected = checks.results(checks.executor(None), case.attention, x)
        same(found, expected)
