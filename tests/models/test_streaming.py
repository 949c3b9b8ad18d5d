"""A stream gives what the whole set gives, keeps a bounded past, and says how long it makes one wait."""

import pytest
import torch

from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.errors import InputError
from regard.layers.registry import Mixing
from regard.models.conformer import Conformer
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.models.streaming import Stream
from regard.sets import VectorSets
from regard.train.kinds import build

WINDOW = "Attention(pattern=Window(5, 2), bias=Shaw(radius=4))"
MODELS = {
    "encoder": Encoder(width=16, layers=2, heads=2, feed_forward=16, attention=WINDOW),
    "rotary": Encoder(width=16, layers=2, heads=2, feed_forward=16, attention=WINDOW, positions=Positions("rotary")),
    "stem": Encoder(16, 2, 2, 16, attention=WINDOW, front=Front(step=2, stem="convolution", reach=2)),
    "window": Encoder(width=16, layers=3, heads=2, feed_forward=16, mixer="window", mixing=Mixing(neighbors=2)),
    "conformer": Conformer(
        width=16, layers=2, heads=2, feed_forward=16, attention=WINDOW, taps_left=3, taps_right=1, step=3
    ),
}


def built(name):
    torch.manual_seed(0)
    return build(MODELS[name], Encoding(width=6)).double().eval()


@pytest.mark.parametrize("pieces", [(1,) * 100, (7, 40, 0, 3, 50), (100,), (2, 98)])
@pytest.mark.parametrize("name", MODELS)
def test_a_stream_equals_the_whole(name, pieces):
    model = built(name)
    x = torch.randn(100, 6, dtype=torch.float64)
    whole = model(Batch(VectorSets.pack([x]))).values
    stream = Stream(model)
    for _ in range(2):  # The second time shows that a stream begins anew.
        parts = [stream.accept(piece) for piece in x.split(pieces)]
        parts.append(stream.finish())
        torch.testing.assert_close(torch.cat(parts), whole)


@pytest.mark.parametrize("name", MODELS)
def test_the_latency_is_what_the_model_says(name):
    """Frames that come later than that change nothing; the next one before it does."""
    model = built(name)
    x = torch.randn(80, 6, dtype=torch.float64)
    at, step = 10, model.step
    last = (at + 1) * step - 1 + (Stream(model).latency - (step - 1))
    whole = model(Batch(VectorSets.pack([x]))).values[at]
    for frame, changes in ((last, True), (last + 1, False)):
        y = x.clone()
        y[frame] += 10
        other = model(Batch(VectorSets.pack([y]))).values[at]
        assert torch.equal(whole, other) != changes


def test_the_past_is_bounded():
    model = built("encoder")
    stream = Stream(model)
    for _ in range(30):
        stream.accept(torch.randn(25, 6, dtype=torch.float64))
        assert len(stream._cached) <= sum(model.context) + 1
    assert stream.latency == 4


def test_a_model_that_looks_at_everything_cannot_stream():
    model = build(Encoder(width=16, layers=1, heads=2, feed_forward=16), Encoding(width=6))
    with pytest.raises(InputError, match="the model looks at whole sets"):
        Stream(model)
    with pytest.raises(InputError, match="the stream has no frames"):
        Stream(built("encoder")).finish()
