"""Pictures written against a discriminator: the hinge loss by hand, noise by names, what labels do, the judge, what is refused."""

import numpy as np
import pytest
import torch

from regard import VectorSets
from regard.data.batch import Batch
from regard.data.encoding import Encoding, Grid, Labels, Numbers
from regard.errors import InputError
from regard.models.encoder import Encoder
from regard.models.gan import SelfAttentionGan
from regard.models.pieces import Front, Positions
from regard.tasks import PerSetLabel, PerVectorLabel, WrittenPictures
from regard.tasks.written_pictures import Judge, Judged
from regard.train.kinds import build

ENCODING = Encoding(Labels(("a", "b", "c")), width=1, grid=Grid(2, (8, 4)))


def made(encoding=ENCODING, config=None, **options):
    torch.manual_seed(0)
    model = build(SelfAttentionGan(width=4, noise=6, **options), encoding)
    task = build(config or WrittenPictures(samples=6), model.width, encoding)
    task.attach(model)
    return model.double().eval(), task.double().eval()


def batch_of(count, targets=True, size=(8, 4), channels=1, seed=1):
    torch.manual_seed(seed)
    coords = torch.cartesian_prod(*(torch.arange(float(side)) for side in size))
    pictures = [torch.rand(len(coords), channels, dtype=torch.float64) for _ in range(count)]
    labels = torch.arange(count) % 3 if targets else None
    names = tuple(f"picture {n}" for n in range(count))
    return Batch(
        VectorSets.pack(pictures, coords=[coords] * count), labels, names=names, target_kind="set" if targets else None
    )


def judge_of(encoding=ENCODING, task=PerSetLabel(pool="mean")):  # noqa: B008
    torch.manual_seed(3)
    front = Front(stem="convolution2d", stages=(4,))
    model = build(Encoder(width=8, layers=0, positions=Positions("none"), front=front), encoding)
    return Judge(model.double(), build(task, 8, encoding).double(), encoding)


def test_the_loss_is_the_hinge_of_both_kinds():
    _, task = made()
    scores = torch.tensor([2.0, 0.5, -3.0]), torch.tensor([-2.0, 0.25, 1.0])
    total, count = task.loss(Judged(*scores, batch_of(3).inputs), batch_of(3))
    assert (float(total), int(count)) == (0 + 0.5 + 4 + 0 + 1.25 + 2, 3)


def test_what_is_written_is_a_function_of_names_and_labels_alone():
    model, task = made()
    batch = batch_of(4)
    output = task(model(batch), batch)
    assert (output.real.shape, output.written.shape, output.pictures.values.shape) == ((4,), (4,), (4 * 32, 1))
    assert output.pictures.values.min() >= 0
    assert output.pictures.values.max() <= 1
    torch.testing.assert_close(output.pictures.coords, batch.inputs.coords)
    alone = Batch(batch.inputs.select([2]), batch.targets[2:3], names=batch.names[2:3], target_kind="set")
    torch.testing.assert_close(task(model(alone), alone).pictures.values, output.pictures.values[64:96])
    torch.testing.assert_close(task(model(alone), alone).real, output.real[2:3])
    noise = task.noise(["a", "b", "a"])
    assert torch.equal(noise[0], noise[2])
    assert not torch.equal(noise[0], noise[1])
    # About a standard normal distribution.
    many = task.noise([str(n) for n in range(3000)])
    assert abs(float(many.mean())) < 0.03
    assert abs(float(many.std()) - 1) < 0.03


def test_labels_change_both_networks_unless_they_know_none():
    for labels in (True, False):
        model, task = made(labels=labels)
        if labels:
            torch.nn.init.normal_(model.generator.stages[0].norms[0].gain)
        batch = batch_of(3)
        other = Batch(batch.inputs, batch.targets.roll(1), names=batch.names, target_kind="set")
        first, second = (task(model(each), each) for each in (batch, other))
        assert torch.equal(first.real, second.real) != labels
        assert torch.equal(first.pictures.values, second.pictures.values) != labels


def test_attention_begins_as_none_of_either_network():
    with_attention, without = made()[0], made(self_attention=False)[0]
    assert hasattr(with_attention.generator.attention, "gamma")
    assert hasattr(with_attention.discriminator.attention, "gamma")
    assert not list(without.generator.attention.parameters())
    batch = batch_of(2)
    before = with_attention(batch).values
    with torch.no_grad():
        with_attention.discriminator.attention.gamma.fill_(1.0)
    assert not torch.allclose(with_attention(batch).values, before)


