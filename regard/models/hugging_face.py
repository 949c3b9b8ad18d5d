"""Hugging Face's folders of BERT: `config.json`, `model.safetensors`, and `tokenizer.json` or `vocab.txt`; in and out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regard.data.masking import MASK
from regard.errors import InputError
from regard.files import read_json, read_lines, write_atomically
from regard.models.bert import Bert, BertSizes

__all__ = ["Imported", "read_hugging_face", "write_hugging_face"]

_CONFIG, _WEIGHTS, _PICKLE = "config.json", "model.safetensors", "pytorch_model.bin"
_FRONT = "model.front.embed"
# The entry of config.json that each size is, and the most that it may be.
_SIZES = {
    "vocabulary": ("vocab_size", 1 << 24),
    "width": ("hidden_size", 1 << 16),
    "layers": ("num_hidden_layers", 1000),
    "heads": ("num_attention_heads", 1 << 16),
    "feed_forward": ("intermediate_size", 1 << 20),
    "longest": ("max_position_embeddings", 1 << 24),
    "segments": ("type_vocab_size", 1 << 16),
}
# What must be so, and what it is where the file does not say.
_FIXED = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}
_MASKED, _ALIAS = "cls.predictions.bias", "cls.predictions.decoder.bias"
_TABLE, _DECODER = "embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"


@dataclass(frozen=True, eq=False)
class Imported:
    """A BERT and what cuts texts for it.

    Args:
        bert: ready to infer.
        tokenizer: of the library `tokenizers`; None where the folder has none.
        left_out: the tensors of the folder that the model has no place for.
    """

    bert: Bert
    tokenizer: Any
    left_out: tuple[str, ...] = ()

    def ids(self, texts: Sequence[str], cut: bool = False) -> list[list[int]]:
        """The ids of texts, `[CLS]` first and `[SEP]` last.

        Args:
            cut: whether the last pieces of a text that is too long are left out; else it is refused.

        Raises:
            InputError: a folder without a tokenizer, or a text that is too long.
        """
        if self.tokenizer is None:
            raise InputError("the folder has no tokenizer, expected tokenizer.json or vocab.txt")
        if isinstance(texts, str):
            raise InputError(f"the texts are one text, {texts[:40]!r}, expected a list of them")
        for text in texts:
            try:
                text.encode()
            except (AttributeError, UnicodeEncodeError):
                raise InputError(f"the text {text!r:.40} cannot be read, expected a text that UTF-8 can hold") from None
        longest, found = self.bert.sizes.longest, []
        for text, each in zip(texts, self.tokenizer.encode_batch(list(texts)), strict=True):
            row = list(each.ids)
            if len(row) > longest and not cut:
                raise InputError(f"the text {text[:40]!r} has {len(row)} pieces, expected at most {longest}")
            found.append(row if len(row) <= longest else [*row[: longest - 1], row[-1]])
        return found

    def embed(self, texts: Sequence[str], cut: bool = False) -> Tensor:
        """`[texts, width]` the mean of each text's vectors, of length 1; see `ids`."""
        return self.bert.embed_ids(self.ids(texts, cut))

    @cached_property
    def entries(self) -> tuple[str, ...]:
        """What each id of the model stands for; `[n]` where the tokenizer has no token n.

        Raises:
            InputError: a folder without a tokenizer.
        """
        self.ids([])
        named = {n: token for token, n in self.tokenizer.get_vocab().items()}
        return tuple(named.get(n, f"[{n}]") for n in range(self.bert.sizes.vocabulary))

    def fill(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Tensor]]:
        """For each text the places of `[MASK]` among its tokens, from 0 after `[CLS]`, and `[gaps, vocabulary]` scores for them.

        Raises:
            InputError: a folder without a tokenizer, a `[MASK]` or a head that guesses tokens; a text that is too long.
        """
        rows = self.ids(texts)
        mask = self.tokenizer.token_to_id(MASK)
        if mask is None:
            raise InputError(f"the tokenizer of the folder has no {MASK}, expected that of a BERT")
        for row, scores in zip(rows, self.bert.fill_ids(rows, mask), strict=True):
            yield [n - 1 for n, token in enumerate(row) if token == mask], scores


