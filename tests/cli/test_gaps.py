"""`regard predict` on a BERT in Hugging Face's format: what fills gaps, and what is refused."""

import json

import pytest
import torch
from torch.nn.functional import softmax

from benchmarks import peers
from regard.cli import main
from regard.models.hugging_face import read_hugging_face
from tests.models.test_hugging_face import CONFIG, WORDS, tensors, write


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "bert", tensors(masked=True))


def lines_of(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@torch.no_grad()
def test_the_best_tokens_stand_with_their_probabilities(folder, tmp_path, capsys):
    (tmp_path / "texts.txt").write_text("the [MASK] saw\n[MASK] saw the [MASK]\n")
    assert main(["predict", str(folder), "I saw a [MASK] .", str(tmp_path / "texts.txt"), "--text", "[MASK]"]) == 0
    found = lines_of(capsys)
    assert [line["name"] for line in found] == [
        "I saw a [MASK] .",
        *(f"{tmp_path / 'texts.txt'}:{n}" for n in (1, 2)),
        "[MASK]",
    ]
    assert [[gap["place"] for gap in line["gaps"]] for line in found] == [[3], [1], [0, 3], [0]]
    ((_, scores),) = read_hugging_face(folder).fill(["the [MASK] saw"])
    best = softmax(scores[0], 0).topk(5)
    (gap,) = found[1]["gaps"]
    assert list(gap["probabilities"]) == [WORDS[n] for n in best.indices.tolist()]
    assert list(gap["probabilities"].values()) == pytest.approx(best.values.tolist())
    assert gap["token"] == WORDS[int(best.indices[0])]


@torch.no_grad()
def test_transformers_gives_the_same_probabilities(tmp_path, capsys):
    try:
        transformers = peers.load("transformers")
    except ImportError:
        pytest.skip("transformers is not installed: `make peers`")
    torch.manual_seed(0)
    config = {name: each for name, each in CONFIG.items() if name != "model_type"}
    theirs = transformers.BertForMaskedLM(transformers.BertConfig(**config)).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    theirs.save_pretrained(tmp_path / "theirs")
    (tmp_path / "theirs" / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS))
    assert main(["predict", str(tmp_path / "theirs"), "the [MASK] saw"]) == 0
    ((gap,),) = (line["gaps"] for line in lines_of(capsys))
    logits = theirs(torch.tensor([[2, 5, 4, 7, 3]])).logits[0, 2]
    for token, probability in gap["probabilities"].items():
        assert probability == pytest.approx(float(softmax(logits, 0)[WORDS.index(token)]), abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["the cat saw"], "the text 'the cat saw' has no [MASK], expected at least one: the gap to fill"),
        (["[MASK] " * 8], "has 10 pieces, expected at most 9"),
        (["[MASK]", "--csv"], "a BERT in Hugging Face's format, which fills gaps, expected no --csv with it"),
        (["[MASK]", "--weights", "int8"], "which fills gaps, expected no --weights with it"),
        (["--show", "2"], "expected no --show with it"),
        (["a [MASK]", "--n-best", "2"], "expected no --n-best with it"),
        (["none.txt"], "none.txt is not there, expected a file or a folder"),
    ],
)
def test_what_fills_no_gap_is_refused(folder, capsys, arguments, sentence):
    assert main(["predict", str(folder), *arguments]) == 2
    out, told = capsys.readouterr()
    assert sentence in told
    assert out == ""


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cls.predictions.transform.dense.weight": torch.ones(3, 16)}, "transform.dense.weight of [3, 16] float32"),
        ({"cls.predictions.bias": None}, "has no cls.predictions.bias, expected a tensor of shape [12]"),
        ({"bert.encoder.layer.0.output.dense.bias": None}, "has no encoder.layer.0.output.dense.bias, expected"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path, capsys, change, sentence):
    weights = {name: each for name, each in (tensors(masked=True) | change).items() if each is not None}
    assert main(["predict", str(write(tmp_path / "bert", weights)), "a [MASK]"]) == 2
    assert sentence in capsys.readouterr().err


def test_folders_that_cannot_guess_are_refused(folder, tmp_path, capsys):
    assert main(["predict", str(write(tmp_path / "plain", tensors())), "a [MASK]"]) == 2
    assert "has no head that guesses tokens, expected one with cls.predictions" in capsys.readouterr().err
    without = [word if word != "[MASK]" else "mask" for word in WORDS]
    assert main(["predict", str(write(tmp_path / "unmasked", tensors(masked=True), words=without)), "a [MASK]"]) == 2
    assert "the tokenizer of the folder has no [MASK], expected that of a BERT" in capsys.readouterr().err
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert main(["predict", str(folder), "a [MASK]"]) == 2
    assert "pytorch_model.bin is a pickle, which can run code and is not opened" in capsys.readouterr().err
    (folder / "vocab.txt").unlink()
    (folder / "pytorch_model.bin").rename(folder / "model.safetensors")
    assert main(["predict", str(folder), "a [MASK]"]) == 2
    assert "the folder has no tokenizer, expected tokenizer.json or vocab.txt" in capsys.readouterr().err
    (folder / "config.json").unlink()
    assert main(["predict", str(folder), "a [MASK]"]) == 2
    assert "expected a run directory that training made" in capsys.readouterr().err
