"""Patterns: the intervals say the same as `allows`, and the algebra of `&`, `|` and `~` is the one of sets of pairs."""

import subprocess
import sys
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.attention.pairs.pairs import AT_ONCE, Intervals, Pairs, Rows, naming_at_most
from regard.attention.pairs.tiles import tiles
from regard.attention.planning import plan
from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import (
    AlongAxis,
    BlockEnds,
    Blocks,
    Causal,
    Dilated,
    Edges,
    Everyone,
    First,
    Near,
    Pattern,
    RandomBlocks,
    Stride,
    Window,
)
from regard.attention.vocabulary import parse
from regard.errors import InputError
from regard.sets import Layout

from .counting import Counted


@dataclass(frozen=True, repr=False)
class EveryThird(Pattern):
    """A pattern that only says what it allows."""

    def allows(self, i, j, pairs=None):
        return (i + j) % 3 == 0


BASIC = st.one_of(
    st.just(Everyone()),
    st.just(Causal()),
    st.just(Edges()),
    st.just(EveryThird()),
    st.builds(Window, st.integers(0, 4), st.integers(0, 4)),
    st.builds(First, st.integers(0, 3)),
    st.builds(Dilated, st.integers(0, 2), st.integers(0, 2), st.integers(1, 3)),
    st.builds(Stride, st.integers(1, 4)),
    st.builds(Blocks, st.integers(1, 4), st.integers(0, 5)),
    st.builds(BlockEnds, st.integers(1, 4), st.integers(1, 4)),
    st.builds(RandomBlocks, st.integers(0, 3), st.integers(1, 3), st.integers(0, 9), st.integers(0, 3)),
)
PATTERNS = st.recursive(
    BASIC,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a | b, inner, inner),
        st.builds(lambda a: ~a, inner),
    ),
    max_leaves=5,
)
ORDERLY = st.recursive(
    BASIC.filter(lambda pattern: pattern != Edges()),
    lambda inner: st.one_of(st.builds(lambda a, b: a & b, inner, inner), st.builds(lambda a: ~a, inner)),
    max_leaves=4,
)
SIZES = st.lists(st.integers(0, 6), max_size=5)


@st.composite
def graphs(draw: st.DrawFn) -> Layout:
    """Sets with edges, and now and then with starts."""
    layout = Layout.of_lengths(draw(SIZES))
    same = (layout.set_of_row[:, None] == layout.set_of_row).nonzero()
    chosen = [pair for pair in same.tolist() if draw(st.booleans())]
    edges = torch.tensor(chosen, dtype=torch.int64).reshape(-1, 2).T
    starts = torch.tensor(draw(st.lists(st.integers(0, 4), min_size=layout.sets, max_size=layout.sets)) or [0])
    return Layout(layout.offsets, edges=edges, starts=starts[: layout.sets] if draw(st.booleans()) else None)


@st.composite
def crossing(draw: st.DrawFn) -> tuple[Layout, Layout]:
    """As many sets of queries as of keys, each with starts now and then."""
    sizes = draw(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=5))
    layouts = []
    for side in (0, 1):
        plain = Layout.of_lengths([pair[side] for pair in sizes])
        starts = torch.tensor([draw(st.integers(0, 4)) for _ in sizes], dtype=torch.int64)
        layouts.append(Layout(plain.offsets, starts=starts if draw(st.booleans()) else None))
    return layouts[0], layouts[1]


def asked(layout: Layout, key_layout: Layout | None = None, at_once: int = AT_ONCE) -> Rows:
    return Rows(torch.arange(layout.total), layout, key_layout or layout, at_once)


def by_meaning(pattern: Pattern, rows: Rows) -> torch.Tensor:
    """`[rows, u]` True where the pattern allows the pair and both are of the same set."""
    keys = torch.arange(rows.key_layout.total)
    pairs = Pairs(rows.layout, rows.key_layout, rows.rows[:, None], keys)
    same = rows.sets[:, None] == rows.key_layout.set_of_row
    return torch.as_tensor(pattern.allows(pairs.i, pairs.j, pairs)).expand_as(same) & same


def by_intervals(intervals: Intervals) -> torch.Tensor:
    """The same from intervals: packed rows of keys between `bounds`."""
    found = torch.zeros(len(intervals.of.rows), intervals.of.key_layout.total, dtype=torch.bool)
    for row, start, stop in zip(intervals.row.tolist(), *(x.tolist() for x in intervals.bounds()), strict=True):
        found[row, start:stop] = True
    return found