def read_hugging_face(folder: Path | str) -> Imported:
    """The BERT of a folder that `save_pretrained` wrote: a `BertModel`, a `BertForMaskedLM`, or one with another head.

    Numbers become float32; names may begin with `bert.`, and norms may be `gamma` and `beta`, as they once were. Nothing is
    unpickled.

    Raises:
        InputError: a file that is missing or broken, another kind of model, or a tensor that is missing, of another shape or type,
            or not finite; the sentence names it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder, expected one with {_CONFIG} and {_WEIGHTS}")
    sizes = _sizes(folder / _CONFIG)
    tensors = _weights(folder)
    pooled = "pooler.dense.weight" in tensors
    masked = _MASKED in tensors or _ALIAS in tensors or "cls.predictions.transform.dense.weight" in tensors
    if _ALIAS in tensors:
        tensors.setdefault(_MASKED, tensors[_ALIAS])
    # Shapes before anything is allocated by what the configuration says.
    with torch.device("meta"):
        empty = Bert(sizes, pooled, masked)
    named = _named(empty, sizes.layers)
    for name, places in named.items():
        for theirs, shape in zip(places, _shapes(empty, name, places), strict=True):
            _check(folder / _WEIGHTS, theirs, tensors, shape)
    _check_tied(folder / _WEIGHTS, tensors)
    bert = Bert(sizes, pooled, masked)
    bert.load_state_dict(
        {name: torch.cat([tensors[each].float() for each in places]) for name, places in named.items()}
    )
    used = {each for places in named.values() for each in places} | {_DECODER, _ALIAS, "embeddings.position_ids"}
    left_out = tuple(sorted(tensors.keys() - used))
    return Imported(bert.eval(), _tokenizer(folder, sizes.vocabulary), left_out)


def write_hugging_face(imported: Imported, folder: Path | str) -> None:
    """Write a folder that `transformers` reads: as `BertForMaskedLM` where there is a head for hidden tokens, else as `BertModel`.

    Raises:
        InputError: a folder that exists and is not empty.
    """
    from safetensors.torch import save

    folder, bert = Path(folder), imported.bert
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} already exists, expected a new folder")
    masked = bert.head is not None
    prefix, weights = "bert." if masked else "", dict[str, Tensor]()
    state = bert.state_dict()
    for name, places in _named(bert, bert.sizes.layers).items():
        for theirs, part in zip(places, state[name].chunk(len(places)), strict=True):
            weights[theirs if theirs.startswith("cls.") else prefix + theirs] = part.contiguous().cpu()
    folder.mkdir(parents=True, exist_ok=True)
    config = {entry: getattr(bert.sizes, name) for name, (entry, _) in _SIZES.items()}
    config |= {"architectures": ["BertForMaskedLM" if masked else "BertModel"], "layer_norm_eps": bert.sizes.epsilon}
    config |= {name: value for name, value in _FIXED.items() if name not in ("is_decoder", "add_cross_attention")}
    write_atomically(folder / _WEIGHTS, save(weights, {"format": "pt"}))
    if imported.tokenizer is not None:
        vocabulary = imported.tokenizer.get_vocab()
        write_atomically(folder / "tokenizer.json", imported.tokenizer.to_str(pretty=True).encode())
        lines = "".join(f"{entry}\n" for entry in sorted(vocabulary, key=vocabulary.__getitem__))
        write_atomically(folder / "vocab.txt", lines.encode())
    write_atomically(folder / _CONFIG, (json.dumps(config, indent=2) + "\n").encode())


def _sizes(path: Path) -> BertSizes:
    content = read_json(path, "the configuration of a BERT") if path.is_file() else None
    if not isinstance(content, dict):
        found = "is missing" if content is None else "holds no object"
        raise InputError(f"{path} {found}, expected the configuration of a BERT")
    for name, wanted in _FIXED.items():
        if content.get(name, wanted) != wanted or (name == "model_type" and name not in content):
            raise InputError(f"{path} has {name} {content.get(name)!r}, expected {wanted!r}")
    sizes: dict[str, Any] = {}
    for name, (entry, most) in _SIZES.items():
        value = content.get(entry)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise InputError(f"{path} has {entry} {value!r}, expected a whole number from 1 to {most:,}")
        sizes[name] = value
    epsilon = content.get("layer_norm_eps", 1e-12)
    if not isinstance(epsilon, float) or not 0 <= epsilon < 1:
        raise InputError(f"{path} has layer_norm_eps {epsilon!r}, expected a number from 0 to below 1")
    if sizes["width"] % sizes["heads"]:
        raise InputError(f"{path} has hidden_size {sizes['width']}, expected a multiple of its {sizes['heads']} heads")
    return BertSizes(**sizes, epsilon=epsilon)


def _weights(folder: Path) -> dict[str, Tensor]:
    """The tensors by the names that `BertModel` has for them."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / _WEIGHTS
    if not path.is_file():
        if (folder / _PICKLE).exists():
            way = "expected model.safetensors, as save_pretrained writes it"
            raise InputError(f"{folder / _PICKLE} is a pickle, which can run code and is not opened, {way}")
        if (folder / f"{_WEIGHTS}.index.json").exists():
            raise InputError(f"{path} is divided into several files, expected one")
        raise InputError(f"{path} is missing, expected the weights of a BERT")
    try:
        read = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path} is no whole safetensors file ({reason}), expected the weights of a BERT") from None
    found: dict[str, Tensor] = {}
    for name, tensor in read.items():
        plain = name.removeprefix("bert.").replace("LayerNorm.gamma", "LayerNorm.weight")
        plain = plain.replace("LayerNorm.beta", "LayerNorm.bias")
        if plain in found:
            raise InputError(f"{path} has {plain} twice, as {name} as well, expected it once")
        found[plain] = tensor
    return found