def test_every_matrix_has_a_spectral_norm_of_about_one():
    model, _ = made()
    model.train()
    for _ in range(30):
        # Each call in training takes one step of the power iteration.
        model(batch_of(2))
        model.generator(torch.randn(2, 6, dtype=torch.float64), torch.tensor([0, 1]))
    model.eval()
    for name, module in model.named_modules():
        weight = getattr(module, "taps", getattr(module, "weight", None))
        if isinstance(weight, torch.Tensor) and weight.dim() > 1:
            assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02), name


def test_a_judge_compares_pictures_and_tells_whether_they_show_their_label():
    model, task = made(config=WrittenPictures(judge="runs/cnn"))
    judge = judge_of()
    task.find_judge = lambda: judge
    assert task.monitor == ("fid", "min")
    metrics = task.metrics()
    features, agree = [], []
    for n in range(3):
        batch = batch_of(12, seed=n)
        batch = Batch(
            batch.inputs, batch.targets, names=tuple(f"{n} {name}" for name in batch.names), target_kind="set"
        )
        output = task(model(batch), batch)
        task.score(metrics, output, batch)
        pairs = [judge.task.embed(judge.model(Batch(each))) for each in (batch.inputs, output.pictures)]
        features.append([each.detach().float() for each in pairs])
        agree.append(judge.task.head(pairs[1]).argmax(1) == batch.targets)
    from regard.tasks.frechet import FrechetDistance

    expected = FrechetDistance(8)
    expected.update(*(torch.cat([each[n] for each in features]) for n in range(2)))
    found = metrics.compute()
    assert float(found["fid"]) == pytest.approx(float(expected.compute()), rel=1e-6)
    assert float(found["agreement"]) == pytest.approx(float(torch.cat(agree).double().mean()))
    # What never looks writes no pictures.
    nothing = task.metrics()
    task.score(nothing, task.trivial(batch), batch)
    assert torch.isnan(nothing.compute()["fid"])


def test_sheets_have_a_column_for_each_label():
    _, task = made()
    sheet = task.sheet(6)
    assert sheet.shape == (2 * 9 + 1, 3 * 5 + 1)
    np.testing.assert_array_equal(task.shown()["samples"], sheet)
    assert not np.array_equal(task.sheet(6, seed=1), sheet)
    assert task.model.generator.training is False
    color = Encoding(width=3, grid=Grid(2, (8, 4)))
    _, unlabeled = made(color)
    assert unlabeled.sheet(4).shape == (2 * 9 + 1, 2 * 5 + 1, 3)


def test_what_cannot_be_learned_is_refused():
    model, task = made()
    small = batch_of(1, size=(4, 4))
    with pytest.raises(InputError, match="picture 0 has 16 pixels, expected 8 x 4"):
        model(small)
    unlabeled = batch_of(1, targets=False)
    with pytest.raises(InputError, match="picture 0 has no target"):
        task(model(unlabeled), unlabeled)
    with pytest.raises(InputError, match="pictures have 6 x 4 pixels, expected sides that are multiples of 4"):
        made(Encoding(width=1, grid=Grid(2, (6, 4))))
    with pytest.raises(InputError, match=r"expected pictures by --data\.patch 1"):
        made(Encoding(width=16, grid=Grid(2, (2, 2))))
    with pytest.raises(InputError, match=r"model\.width is 2, expected at least 4 with attention"):
        SelfAttentionGan(width=2)
    with pytest.raises(InputError, match="the model is Model, expected SelfAttentionGan"):
        build(WrittenPictures(), 8, ENCODING).attach(judge_of().model)
    assert made(Encoding(Numbers(0.0, 1.0), width=1, grid=Grid(2, (4, 4))))[0].generator.labels == 0


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        (lambda: judge_of(Encoding(Labels(("a", "b")), width=1, grid=Grid(2, (8, 4)))), "or has other labels"),
        (
            lambda: judge_of(task=PerVectorLabel()),
            "a run without labels of pictures, expected one such as of clothes-cnn",
        ),
    ],
)
def test_a_judge_of_something_else_is_refused(judge, message):
    _, task = made(config=WrittenPictures(judge="runs/cnn"))
    task.find_judge = judge
    with pytest.raises(InputError, match=f"task.judge is 'runs/cnn', .*{message}"):
        task.observe(batch_of(1))
