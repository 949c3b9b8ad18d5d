"""The next pixel: what each place has seen, the chain of probabilities by hand, the baselines, and what is refused."""

import gzip
import math

import pytest
import torch

from regard import VectorSets
from regard.data.batch import Batch
from regard.data.encoding import BEGIN, Encoding, Grid, Labels
from regard.decoding.stepper import Limits
from regard.decoding.walk import greedy
from regard.errors import InputError
from regard.models.continuing import ModelStepper, RecomputingStepper, remembers
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.tasks import NextPixel, NextToken
from regard.tasks.next_pixel import deflated
from regard.train.kinds import build

LEVELS = tuple("01234")
ENCODING = Encoding(Labels(LEVELS), {"pixel": (*LEVELS, BEGIN)}, grid=Grid(2, (4, 3)))
COORDS = torch.cartesian_prod(torch.arange(4.0), torch.arange(3.0))
ATTENTIONS = {
    "near": "Attention(pattern=(Near(radius=1) & Causal()))",
    "lines": "Attention(pattern=((Causal() & AlongAxis(k=0)), (Causal() & AlongAxis(k=1))))",
    "linear": "Attention(score=Kernel(), pattern=Causal(), normalizer=Sum())",
    "axes": "Axes(attention=Attention(pattern=Causal()))",
    "stacked": "Axes(attention=Attention(pattern=Causal()), combine='stack')",
}


def made(attention, layers=2, positions="learned", front=Front(deviation=0.3)):  # noqa: B008
    """A model in float64, and its task."""
    torch.manual_seed(0)
    options = {"front": front, "positions": Positions(positions), "dropout": 0.0}
    model = build(Encoder(width=8, heads=2, layers=layers, attention=attention, **options), ENCODING)
    task = build(NextPixel(), 8, ENCODING)
    task.attach(model)
    return model.double().eval(), task.double().eval()


def pictures(count, seed=0):
    torch.manual_seed(seed)
    return [torch.randint(5, (12,)) for _ in range(count)]


def batch_of(sets, known=True):
    targets = torch.cat(sets) if known else None
    inputs = VectorSets.pack(sets, coords=[COORDS[: len(each)] for each in sets])
    return Batch(inputs, targets, names=tuple(map(str, range(len(sets)))), target_kind="vector" if known else None)


def output_of(model, task, batch):
    read = task.read(batch)
    return task(model(read), read)


def test_every_place_reads_the_pixel_before_it():
    _, task = made(ATTENTIONS["near"])
    sets = [torch.tensor([3, 1, 4]), torch.tensor([], dtype=torch.int64), torch.tensor([2])]
    assert task.read(batch_of(sets)).inputs.values.tolist() == [5, 3, 1, 5]


@pytest.mark.parametrize("attention", ATTENTIONS.values(), ids=ATTENTIONS)
def test_no_place_hears_of_its_own_pixel_or_a_later_one(attention):
    model, task = made(attention)
    (before,) = pictures(1)
    scores = output_of(model, task, batch_of([before]))
    for place in range(12):
        changed = before.clone()
        changed[place] = (changed[place] + 1) % 5
        moved = output_of(model, task, batch_of([changed]))
        torch.testing.assert_close(moved[: place + 1], scores[: place + 1])
        if place + 1 < 12:
            assert not torch.equal(moved[place + 1], scores[place + 1])


def test_near_and_causal_holds_what_was_written_around_the_pixel_to_come():
    """One layer with radius 1: what the places around pixel (2, 1) have read."""
    model, task = made(ATTENTIONS["near"], layers=1, positions="none")
    (before,) = pictures(1)
    scores, heard = output_of(model, task, batch_of([before]))[7], []
    for place in range(12):
        changed = before.clone()
        changed[place] = (changed[place] + 1) % 5
        if not torch.equal(output_of(model, task, batch_of([changed]))[7], scores):
            heard.append(place)
    # Places (1, 0), (1, 1), (1, 2), (2, 0) and (2, 1) hold the pixels before them.
    assert heard == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("attention", ATTENTIONS.values(), ids=ATTENTIONS)
