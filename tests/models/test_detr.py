"""DETR: each picture of a batch as it is alone, noisy targets that nobody else sees, boxes that move from block to block."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from regard.data.batch import collate
from regard.data.encoding import Encoding, Grid, Labels
from regard.data.examples import Example, VectorSet
from regard.errors import InputError
from regard.models.box_decoder import _noisy, _on_grid, _spread
from regard.models.detr import Detr
from regard.models.encoder import Encoder
from regard.models.pieces import Denoising, Front, Positions
from regard.train.earlier import now_named
from regard.train.kinds import build

ENCODING = Encoding(Encoding(Labels(("a", "b", "c")), grid=Grid(4)), width=48, grid=Grid(2))
PLAIN = Detr(width=16, layers=1, decoder_layers=2, heads=2, feed_forward=16, dropout=0.0, queries=5)
ANCHORED = replace(PLAIN, anchors=True, cross_attention="Attention(bias=Gaussian())")


def picture(seed: int, size: tuple[int, int], boxes: int = 3) -> Example:
    r = np.random.default_rng(seed)
    places = np.stack(np.divmod(np.arange(size[0] * size[1]), size[1]), 1).astype(np.float32)
    coords = np.concatenate([r.uniform(0.3, 0.7, (boxes, 2)), r.uniform(0.1, 0.5, (boxes, 2))], 1).astype(np.float32)
    target = VectorSet(r.integers(0, 3, boxes), coords)
    return Example(r.random((len(places), 48)).astype(np.float32), target, f"p{seed}", "sets", coords=places)


def made(options: Detr) -> Any:
    torch.manual_seed(0)
    model = build(options, ENCODING)
    for name, value in model.named_parameters():
        # Boxes begin where anchors are, whatever the picture is.
        if name == "decoder.box.4.weight":
            torch.nn.init.normal_(value, std=0.5)
    return model


@pytest.mark.parametrize("options", [PLAIN, ANCHORED, replace(ANCHORED, anchors=False), replace(ANCHORED, norm="post")])
def test_each_picture_of_a_batch_is_as_it_is_alone(options: Detr) -> None:
    model = made(options).double().eval()
    examples = [picture(0, (2, 3)), picture(1, (4, 1)), picture(2, (2, 3))]
    batch = collate(examples)
    batch = replace(batch, inputs=batch.inputs.with_values(batch.inputs.values.double()))
    together = model(batch)
    assert (len(together), together.values.shape, together.coords.shape) == (3, (15, 16), (15, 4))
    for n, example in enumerate(examples):
        one = collate([example])
        alone = model(replace(one, inputs=one.inputs.with_values(one.inputs.values.double())))
        torch.testing.assert_close(together.values[5 * n : 5 * n + 5], alone.values)
        torch.testing.assert_close(together.coords[5 * n : 5 * n + 5], alone.coords)
    assert bool(((together.coords > 0) & (together.coords < 1)).all())


def test_while_training_each_block_tells_boxes() -> None:
    model = made(ANCHORED)
    batch = collate([picture(0, (2, 3)), picture(1, (4, 1))])
    every, last = model.train()(batch), model.eval()(batch)
    assert (len(every), len(every.values)) == (4, 20)
    torch.testing.assert_close(every.values[10:], last.values)
    torch.testing.assert_close(every.coords[10:], last.coords)


def test_noisy_targets_are_seen_by_nobody_else() -> None:
    options = replace(ANCHORED, denoising=Denoising(groups=2))
    model = made(options).train()
    batch = collate([picture(0, (2, 3), 3), picture(1, (4, 1), 0), picture(2, (3, 3), 2)])
    torch.manual_seed(1)
    noisy = model(batch)
    assert noisy.layout.lengths.tolist() == [11, 5, 9] * 2
    plain = model.eval()(batch)
    matched = torch.cat([each[:5] for each in noisy.unpack()[3:]])
    torch.testing.assert_close(matched, plain.values)
    torch.manual_seed(1)
    changed = [picture(0, (2, 3), 3), picture(1, (4, 1), 0), picture(2, (3, 3), 2)]
    assert isinstance(changed[0].target, VectorSet)
    assert changed[0].target.coords is not None
    changed[0].target.coords[1] = (0.1, 0.1, 0.1, 0.1)
    other = model.train()(collate(changed))
    # Of each group of the first picture, nothing else than that group may change.
    torch.testing.assert_close(other.unpack()[4], noisy.unpack()[4])
    torch.testing.assert_close(other.unpack()[5], noisy.unpack()[5])
    torch.testing.assert_close(other.unpack()[3][:5], noisy.unpack()[3][:5])
    assert not torch.allclose(other.unpack()[3][5:], noisy.unpack()[3][5:])


def test_everything_learns() -> None:
    for options in (PLAIN, replace(ANCHORED, denoising=Denoising(groups=1))):
        model = made(options).train()
        out = model(collate([picture(0, (2, 3)), picture(1, (4, 2))]))
        (out.values.square().sum() + out.coords.square().sum()).backward()
        without = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.abs().sum()]
        # Keys are compared by softmax, to which what all keys share means nothing.
        assert without == []


def test_noise_stays_within_its_bounds() -> None:
    torch.manual_seed(0)
    labels, boxes = torch.arange(3).repeat(500), torch.tensor([0.5, 0.5, 0.2, 0.4]).repeat(1500, 1)
    ids, noisy = _noisy(labels, boxes, 3, Denoising(2, boxes=0.4, labels=0.3))
    assert (ids.shape, noisy.shape) == ((2, 1500), (2, 1500, 4))
    # One label in three is drawn as it was.
    assert float((ids != labels).float().mean()) == pytest.approx(0.2, abs=0.03)
    most = torch.tensor([0.4 * 0.1, 0.4 * 0.2, 0.4 * 0.2, 0.4 * 0.4])
    gap = (noisy - boxes).abs().amax((0, 1))
    assert bool((gap <= most + 1e-6).all())
    assert bool((gap > 0.95 * most).all())


def test_anchors_begin_all_over_the_picture() -> None:
    for count in (1, 5, 64):
        boxes = _spread(count)
        assert boxes.shape == (count, 4)
        torch.testing.assert_close(boxes[:, :2].mean(0), torch.full((2,), 0.5), atol=0.06, rtol=0)
        assert len(boxes.unique(dim=0)) == count
    found = _on_grid(torch.tensor([[0.5, 0.25, 0.5, 0.5]]), torch.tensor([[20.0, 8.0]]))
    assert found.tolist() == [[1.5, 9.5, 4.0, 10.0]]


def test_options_and_data_that_do_not_fit_are_refused() -> None:
    for options, sentence in (
        ({"denoising": Denoising(groups=1)}, "expected --model.anchors true"),
        ({"width": 12, "heads": 2}, "model.width is 12, expected a multiple of 8"),
        ({"queries": 0}, "model.queries is 0"),
        ({"decoder_layers": 0}, "model.decoder_layers is 0"),
        ({"cross_attention": "Causal()"}, "the model's attention is 'Causal"),
    ):
        with pytest.raises(InputError, match=sentence):
            Detr(**options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"model\.denoising\.boxes is 1"):
        Denoising(boxes=1.0)
    with pytest.raises(InputError, match="the targets of the data are labels, expected sets of labels with boxes"):
        build(PLAIN, Encoding(Labels(("a",)), width=48, grid=Grid(2)))
    with pytest.raises(InputError, match="vectors of width 40 with 2 coordinates, expected square patches with a row"):
        build(PLAIN, replace(ENCODING, width=40))
    with pytest.raises(
        InputError, match="stem is 'strided' and the vectors of the data have 0 coordinates, expected a row"
    ):
        build(Encoder(width=16, heads=2, front=Front(stem="strided")), Encoding(width=48))
    gray = build(Encoder(width=16, heads=2, layers=0, front=Front(stem="strided")), Encoding(width=16, grid=Grid(2)))
    assert gray.front.stem.channels == 1
    assert build(replace(PLAIN, positions=Positions("rotary")), ENCODING).width == 16


def test_weights_of_earlier_runs_are_found_where_the_stem_is_now() -> None:
    weights = made(PLAIN).state_dict()
    earlier = {f"model.{name.replace('.front.stem.', '.front.embed.')}": value for name, value in weights.items()}
    assert "model.encoder.front.embed.stages.0.reduce.weight" in earlier
    assert set(now_named(earlier)) == {f"model.{name}" for name in weights}