def _named(bert: Bert, layers: int) -> dict[str, tuple[str, ...]]:
    """For each tensor of ours the tensors of theirs that it consists of, one below the other."""
    pairs = dict(_pairs(layers))
    if bert.pooler is not None:
        pairs["pooler"] = ("pooler.dense",)
    if bert.head is not None:
        pairs["head.dense"] = ("cls.predictions.transform.dense",)
        pairs["head.norm"] = ("cls.predictions.transform.LayerNorm",)
    pairs = {
        f"{ours}.{kind}": tuple(f"{each}.{kind}" for each in theirs)
        for ours, theirs in pairs.items()
        for kind in ("weight", "bias")
    }
    tables = {
        f"{_FRONT}.{ours}.weight": (f"embeddings.{theirs}_embeddings.weight",)
        for ours, theirs in (("words", "word"), ("positions", "position"), ("segments", "token_type"))
    }
    return tables | pairs | ({"head.bias": (_MASKED,)} if bert.head is not None else {})


def _pairs(layers: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield f"{_FRONT}.norm", ("embeddings.LayerNorm",)
    for n in range(layers):
        ours, theirs = f"model.stack.blocks.{n}", f"encoder.layer.{n}"
        attention = f"{theirs}.attention.self"
        yield f"{ours}.mixer.project", tuple(f"{attention}.{name}" for name in ("query", "key", "value"))
        yield f"{ours}.mixer.out", (f"{theirs}.attention.output.dense",)
        yield f"{ours}.norm_mixer", (f"{theirs}.attention.output.LayerNorm",)
        yield f"{ours}.feed_forward.into", (f"{theirs}.intermediate.dense",)
        yield f"{ours}.feed_forward.out", (f"{theirs}.output.dense",)
        yield f"{ours}.norm_feed_forward", (f"{theirs}.output.LayerNorm",)


def _shapes(bert: Bert, name: str, places: Sequence[str]) -> list[list[int]]:
    rows, *rest = bert.state_dict()[name].shape
    return [[rows // len(places), *rest] for _ in places]


def _check(path: Path, name: str, tensors: Mapping[str, Tensor], shape: list[int]) -> None:
    if name not in tensors:
        raise InputError(f"{path} has no {name}, expected a tensor of shape {shape}")
    tensor = tensors[name]
    if list(tensor.shape) != shape or not tensor.is_floating_point():
        found = f"{list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
        raise InputError(f"{path} has {name} of {found}, expected numbers with a fraction of shape {shape}")
    if not bool(tensor.float().isfinite().all()):
        raise InputError(f"{path} has {name} with a number that is not finite, expected finite numbers")


def _check_tied(path: Path, tensors: Mapping[str, Tensor]) -> None:
    for name, like in ((_DECODER, _TABLE), (_ALIAS, _MASKED)):
        if name in tensors and not torch.equal(tensors[name], tensors[like]):
            raise InputError(f"{path} has a {name} of its own, expected one that is tied to {like}")


def _tokenizer(folder: Path, vocabulary: int) -> Any:
    """What cuts texts, or None; neither pads nor truncates."""
    from tokenizers import Tokenizer

    whole, words = folder / "tokenizer.json", folder / "vocab.txt"
    if whole.is_file():
        try:
            found = Tokenizer.from_str(whole.read_text("utf-8"))
        except Exception as error:  # The library raises no narrower class.
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"{whole} cannot be read ({reason}), expected a tokenizer of the library tokenizers"
            ) from None
    elif words.is_file():
        found = _word_pieces(words, folder / "tokenizer_config.json")
    else:
        return None
    found.no_padding()
    found.no_truncation()
    largest = max(found.get_vocab().values(), default=0)
    if largest >= vocabulary:
        raise InputError(f"{folder} has a tokenizer with the id {largest}, expected less than vocab_size {vocabulary}")
    around = found.encode("").tokens
    if around != ["[CLS]", "[SEP]"]:
        raise InputError(
            f"{folder} has a tokenizer that cuts an empty text into {around}, expected [CLS] and [SEP] around each text"
        )
    return found


def _word_pieces(words: Path, options: Path) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    entries = {line: n for n, (_, line) in enumerate(read_lines(words))}
    for name in ("[UNK]", "[CLS]", "[SEP]"):
        if name not in entries:
            raise InputError(f"{words} has no {name}, expected the vocabulary of a BERT")
    said = read_json(options, "the options of a tokenizer") if options.is_file() else {}
    if not isinstance(said, dict):
        raise InputError(f"{options} holds no object, expected the options of a tokenizer")
    for name in ("do_lower_case", "strip_accents", "tokenize_chinese_chars"):
        if not isinstance(said.get(name), bool | None):
            raise InputError(f"{options} has {name} {said[name]!r}, expected true, false or null")
    found = Tokenizer(models.WordPiece(entries, unk_token="[UNK]", max_input_chars_per_word=100))
    found.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(said.get("tokenize_chinese_chars", True)),
        strip_accents=said.get("strip_accents"),
        lowercase=bool(said.get("do_lower_case", True)),
    )
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found.post_processor = processors.BertProcessing(("[SEP]", entries["[SEP]"]), ("[CLS]", entries["[CLS]"]))
    special = [name for name in ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]") if name in entries]
    found.add_special_tokens(special)
    return found
