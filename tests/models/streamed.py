"""Small models in float64 that read streams of ids segment by segment, and their attention as Dai et al. 2019 write it."""

import torch

from regard import VectorSets
from regard.data.batch import Batch
from regard.data.encoding import Encoding, Labels
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.sets.sinusoids import sinusoids
from regard.train.kinds import build

ENTRIES = ("<unknown>", *"abcdefghij")
ENCODING = Encoding(Labels(ENTRIES), {"token": ENTRIES})
WIDTH, HEADS = 16, 2


def made(attention="Segments(memory=64)", positions="none", **options):
    """A model in float64."""
    torch.manual_seed(0)
    front = options.pop("front", Front(deviation=0.5))
    options = {"layers": 2, "dropout": 0.0} | options
    encoder = Encoder(
        width=WIDTH, heads=HEADS, attention=attention, front=front, positions=Positions(positions), **options
    )
    model = build(encoder, ENCODING).double().eval()
    for parameter in model.parameters():
        # What begins at zero is to matter too.
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def segmented(model, streams, cuts, memory):
    """What the model gives for streams of ids, all cut at the same places, as a whole for each stream."""
    parts = [[] for _ in streams]
    for begin, end in zip((0, *cuts), (*cuts, max(map(len, streams))), strict=True):
        ids = [stream[begin:end] for stream in streams]
        starts = tuple(min(begin, len(stream)) for stream in streams)
        hidden = model(Batch(VectorSets.pack(ids), starts=starts), memory=memory)
        for part, values in zip(parts, hidden.values.split([len(each) for each in ids]), strict=True):
            part.append(values)
    return [torch.cat(part) for part in parts]


def drawn(*lengths):
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(len(ENTRIES), (n,), generator=generator) for n in lengths]


def paper(layer, h, memory):
    """Section 3.3 of Dai et al. 2019 written out for one stream, where u is what the query projection adds."""
    project, learned = layer.project, layer.attend.learned
    d = layer.d
    weights, biases = (each.chunk(3) for each in (project.weight, project.bias))
    joined = torch.cat([memory, h])
    queries, n = h @ weights[0].T, len(memory)
    u, keys = biases[0].view(HEADS, d), (joined @ weights[1].T + biases[1]).view(-1, HEADS, d)
    values = (joined @ weights[2].T + biases[2]).view(-1, HEADS, d)
    outputs = []
    for i in range(len(h)):
        q = queries[i].view(HEADS, d)
        distances = torch.arange(n + i, -1, -1)
        cos, sin = sinusoids(distances, WIDTH, 10000.0, torch.float64)
        of_distance = torch.einsum("jw,hdw->jhd", torch.cat([sin, cos], 1), learned["bias_projection"])
        v = u + learned["bias_query"]
        scores = ((q + u) * keys[: n + i + 1]).sum(-1) + ((q + v) * of_distance).sum(-1)
        outputs.append(((scores / d**0.5).softmax(0)[..., None] * values[: n + i + 1]).sum(0).flatten())
    return layer.out(torch.stack(outputs))