def test_pixel_by_pixel_it_gives_the_numbers_of_whole_pictures(attention):
    model, task = made(attention, positions="rotary" if "Kernel" not in attention else "sinusoidal")
    sets = pictures(3)
    whole = output_of(model, task, batch_of(sets)).view(3, 12, 5)
    kind = ModelStepper if remembers(model) else RecomputingStepper
    assert remembers(model) == ("Axes" not in attention)
    begun = [[5, *each[:4].tolist()] for each in sets]
    for made_of in {kind, RecomputingStepper}:
        stepper = made_of(model, task.scores, 6, begun, COORDS)
        for place in range(4, 11):
            found = stepper.next(torch.stack([each[place] for each in sets]))
            torch.testing.assert_close(found, whole[:, place + 1])
        stepper.select(torch.tensor([2, 0]))
        assert len(stepper) == 2
    # Sets of all sizes, one of them empty.
    limits = Limits(torch.tensor([5, 3]), None, (), torch.tensor([4, 2]))
    drawn = [greedy(of(model, task.scores, 6, [[], [5, 2]], COORDS), limits) for of in {kind, RecomputingStepper}]
    assert drawn[0][0][0].ids == drawn[-1][0][0].ids
    assert drawn[0][1][0].ids == drawn[-1][1][0].ids


def test_a_model_that_joins_pixels_computes_each_picture_anew():
    model, task = made(ATTENTIONS["near"], front=Front(deviation=0.3, ngrams=2, buckets=64))
    assert not model.grows
    sets = pictures(2)
    whole = output_of(model, task, batch_of(sets)).view(2, 12, 5)
    stepper = RecomputingStepper(model, task.scores, 6, [[5], [5]], COORDS)
    for place in range(11):
        torch.testing.assert_close(stepper.next(torch.stack([each[place] for each in sets])), whole[:, place + 1])


def test_the_loss_is_in_nats_of_all_pixels_and_gradients_reach_the_table():
    model, task = made(ATTENTIONS["near"])
    sets = pictures(2)
    batch = batch_of(sets)
    output = output_of(model, task, batch)
    total, count = task.loss(output, batch)
    by_hand = -sum(output[n].log_softmax(-1)[int(level)].item() for n, level in enumerate(torch.cat(sets)))
    assert (total.item(), int(count)) == (pytest.approx(by_hand, rel=1e-6), 24)
    total.backward()
    gradient = model.front.embed.tables[0].weight.grad
    # BEGIN is read at the first place of a picture.
    assert (gradient.abs().sum(1) > 0).all()
    metrics = task.metrics()
    task.score(metrics, output.detach(), batch)
    assert float(metrics.compute()["nats"]) == pytest.approx(by_hand / 24, rel=1e-6)
    first, second = task.predictions(output.detach(), batch)
    assert (first["targets"], (first["nats"] + second["nats"]) * 12) == (12, pytest.approx(by_hand, rel=1e-6))
    unlabeled = task.predictions(output.detach(), batch_of(sets, known=False))
    assert unlabeled == [{"name": each["name"], "nats": each["nats"]} for each in (first, second)]


def test_the_baselines_are_a_histogram_for_each_place_and_what_gzip_needs():
    _, task = made(ATTENTIONS["near"])
    known, new = pictures(6), pictures(2, seed=1)
    task.observe(batch_of(known))
    judged = task.trivial(batch_of(new))
    stacked = torch.stack(known)
    for n, each in enumerate(new):
        for place, level in enumerate(each.tolist()):
            often = int((stacked[:, place] == level).sum())
            assert float(judged.losses[n * 12 + place]) == pytest.approx(-math.log((often + 1) / (6 + 5)), rel=1e-5)
    metrics = task.metrics()
    task.score(metrics, judged, batch_of(new))
    assert float(metrics.compute()["nats"]) == pytest.approx(float(judged.losses.mean()), rel=1e-5)
    assert sum(each["nats"] for each in task.predictions(judged, batch_of(new))) / 2 == pytest.approx(
        float(judged.losses.mean()), rel=1e-5
    )
    content = bytes(torch.cat(new).tolist()) * 100
    # The header and the end of gzip are 12 bytes longer than those of zlib.
    assert 8 * math.log(2) * (len(gzip.compress(content)) - 12) / len(content) == pytest.approx(deflated(content))
    assert task.baselines(batch_of(new)) == {"gzip": {"nats": deflated(bytes(torch.cat(new).tolist()))}}


def test_what_cannot_be_learned_is_refused():
    with pytest.raises(InputError, match="guesses the next pixel, and the targets are labels, expected the levels"):
        build(NextPixel(), 8, Encoding(Labels(("a", "b")), {"token": ("a", "b")}))
    with pytest.raises(InputError, match="guesses which id comes next, and the targets are labels"):
        build(NextToken(), 8, ENCODING)
    with pytest.raises(InputError, match="the model looks at later ones"):
        made("Attention(pattern=Near(radius=1))")
    with pytest.raises(InputError, match=r"task\.dropout is 1"):
        NextPixel(dropout=1.0)