def well_formed(intervals: Intervals) -> None:
    assert (intervals.start < intervals.stop).all(), "an interval is empty"
    assert (intervals.start[1:] > intervals.stop[:-1]).all(), "not sorted, not disjoint, or not merged"


def agree(pattern: Pattern, rows: Rows) -> None:
    intervals = pattern.keys(rows)
    well_formed(intervals)
    expected = by_meaning(pattern, rows)
    assert torch.equal(by_intervals(intervals), expected)
    assert torch.equal(intervals.counts(), expected.sum(1))
    query_rows, key_rows = intervals.pairs()
    places = expected.nonzero()
    assert torch.equal(query_rows, rows.rows[places[:, 0]])
    assert torch.equal(key_rows, places[:, 1])


@given(PATTERNS, graphs())
def test_intervals_are_what_is_allowed(pattern, layout):
    agree(pattern, asked(layout))


PLACED = st.one_of(st.builds(Near, st.sampled_from([0, 1, 1.5])), st.builds(AlongAxis, st.integers(0, 1)))


@given(PLACED, SIZES, st.integers(0, 9))
def test_intervals_of_coordinates_are_what_is_allowed(pattern, sizes, seed):
    plain = Layout.of_lengths(sizes)
    place = torch.randint(0, 3, (plain.total, 2), generator=torch.Generator().manual_seed(seed))
    layout = Layout(plain.offsets, coords=place.double())
    agree(pattern, asked(layout))
    agree(~pattern & Causal(), asked(layout))


@given(
    st.sampled_from([0, 0.1, 0.3, 1, 2.5]),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=4),
    st.integers(1, 4),
    st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.int64]),
    st.integers(0, 99),
)
def test_neighbors_in_space_are_what_is_allowed(radius, sizes, width, dtype, seed):
    """Near in up to four dimensions, whole and fractional places, negative ones, and some that are no number."""
    generator = torch.Generator().manual_seed(seed)
    layouts = []
    for side in (0, 1):
        plain = Layout.of_lengths([pair[side] for pair in sizes])
        place = torch.rand(plain.total, width, generator=generator, dtype=torch.float64) * 6 - 3
        place = (place * 10).round() / 10 if seed % 2 else place.round()
        if plain.total and seed % 5 == 0 and dtype.is_floating_point:
            place[seed % plain.total, seed % width] = (torch.nan, torch.inf, -torch.inf)[seed % 3]
        layouts.append(Layout(plain.offsets, coords=place.to(dtype)))
    agree(Near(radius), asked(*layouts))
    agree(AlongAxis(seed % width), asked(*layouts))
    some = torch.arange(0, layouts[0].total, 2)
    agree(Near(radius) | Causal(), Rows(some, *layouts))


def test_neighbors_are_asked_about_a_few_at_a_time():
    """On a grid of 20 x 20, a row's 25 keys are found among at most 9 cells of 9."""
    asked_about = []

    @dataclass(frozen=True, repr=False)
    class Watched(Near):
        def allows(self, i, j, pairs=None):
            asked_about.append(i.numel())
            return super().allows(i, j, pairs)

    grid = torch.cartesian_prod(torch.arange(20), torch.arange(20)).double()
    counts = Watched(2).keys(asked(Layout(torch.tensor([0, 400]), coords=grid), at_once=500)).counts()
    assert counts.view(20, 20)[2:-2, 2:-2].unique().tolist() == [25]
    assert max(asked_about) <= 500
    assert sum(asked_about) <= 400 * 9 * 9 < 400 * 400


def test_a_row_of_a_picture_lies_along_its_columns():
    place = torch.cartesian_prod(torch.arange(3), torch.arange(4)).double()
    layout = Layout(torch.tensor([0, 12]), coords=place)
    row, column = (by_meaning(AlongAxis(k), asked(layout))[5] for k in (1, 0))
    assert row.nonzero().flatten().tolist() == [4, 5, 6, 7]
    assert column.nonzero().flatten().tolist() == [1, 5, 9]
    near = by_meaning(Near(1), asked(layout))[5]
    assert near.nonzero().flatten().tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10]


