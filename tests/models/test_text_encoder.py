"""The encoder of long texts: neighboring bytes joined, and a vector in front for the whole set."""

import pytest
import torch

from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.errors import InputError
from regard.models.encoder import Encoder
from regard.models.streaming import Stream
from regard.sets import VectorSets
from regard.train.experiment import changed
from regard.train.kinds import build

BYTES = Encoding(columns={"token": tuple(str(n) for n in range(257))})
FLOATS = Encoding(width=5)
WINDOW = "Attention(pattern=Window(2, 1), bias=Shaw(2))"


def model(encoding=BYTES, **options):
    torch.manual_seed(0)
    pieces = {"positions": "positions.type"} | {
        name: f"front.{name}" for name in ("step", "class_vector", "ngrams", "deviation")
    }
    small = Encoder(width=16, layers=2, heads=2, feed_forward=8)
    encoder = build(changed(small, {pieces.get(name, name): value for name, value in options.items()}), encoding)
    if encoder.front.ngrams is not None:
        torch.nn.init.normal_(encoder.front.ngrams.table.weight)  # zeros would hide what runs bring
    return encoder.double().eval()


def texts(*sizes):
    return VectorSets.pack([torch.randint(1, 257, (size,)) for size in sizes])


@pytest.mark.parametrize(
    "options", [{"step": 4}, {"class_vector": True}, {"step": 3, "class_vector": True}, {"ngrams": 3}]
)
@pytest.mark.parametrize("positions", ["none", "sinusoidal", "rotary", "floater"])
def test_a_text_has_the_same_vectors_alone_and_packed(options, positions):
    encoder, sets = model(positions=positions, attention=WINDOW, **options), texts(9, 0, 1, 30)
    packed = encoder(Batch(sets))
    step, front = options.get("step", 1), options.get("class_vector", False)
    assert packed.layout.lengths.tolist() == [-(-size // step) + front for size in (9, 0, 1, 30)]
    for b in range(4):
        torch.testing.assert_close(encoder(Batch(sets[b])).values, packed[b].values)


def test_a_joined_vector_is_a_linear_map_of_the_neighbors_embeddings():
    encoder, sets = model(step=4, layers=0, positions="none", norm="post"), texts(6)
    rows = encoder.front.embed(sets).values
    padded = torch.cat([rows, torch.zeros(2, 16, dtype=rows.dtype)])
    expected = encoder.front.stem.linear(padded.view(2, 64))
    torch.testing.assert_close(encoder(Batch(sets)).values, expected)


@pytest.mark.parametrize("ngrams", [1, 3])
def test_what_is_beyond_the_context_changes_nothing(ngrams):
    encoder = model(step=4, attention=WINDOW, positions="none", ngrams=ngrams)
    before, behind = encoder.context
    assert (before, behind) == (2 * 2 * 4 + ngrams - 1, 2 * 1 * 4 + 3)
    ids = torch.randint(1, 257, (60,))
    place = 6
    whole = encoder(Batch(VectorSets.pack([ids]))).values[place]
    for outside in (int(place * 4 - before) - 1, int(place * 4 + behind) + 1):
        changed = ids.clone()
        changed[outside] = 256 - changed[outside]
        torch.testing.assert_close(encoder(Batch(VectorSets.pack([changed]))).values[place], whole)
    assert model(class_vector=True, attention=WINDOW).context == (float("inf"), float("inf"))


def test_a_stream_of_joined_frames_gives_what_the_whole_gives():
    encoder = model(FLOATS, step=3, attention=WINDOW, positions="sinusoidal")
    frames = torch.randn(40, 5, dtype=torch.float64)
    stream = Stream(encoder)
    pieces = [stream.accept(piece) for piece in frames.split([7, 20, 13])]
    whole = encoder(Batch(VectorSets.pack([frames]))).values
    torch.testing.assert_close(torch.cat([*pieces, stream.finish()]), whole)


def test_small_embeddings_begin_small():
    torch.manual_seed(0)
    large, small = (model(deviation=d).front.embed.tables[0].weight for d in (1.0, 0.02))
    torch.testing.assert_close(small, 0.02 * large)


def test_runs_are_of_ids_alone():
    with pytest.raises(InputError, match="ngrams is 2 and the data have no ids, expected words, pieces or bytes"):
        model(FLOATS, ngrams=2)
