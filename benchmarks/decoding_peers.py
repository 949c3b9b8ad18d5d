"""What else writes sequences: models of the recipe's sizes with random weights, written by `transformers` and by CTranslate2.

Each peer is made of the sizes and a number of ids, and then called with sources, a length and a width. The end of a sentence
has no probability before that length, and no sentence goes beyond it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import peers
from regard.models.encoder_decoder import EncoderDecoder

__all__ = ["WRITERS", "Writer", "ctranslate2", "transformers"]

Writer = Callable[[Sequence[Tensor], int, int], Sequence[Sequence[Any]]]
"""From sources of ids, a length and the width of the beam to the ids of each sentence, or what stands for them."""


def transformers(sizes: EncoderDecoder, vocabulary: int) -> Writer:
    """A Marian model, one of whose tables serves three times, as in ours; ids 0, 1 and 2 are padding, begin and end.

    Raises:
        ImportError: the library is not installed.
    """
    library = peers.load("transformers")
    torch.manual_seed(0)
    options = {
        "vocab_size": vocabulary,
        "d_model": sizes.width,
        "encoder_layers": sizes.layers,
        "decoder_layers": sizes.decoder_layers,
        "encoder_attention_heads": sizes.heads,
        "decoder_attention_heads": sizes.heads,
        "encoder_ffn_dim": sizes.feed_forward,
        "decoder_ffn_dim": sizes.feed_forward,
        "activation_function": sizes.activation,
        "scale_embedding": sizes.scaled,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "decoder_start_token_id": 1,
        "eos_token_id": 2,
        "forced_eos_token_id": None,
    }
    model = library.MarianMTModel(library.MarianConfig(**options)).eval()

    @torch.no_grad()
    def write(sources: Sequence[Tensor], length: int, width: int) -> list[list[int]]:
        padded = torch.nn.utils.rnn.pad_sequence(list(sources), batch_first=True)
        found = model.generate(
            input_ids=padded,
            attention_mask=(padded > 0).long(),
            min_new_tokens=length,
            max_new_tokens=length,
            num_beams=width,
            do_sample=False,
        )
        return [ids[1:] for ids in found.tolist()]

    return write


def ctranslate2(sizes: EncoderDecoder, vocabulary: int) -> Writer:
    """A post-norm Transformer in float32; it computes with as many threads as torch.

    Raises:
        ImportError: the library is not installed.
    """
    library = peers.load("ctranslate2")
    spec = library.specs.TransformerSpec.from_config((sizes.layers, sizes.decoder_layers), sizes.heads, pre_norm=False)
    draw = np.random.default_rng(0)
    for name, value in spec.variables(ordered=True):
        if value is None:
            _put(spec, name, _weights(name.split("/")[-3:], sizes, vocabulary, draw))
    words = ["<blank>", "<s>", "</s>", *map(str, range(3, vocabulary))]
    spec.register_source_vocabulary(words)
    spec.register_target_vocabulary(words)
    spec.config.add_source_eos = False
    spec.validate()
    spec.optimize()
    with tempfile.TemporaryDirectory() as folder:
        spec.save(folder)
        model = library.Translator(
            folder, device="cpu", inter_threads=1, intra_threads=torch.get_num_threads(), compute_type="float32"
        )

    def write(sources: Sequence[Tensor], length: int, width: int) -> list[list[str]]:
        found = model.translate_batch(
            [[words[id_] for id_ in source.tolist()] for source in sources],
            beam_size=width,
            min_decoding_length=length,
            max_decoding_length=length,
        )
        return [each.hypotheses[0] for each in found]

    return write


def _put(spec: Any, name: str, value: Any) -> None:
    """Sets what stands at a path of names, in which `layer_2` is the entry 2 of the list `layer`."""
    *path, last = name.split("/")
    for step in path:
        group, _, number = step.rpartition("_")
        spec = (
            getattr(spec, group)[int(number)] if isinstance(getattr(spec, group, None), list) else getattr(spec, step)
        )
    setattr(spec, last, value)


def _weights(path: Sequence[str], sizes: EncoderDecoder, vocabulary: int, draw: np.random.Generator) -> Any:
    """Random weights for the end of a path, group, layer and parameter."""
    d, ff = sizes.width, sizes.feed_forward
    group, layer, parameter = path
    if parameter == "gamma":
        return np.ones(d, np.float32)
    linear: Mapping[str, tuple[tuple[int, int], ...]] = {
        "ffn": ((ff, d), (d, ff)),
        "self_attention": ((3 * d, d), (d, d)),
        "attention": ((d, d), (2 * d, d), (d, d)),
    }
    if parameter == "beta":
        size: tuple[int, ...] = (d,)
    elif layer.startswith("linear_"):
        size = linear[group][int(layer[-1])]
    else:
        size = (vocabulary, d)
    return draw.normal(0, 0.05, size).astype(np.float32)


WRITERS: dict[str, Callable[[EncoderDecoder, int], Writer]] = {"transformers": transformers, "CTranslate2": ctranslate2}