def test_random_blocks_are_as_many_as_they_say_and_distinct():
    sizes = [0, 3, 4, 9, 40, 41]
    rows = asked(Layout.of_lengths(sizes))
    counts = RandomBlocks(3, size=4, seed=5, head=0).keys(rows).counts()
    allowed = by_meaning(RandomBlocks(3, size=4, seed=5, head=0), rows)
    for b, size in enumerate(sizes):
        mine, blocks = rows.sets == b, -(-size // 4)
        # The last block of a set may be a short one.
        assert set(counts[mine].tolist()) <= {min(size, keys) for keys in (12, 12 - (blocks * 4 - size))}
        of_set = allowed[mine][:, rows.sets == b]
        for first in range(0, size, 4):
            assert (of_set[first : first + 4] == of_set[first]).all(), "queries of a block differ"
            assert all(len(keys.unique()) == 1 for keys in of_set[first].split(4)), "a block is seen in part"


@pytest.mark.parametrize(("per_row", "size"), [(40, 1), (33, 2), (5, 4), (1_000_000, 1), (0, 3)])
@pytest.mark.parametrize("starts", [0, 7, 10**9 + 3])
def test_many_random_blocks_are_those_of_the_meaning(per_row, size, starts):
    """More than are compared one by one, as many as there are, and more than there are."""
    plain = Layout.of_lengths([0, 33, 41, 80])
    rows = asked(Layout(plain.offsets, starts=torch.full((4,), starts)))
    pattern = RandomBlocks(per_row, size, seed=2, head=1)
    keys = pattern.keys(rows)
    found = torch.zeros(154, 154, dtype=torch.bool)
    found[keys.pairs()] = True
    assert torch.equal(found, by_meaning(pattern, rows))
    if size == 1:
        assert keys.counts().tolist() == [min(per_row, n) for n in (33, 41, 80) for _ in range(n)]


def test_draws_of_a_table_are_those_of_comparing(monkeypatch):
    from regard.attention.spec import random_blocks

    queries, blocks = torch.arange(30), torch.arange(30) * 3
    compared = random_blocks.drawn_blocks(queries, blocks, 9, (1, 0, 4))
    by_table = random_blocks._by_table(queries[4:], blocks[4:], 9, (1, 0, 4))
    assert torch.equal(compared.blocks[compared.of[4:]], by_table)
    assert compared.of[:4].tolist() == [-1] * 4
    assert all(
        len(set(row)) == 9 and max(row) < n for row, n in zip(by_table.tolist(), blocks[4:].tolist(), strict=True)
    )


def test_keys_named_one_by_one_are_bounded():
    layout = Layout.of_lengths([100])
    with naming_at_most(1000):
        for pattern in (
            Stride(2),
            Dilated(30, 30, 2),
            RandomBlocks(9, 1, head=0),
            ~Window(1, 1) & RandomBlocks(9, 1, head=0),
        ):
            with pytest.raises(InputError, match=r"one by one, expected at most 1,000: shorter sets"):
                pattern.keys(asked(layout))
        assert Window(5, 5).keys(asked(layout)).counts().sum() == 1070
    assert Stride(2).keys(asked(layout)).counts().sum() == 5000


def test_random_blocks_are_drawn_evenly():
    """Of five blocks two at a time: ten pairs of blocks, each in a tenth of 6,000 draws, give or take six deviations."""
    rows = asked(Layout.of_lengths([5]))
    patterns = [RandomBlocks(2, 1, seed, head) for seed in range(300) for head in range(4)]
    draws = torch.cat([pattern.keys(rows).pairs()[1].view(5, 2) for pattern in patterns])
    counts = torch.bincount(draws[:, 0] * 5 + draws[:, 1], minlength=25).view(5, 5)
    expected = torch.ones(5, 5).triu(1) * 600
    assert ((counts - expected).abs() <= 6 * 600**0.5 * (expected > 0)).all()


def test_heads_that_share_random_blocks_draw_for_themselves():
    drawn = RandomBlocks(1, 2, seed=7)
    bigbird = Window(1, 1) | First(1) | drawn
    attention = Attention(pattern=bigbird).for_heads(3)
    assert attention.patterns == tuple(Window(1, 1) | First(1) | replace(drawn, head=head) for head in range(3))
    assert attention.for_heads(3) is attention
    assert Attention(pattern=bigbird).for_heads(3) is attention
    nested = Attention(pattern=(~(drawn & Causal()), Causal())).for_heads(2)
    assert nested.patterns == (~(replace(drawn, head=0) & Causal()), Causal())
    rows = asked(Layout.of_lengths([64]))
    assert len({str(pattern.keys(rows).start.tolist()) for pattern in attention.patterns}) == 3
    assert attention.text == repr(Attention(pattern=bigbird)), "what was asked for is what is told"
    assert str(plan(Attention(pattern=bigbird), Layout.of_lengths([9]), heads=3)).splitlines()[0] == attention.text
    plain = Attention(pattern=(Causal(), bigbird.a))
    assert plain.for_heads(2) is plain
    three = Attention(pattern=(drawn, drawn, drawn))
    assert three.for_heads(2) is three, "patterns for another number of heads stay, to be refused"


def test_random_blocks_without_a_head_or_a_layout_are_refused():
    for ask in (RandomBlocks(1, 2).keys, lambda rows: RandomBlocks(1, 2).allows(rows.index, rows.index, rows)):
        with pytest.raises(ValueError, match="expected what `for_head` gives"):
            ask(asked(Layout.of_lengths([3])))
    with pytest.raises(ValueError, match="expected pairs of rows in a layout"):
        RandomBlocks(1, 2, head=0).allows(0, 1)


def test_heads_with_the_same_pattern_are_a_group():
    layout = Layout.of_lengths([4])

    def groups(pattern: Pattern | tuple[Pattern, ...]) -> list[tuple[Pattern, list[int]]]:
        return plan(Attention(pattern=pattern), layout, heads=4).problem.groups

    window, causal = Window(1, 1), Causal()
    assert groups(window) == [(window, [0, 1, 2, 3])]
    assert groups((window, causal, Window(1, 1), causal)) == [(window, [0, 2]), (causal, [1, 3])]
    drawn = RandomBlocks(1, 1)
    assert groups(drawn) == [(drawn.for_head(head), [head]) for head in range(4)]


@pytest.mark.parametrize(("blocks", "length"), [(2, 16), (3, 12), (3, 60), (1, 7)])
def test_shifted_blocks_are_those_of_blockwise_attention(blocks, length):
    """M_ij = 1 if the cyclic permutation of the block of i, counted from 1, is the block of j (Qiu et al. 2020, eq. 4)."""
    rows = asked(Layout.of_lengths([length, 0, length]))
    for shift in range(2 * blocks):
        permuted = [(n + shift) % blocks + 1 for n in range(blocks)]
        expected = [
            [permuted[i * blocks // length] == j * blocks // length + 1 for j in range(length)] for i in range(length)
        ]
        allowed = by_meaning(Blocks(length // blocks, shift), rows)
        assert torch.equal(allowed[:length, :length], torch.tensor(expected))
        assert torch.equal(allowed[length:, length:], torch.tensor(expected))
    assert torch.equal(by_meaning(Blocks(100, shift=3), rows), by_meaning(Everyone(), rows))


@pytest.mark.parametrize(("size", "last"), [(4, 1), (8, 3), (5, 5), (3, 9)])
def test_ends_of_blocks_make_the_fixed_pattern_of_the_sparse_transformer(size, last):
    """A1: floor(j / l) = floor(i / l); A2: j mod l in t, ..., l - 1 with t = l - c; j <= i (Child et al. 2019, section 4.3)."""
    fixed = Causal() & (Blocks(size) | BlockEnds(size, last))
    allowed = by_meaning(fixed, asked(Layout.of_lengths([30])))
    for i in range(30):
        first = {j for j in range(i + 1) if j // size == i // size}
        second = {j for j in range(i + 1) if j % size in range(max(0, size - last), size)}
        assert set(allowed[i].nonzero()[:, 0].tolist()) == first | second


def test_blocks_with_a_shift_are_not_asked_about_indices_alone_and_do_not_grow():
    with pytest.raises(ValueError, match="expected pairs of rows in a layout"):
        Blocks(2, shift=1).allows(0, 1)
    assert Blocks(2, shift=1).reads_number
    assert not Blocks(2).reads_number
    assert Blocks(2, shift=1).extent == (float("inf"), float("inf"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Dilated(1, 1, 0),
        lambda: Stride(0),
        lambda: Blocks(-1),
        lambda: Blocks(3, shift=-1),
        lambda: BlockEnds(3, 0),
        lambda: AlongAxis(-1),
        lambda: RandomBlocks(-1, 4),
        lambda: RandomBlocks(1, 0),
        lambda: RandomBlocks(1, 1, head=1.5),
    ],
)
def test_steps_and_sizes_that_make_no_sense_are_refused(make):
    with pytest.raises(InputError, match="expected"):
        make()


@given(ORDERLY, crossing())
def test_intervals_are_what_is_allowed_across_layouts(pattern, layouts):
    agree(pattern, asked(*layouts))


@given(PATTERNS, graphs(), st.data())
def test_intervals_of_some_rows(pattern, layout, data):
    some = data.draw(st.lists(st.integers(0, layout.total - 1), unique=True)) if layout.total else []
    agree(pattern, Rows(torch.tensor(sorted(some), dtype=torch.int64), layout, layout))


@settings(max_examples=50)
@given(PATTERNS, PATTERNS, graphs())
def test_laws_of_the_algebra(a, b, layout):
    rows = asked(layout)

    def same(x: Pattern, y: Pattern) -> None:
        found, wanted = x.keys(rows), y.keys(rows)
        assert torch.equal(found.start, wanted.start)
        assert torch.equal(found.stop, wanted.stop)

    same(~(a & b), ~a | ~b)
    same(~(a | b), ~a & ~b)
    same(~~a, a)
    same(a & b, b & a)
    same(a | b, b | a)
    same(a & a, a)
    same(a | a, a)
    same(a & Everyone(), a)
    same(a | ~a, Everyone())
    same(a & ~a, ~Everyone())
    counts = {
        name: x.keys(rows).counts() for name, x in (("a", a), ("b", b), ("and", a & b), ("or", a | b), ("not", ~a))
    }
    assert torch.equal(counts["and"] + counts["or"], counts["a"] + counts["b"])
    assert torch.equal(counts["not"] + counts["a"], rows.number)


@pytest.mark.parametrize(("left", "right"), [(0, 0), (2, 1), (4, 6), (0, 3), (3, 0)])
def test_a_window_holds_left_plus_right_plus_one_keys(left, right):
    counts = Window(left, right).keys(asked(Layout.of_lengths([200]))).counts()
    assert (counts[70:130] == left + right + 1).all()
    assert [j for j in range(20) if Window(left, right).allows(10, j)] == list(range(10 - left, 10 + right + 1))[:20]


LONG = {
    "window": "Window(128, 128) | First(4)",
    "causal": "Window(128, 0) | First(4) & Causal()",
    "bigbird": "Window(128, 128) | First(4) | RandomBlocks(3, 64, head=0)",
    "blocks": "Blocks(512) | RandomBlocks(2, 512, head=1)",
}


@pytest.mark.parametrize("text", LONG.values(), ids=list(LONG))
def test_intervals_and_tiles_of_long_sets_grow_with_the_rows(text):
    """Ten times as many vectors take about ten times as many numbers, two thousand for each at most."""

    def numbers(n: int) -> int:
        layout = Layout.of_lengths([n])
        with Counted() as counted:
            tiles(layout, parse(text).keys(asked(layout)), 64)
        return counted.numbers

    few, many = numbers(10_000), numbers(100_000)
    assert few < many < 12 * few
    assert many < 2200 * 100_000


@pytest.mark.unpoisoned
@pytest.mark.parametrize("text", LONG.values(), ids=list(LONG))
def test_long_sets_are_derived_in_little_memory(text):
    """Intervals and tiles of 100,000 vectors in 100 MB, in a process of its own, whose peak is its own."""
    script = f"""
import resource, torch
from regard import Layout
from regard.attention.pairs.pairs import Rows, naming_at_most
from regard.attention.vocabulary import parse
from regard.attention.pairs.tiles import tiles

def derive(n):
    layout = Layout.of_lengths([n])
    tiles(layout, parse({text!r}).keys(Rows(torch.arange(n), layout, layout)), 64)

derive(1000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
derive(100_000)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 100


@pytest.mark.rare
@pytest.mark.parametrize("pattern", [Dilated(16, 16, 4), Stride(256)], ids=repr)
def test_long_sets_with_a_key_here_and_there(pattern):
    """As many intervals as keys: 100,000 rows of 33 and of 391 keys."""
    n = 100_000
    intervals = pattern.keys(asked(Layout.of_lengths([n])))
    well_formed(intervals)
    counts = intervals.counts()
    if isinstance(pattern, Stride):
        assert counts.tolist() == [len(range(i % 256, n, 256)) for i in range(n)]
    else:
        assert (counts[64 : n - 64] == 33).all()
        assert counts[0] == 17


def test_long_sets_take_intervals_and_no_matrix():
    """100,000 vectors, whose pairs would fill 10 GB as a matrix of bits."""
    n, pattern = 100_000, Window(128, 128) | First(4)
    intervals = pattern.keys(asked(Layout.of_lengths([n])))
    well_formed(intervals)
    rows = torch.bincount(intervals.row, minlength=n)
    assert (rows[:133] == 1).all()
    assert (rows[133:] == 2).all()
    assert len(intervals.start) == 2 * n - 133
    counts = intervals.counts()
    assert (counts[:4] == n).all()
    assert (counts[133 : n - 128] == 257 + 4).all()
    window = sum(min(n - 1, i + 128) - max(0, i - 128) + 1 for i in range(n))
    # The first rows see all; the others see the first ones, which the window held already for the rows near them.
    held = sum(max(0, 4 - max(0, i - 128)) for i in range(4, n))
    first = sum(n - (min(n - 1, i + 128) - max(0, i - 128) + 1) for i in range(4))
    assert int(counts.sum()) == window + first + 4 * (n - 4) - held


@pytest.fixture
def asked_about(monkeypatch):
    """How many pairs `EveryThird` was asked about, call by call."""
    numbers, allows = [], EveryThird.allows

    def counting(self, i, j, pairs=None):
        numbers.append(i.numel())
        return allows(self, i, j, pairs)

    monkeypatch.setattr(EveryThird, "allows", counting)
    return numbers


def test_tried_patterns_are_asked_in_parts(asked_about):
    rows = asked(Layout.of_lengths([30, 0, 20]), at_once=100)
    EveryThird().keys(rows)
    assert max(asked_about) <= 100
    assert sum(asked_about) == 30 * 30 + 20 * 20


@pytest.mark.parametrize(
    ("pattern", "pairs"),
    [
        (EveryThird() & Window(1, 0), 29 + 30 + 19 + 20),
        (Window(1, 0) & ~EveryThird(), 29 + 30 + 19 + 20),
        (Causal() & (EveryThird() & Window(1, 0)), 29 + 30 + 19 + 20),
        ((EveryThird() | Causal()) & Window(0, 1), 29 + 30 + 19 + 20),
        (EveryThird() & ~EveryThird(), 2 * (30 * 30 + 20 * 20)),
        (EveryThird() | Window(1, 0), 30 * 30 + 20 * 20),
    ],
    ids=repr,
)
def test_a_side_without_intervals_is_asked_about_the_pairs_of_the_other(pattern, pairs, asked_about):
    layout = Layout.of_lengths([30, 0, 20])
    pattern.keys(asked(layout))
    assert sum(asked_about) == pairs
    agree(pattern, asked(layout, at_once=37))


def test_long_sets_are_asked_about_few_pairs(asked_about):
    """100,000 vectors, of whose pairs nobody could be asked one by one."""
    n, rows = 100_000, asked(Layout.of_lengths([100_000]))
    third = sum((i + j) % 3 == 0 for i in range(n) for j in range(max(0, i - 2), min(n, i + 3)))
    assert int((EveryThird() & Window(2, 2)).keys(rows).counts().sum()) == third
    assert int((~EveryThird() & Window(2, 2)).keys(rows).counts().sum()) == 5 * n - 6 - third
    assert sum(asked_about) == 2 * (5 * n - 6)


def test_the_plan_says_which_pairs_were_asked_about():
    said = {
        EveryThird(): "tried     every pair, since the pattern names no intervals",
        EveryThird() & Window(1, 1): "tried     the pairs that one side of & names, since the other names no intervals",
    }
    for pattern, line in said.items():
        assert line in str(plan(Attention(pattern=pattern), Layout.of_lengths([9]))).split("\n")
    assert "tried" not in str(plan(Attention(pattern=Window(1, 1) & Causal()), Layout.of_lengths([9])))


def test_edges_without_a_layout_are_refused():
    with pytest.raises(ValueError, match="expected pairs of rows in a layout with edges"):
        Edges().allows(0, 1)


def test_patterns_combine_with_patterns_only():
    for combine in (lambda: Window(1, 1) & 3, lambda: Window(1, 1) | None):
        with pytest.raises(TypeError):
            combine()
