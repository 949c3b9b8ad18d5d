"""What predictions are made for, and the forms that they come in: texts are never files, and names are the user's own."""

import contextlib
import csv
import gzip
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from regard import InputError
from regard.cli import main
from regard.cli.sources import looks_like_text
from regard.data.tokenizer import tokenizer
from regard.train import Run
from tests.cli.test_texts import columns, letters, piped  # noqa: F401
from tests.cli.test_whole_way import SMALL, done, predictions, refused

QUICK = [*SMALL, "--model.feed_forward", "8"]
LABELS = ["blame", "praise"]


def train(*arguments):
    """A run, without what training prints."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as told:
        status = main([str(each) for each in ("train", *arguments)])
    assert status == 0, told.getvalue()


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    """A run of sixty letters of two kinds."""
    folder = tmp_path_factory.mktemp("reviews")
    lines = [f'"{kind} film {n}",{kind}' for n in range(30) for kind in LABELS]
    (folder / "letters.csv").write_text("body,kind\n" + "\n".join(lines) + "\n")
    own = ["--data.text_column", "body", "--data.label_column", "kind"]
    train("sentiment", "--data.path", folder / "letters.csv", *own, "--folder", folder / "run", *QUICK)
    return folder / "run"


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    """A run of thirty sentences."""
    folder = tmp_path_factory.mktemp("tagger")
    row = "{}\t{}\t_\t{}" + "\t_" * 6
    tags = {"I": "PRON", "saw": "VERB", "a": "DET", "cat": "NOUN"}
    sentences = [[row.format(n, *word) for n, word in enumerate(list(tags.items())[: 2 + n % 3], 1)] for n in range(30)]
    (folder / "my.conllu").write_text("\n\n".join("\n".join(rows) for rows in sentences) + "\n\n")
    train("tagging", "--data.path", folder / "my.conllu", "--folder", folder / "run", *QUICK)
    return folder / "run"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to be in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


TEXTS = [
    "I saw a saw",
    "Wonderful!",
    "我在北京大学学习。",
    "我喜欢",
    "ดีมาก",
    "so-so (really)",
    "x" * 300,
    "and/or nothing",
]
PATHS = [
    *("good", "CCO", "Prächtig", "données", "my letters.csv", "报告.txt", "b c.JSONL", "a.txt"),
    *("/etc/no such", "../no such", "./no such", "~/a b"),
]


@pytest.mark.parametrize("operand", [*TEXTS, *PATHS], ids=lambda operand: operand[:20])
def test_an_operand_that_is_no_file_is_a_text_where_it_can_be_nothing_else(operand):
    assert looks_like_text(operand) == (operand in TEXTS)


def test_texts_and_files_have_doors_of_their_own(reviews, here, capsys):
    (here / "good").write_text("praise film\nblame film\n")
    (here / "secret letter").write_text("praise\n")
    found = predictions(done(capsys, "predict", reviews, "good"))
    assert [each["name"] for each in found] == ["good:1", "good:2"]
    for text in ("good", "CCO", "secret letter", str(here / "good"), "-", "我在北京大学学习。"):
        (found,) = predictions(done(capsys, "predict", reviews, "--text", text))
        assert found["name"] == text
    found = predictions(done(capsys, "predict", reviews, "--text", "good", "a whole sentence", "--text", "good"))
    assert [each["name"] for each in found] == ["a whole sentence", "good", "good"]
    assert found[1] == found[2]
    assert [each["name"] for each in predictions(done(capsys, "predict", reviews, "secret letter"))] == [
        "secret letter:1"
    ]
    assert refused(capsys, "predict", reviews, "CCO") == (
        "regard: CCO is not there, expected a file or a folder, or --text CCO for the text itself\n"
    )
    (here / "letters").mkdir()
    assert '--text "letters/of May" for' in refused(capsys, "predict", reviews, "letters/of May")
    assert "expected text in UTF-8" in refused(capsys, "predict", reviews, "--text", "caf\udce9 x")


def test_what_is_skipped_in_a_folder_is_told(reviews, tagger, here, capsys):
    for name in ("a.txt", "b.TXT", "c.csv", "d.doc", "e", ".hidden.txt", "in/f.conllu"):
        (here / "mail" / name).parent.mkdir(exist_ok=True, parents=True)
        (here / "mail" / name).write_text(
            "# sent_id = f\n1\tI" + "\t_" * 8 + "\n" if "conllu" in name else "praise film\n"
        )
    assert main(["predict", str(reviews), "mail"]) == 0
    out, told = capsys.readouterr()
    assert [each["name"] for each in predictions(out)] == ["mail/a.txt", "mail/b.TXT"]
    assert told.splitlines() == [
        "mail: skipped 1 hidden files and folders: .hidden.txt",
        "mail: skipped 1 files ending in .csv: c.csv",
        "mail: skipped 1 files ending in .doc: d.doc",
        "mail: skipped 1 files without an ending: e",
        "mail: skipped 1 files ending in .conllu: in/f.conllu",
    ]
    for form in ([], ["--conllu"]):
        assert main(["predict", str(tagger), "mail", *form]) == 0
        out, told = capsys.readouterr()
        assert len(out.split("\n\n") if form else out.splitlines()) == 3 + len(form)
        assert "mail: skipped 3 files whose names end in neither .conllu nor .txt: c.csv, d.doc, e" in told


def test_predict_texts_never_opens_a_file(reviews, here):
    (here / "letter.txt").write_text("praise film\nblame film\n")
    run, place = Run.open(reviews), str(here / "letter.txt")
    (as_text,) = run.predict_texts([place])
    assert as_text["name"] == place
    assert [each["name"] for each in run.predict([here / "letter.txt"])] == [f"{place}:1", f"{place}:2"]
    assert [each["name"] for each in run.predict_texts(["good", "-"], names=["a", "b"])] == ["a", "b"]
    (value,) = run.predict_values(["praise film"])
    assert value["label"] == next(run.predict_texts(["praise film"]))["label"]
    with pytest.raises(InputError, match=r"I saw a saw is not there, .*Run\.predict_texts"):
        list(run.predict(["I saw a saw"]))
    for wrong, sentence in (
        (lambda: run.predict_texts("good"), "texts are 'good', expected a list"),
        (lambda: run.predict("letter.txt"), "paths are 'letter.txt', expected a list"),
        (lambda: run.predict_texts([b"good"]), "a text is of the type bytes, expected a string"),
        (lambda: run.predict_texts(["a", "b"], ["a"]), "there are 1 names for 2 values"),
        (lambda: run.predict_values([3]), "value 1 is of the type int, expected a text"),
    ):
        with pytest.raises(InputError, match=sentence):
            wrong()


def test_texts_are_cut_by_one_tokenizer(reviews, monkeypatch):
    """Made once for all texts, because it costs more than a text."""
    run, made = Run.open(reviews), []
    monkeypatch.setattr("regard.data.text.tokenizer", lambda *given: made.append(given) or tokenizer(*given))
    found = list(run.predict_texts(f"film {n}" for n in range(30)))
    assert [each["name"] for each in found] == [f"film {n}" for n in range(30)]
    assert len(made) == 1


JSON = {
    '{"txt": "a film"}': "line 1, has no entry 'body'",
    '{"body": 7}': "line 1, has the body 7, expected a text",
    '{"body": "a film"': "line 1, is no JSON object",
    "{": "line 1, is no JSON object",
    "{}": "line 1, has no entry 'body'",
    '[{"body": "a film"}]': "line 1, begins a JSON list, expected a text, or a JSON object, on each line",
    "[": "line 1, begins a JSON list",
    'a film\n{"body": "a film"}': "line 2, is a JSON object among lines of text",
    '{"body": "a film"}\na film': "line 2, is no JSON object",
}


@pytest.mark.parametrize("content", JSON)
@pytest.mark.parametrize("way", ["stream", "lines.txt", "lines.jsonl", "lines.json"])
def test_json_that_is_not_as_it_should_be_is_never_taken_for_text(way, content, reviews, here, capsys, piped):  # noqa: F811
    if way != "stream":
        (here / way).write_text(content + "\n")
    piped(content.encode())
    assert main(["predict", str(reviews), "-" if way == "stream" else way]) == 2
    told = capsys.readouterr().err
    expected = JSON[content]
    if way in ("lines.jsonl", "lines.json"):
        # There every line must be an object.
        expected = expected.replace("begins a JSON list", "is no JSON object").partition(", expected")[0]
        expected = "line 1, is no JSON object" if content.startswith("a film") else expected
    assert expected in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("content", ["body,kind", '"kind";"body"', "id\tbody\tkind"])
def test_a_table_is_not_read_line_by_line(content, reviews, here, capsys, piped):  # noqa: F811
    (here / "table.txt").write_text(content + "\na film,praise\n")
    piped((content + "\na film,praise\n").encode())
    for source in ("-", "table.txt"):
        assert "line 1, looks like the first line of a table, expected a text" in refused(
            capsys, "predict", reviews, source
        )
    piped(b"body, kind and more\nkind,of\n")
    assert len(predictions(done(capsys, "predict", reviews))) == 2


def test_a_treebank_is_not_read_line_by_line(tagger, capsys, piped):  # noqa: F811
    for content, found in (
        ("# sent_id = 1\n1\tI", "CoNLL-U with its comments"),
        ("1" + "\t_" * 9, "CoNLL-U with its 10 fields"),
    ):
        piped(content.encode())
        assert f"standard input, line 1, looks like {found}" in refused(capsys, "predict", tagger)
    piped(b"# a heading\n")
    assert len(predictions(done(capsys, "predict", tagger))) == 1


@pytest.mark.parametrize("operand", ['{"body": "a film"}', '[{"body": "a film"}]', "{}", '["a", "b"]'])
def test_json_on_the_command_line_is_not_a_text(operand, reviews, capsys):
    assert "looks like JSON, expected JSON lines" in refused(capsys, "predict", reviews, operand)
    (found,) = predictions(done(capsys, "predict", reviews, "--text", operand))
    assert found["name"] == operand


def test_text_that_only_looks_a_little_like_json_is_text(reviews, here, capsys, piped):  # noqa: F811
    lines = ['"a quoted film"', "{sighs} a film", "[laughs] a film", "{a: b}"]
    piped("\n".join(lines).encode())
    assert len(predictions(done(capsys, "predict", reviews))) == 4


def test_predictions_as_a_table_have_the_names_of_the_user(reviews, here, capsys):
    (here / "new.csv").write_text("PassengerId,Id,body\np1,1,praise film\np2,,blame film\n")
    (here / "new.jsonl").write_text(
        '{"id": 7, "name": "x", "body": "a"}\n{"name": "Ada, B.", "body": "b"}\n{"body": "c"}\n'
    )
    rows = list(csv.reader(io.StringIO(done(capsys, "predict", reviews, "new.csv", "new.jsonl", "--csv"))))
    assert rows[0] == ["Id", "Category"]
    assert [row[0] for row in rows[1:]] == ["1", "new.csv:3", "7", "Ada, B.", "new.jsonl:3"]
    told = done(capsys, "predict", reviews, "new.csv", "--csv", "--probabilities", "--id", "PassengerId")
    rows = list(csv.reader(io.StringIO(told)))
    assert rows[0] == ["Id", "Category", *LABELS]
    assert [row[0] for row in rows[1:]] == ["p1", "p2"]
    for row in rows[1:]:
        chances = [float(chance) for chance in row[2:]]
        assert sum(chances) == pytest.approx(1)
        assert LABELS[int(np.argmax(chances))] == row[1]
    by_text = predictions(done(capsys, "predict", reviews, "new.csv", "--id", "body"))
    assert [each["name"] for each in by_text] == ["praise film", "blame film"]
    assert "has no column 'nr' in its first line" in refused(capsys, "predict", reviews, "new.csv", "--id", "nr")
    assert "new.jsonl, line 1, has no entry 'nr'" in refused(capsys, "predict", reviews, "new.jsonl", "--id", "nr")


def test_predictions_per_vector_as_a_table(tagger, capsys):
    rows = list(csv.reader(io.StringIO(done(capsys, "predict", tagger, "I saw", "--csv"))))
    assert rows[0] == ["Id", "Vector", "Token", "Category"]
    assert [row[:3] for row in rows[1:]] == [["I saw", "0", "I"], ["I saw", "1", "saw"]]


TREEBANK = """# newdoc id = d
# sent_id = s1
# text = I saw it's end
1\tI\tI\tX\tPRP\tCase=Nom\t2\tnsubj\t_\t_
2\tsaw\tsee\tX\tVBD\t_\t0\troot\t_\tSpaceAfter=No
3-4\tit's\t_\t_\t_\t_\t_\t_\t_\t_
3\tit\tit\t_\tPRP\t_\t2\tobj\t_\t_
3.1\tgone\tgo\tVERB\t_\t_\t_\t_\t2:x\t_
4\t's\t's\tX\tPOS\t_\t3\tcase\t_\t_

# a sentence without a name
1\tcat\tcat\tX\t_\t_\t0\troot\t_\t_"""


@pytest.mark.parametrize("name", ["in.conllu", "IN.CONLLU", "in.conllu.gz"])
def test_conllu_comes_out_as_it_went_in_but_for_the_predicted_column(name, tagger, here, capsys):
    packed = gzip.compress(TREEBANK.encode()) if name.endswith("gz") else TREEBANK.encode()
    (here / name).write_bytes(packed)
    labels = [each["label"] for one in predictions(done(capsys, "predict", tagger, name)) for each in one["vectors"]]
    out = done(capsys, "predict", tagger, name, "--conllu")
    words = [n for n, line in enumerate(TREEBANK.split("\n")) if line.partition("\t")[0].isdecimal()]
    expected = TREEBANK.split("\n")
    for n, label in zip(words, labels, strict=True):
        fields = expected[n].split("\t")
        expected[n] = "\t".join([*fields[:3], label, *fields[4:]])
    assert out == "\n".join(expected) + "\n\n"


def test_sentences_come_out_as_conllu(tagger, reviews, here, capsys, piped):  # noqa: F811
    piped(b"I saw\n")
    out = done(capsys, "predict", tagger, "-", "a cat", "--conllu")
    first, second, rest = out.split("\n\n")
    assert rest == ""
    assert first.startswith("# sent_id = standard_input:1\n1\tI\t_\t")
    assert second.startswith("# text = a cat\n1\ta\t_\t")
    (here / "again.conllu").write_text(out)
    assert done(capsys, "predict", tagger, "again.conllu", "--conllu") == out
    assert "does not label the words of sentences in CoNLL-U" in refused(capsys, "predict", reviews, "a b", "--conllu")


@pytest.mark.parametrize("command", ["predict", "embed", "explain"])
def test_an_input_that_is_not_there_is_told_before_anything_heavy_is_loaded(command, reviews):
    script = f"""
import sys
from regard.cli import main
status = main([{command!r}, {str(reviews)!r}, "nowhere.csv"])
sys.exit("loaded torch" if "torch" in sys.modules else status)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert told.stderr.startswith("regard: nowhere.csv is not there, expected a file or a folder, or --text")
    assert told.returncode == 2


@pytest.mark.parametrize("form", [[], ["--csv"]])
def test_predictions_that_cannot_be_written_are_told_in_one_sentence(form, reviews):
    command = [sys.executable, "-m", "regard.cli", "predict", str(reviews), "a film", *form]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        told = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment)
    assert told.stderr == "regard: standard output cannot be written: No space left on device\n"
    assert told.returncode == 2


def test_embeddings_of_sets_and_of_vectors(reviews, here, capsys):
    texts = ["praise film", "blame"]
    run = Run.open(reviews)
    lines = predictions(done(capsys, "embed", reviews, "--text", texts[0], "--text", texts[1]))
    assert [line["name"] for line in lines] == texts
    pooled = np.array([line["embedding"] for line in lines], np.float32)
    rows = predictions(done(capsys, "embed", reviews, "--vectors", "--text", texts[0], "--text", texts[1]))
    assert [[each["token"] for each in row["vectors"]] for row in rows] == [["praise", "film"], ["blame"]]
    # What the head makes of the embedding is what the run predicts.
    assert pooled.shape == (2, run.task.width)
    for each, prediction in zip(run.embed_texts(texts), run.predict_texts(texts), strict=True):
        chances = run.task.head(torch.from_numpy(each.values)).softmax(-1).tolist()
        assert max(chances) == pytest.approx(prediction["probability"], abs=1e-6)
    (here / "two.csv").write_text("id,body\na,praise film\nb,blame\n")
    for name in ("sets.npy", "sets.npz", "sets.jsonl"):
        assert done(capsys, "embed", reviews, "two.csv", "--out", name) == ""
    np.testing.assert_array_equal(np.load("sets.npy"), pooled)
    with np.load("sets.npz") as arrays:
        assert arrays["names"].tolist() == ["a", "b"]
        np.testing.assert_array_equal(arrays["values"], pooled)
    assert [json.loads(line)["name"] for line in (here / "sets.jsonl").read_text().splitlines()] == ["a", "b"]
    done(capsys, "embed", reviews, "two.csv", "--vectors", "--out", "vectors.npz")
    with np.load("vectors.npz") as arrays:
        assert arrays["offsets"].tolist() == [0, 2, 3]
        assert arrays["tokens"].tolist() == ["praise", "film", "blame"]
        expected = [each["embedding"] for row in rows for each in row["vectors"]]
        np.testing.assert_array_equal(arrays["values"], np.array(expected, np.float32))
    for options, sentence in (
        (["--out", "a.csv"], "expected a name that ends in"),
        (["--out", "a.npy", "--vectors"], "expected .npz or .jsonl with --vectors"),
        (["--out", "late.npz", "nowhere.csv"], "nowhere.csv is not there"),
        (["--out", "two.csv/late.npz"], "cannot be written"),
    ):
        assert sentence in refused(capsys, "embed", reviews, "two.csv", *options)
    assert not list(here.glob("*late*"))


def test_embeddings_of_a_task_without_pooling_are_means(tagger):
    run = Run.open(tagger)
    examples = run.examples(["I saw a cat"], ["s"])
    (vectors,), (pooled,) = list(run.embeddings([examples], vectors=True)), list(run.embeddings([examples]))
    assert vectors.places == ("I", "saw", "a", "cat")
    np.testing.assert_allclose(pooled.values, vectors.values.mean(0), atol=1e-6)


def test_weights_of_another_type_predict_about_the_same(reviews, here, capsys):
    exact, whole = (
        predictions(done(capsys, "predict", reviews, "--text", "praise film 3", *more))
        for more in ((), ("--weights", "int8"))
    )
    assert exact[0]["label"] == whole[0]["label"]
    assert 0 < abs(exact[0]["probability"] - whole[0]["probability"]) < 0.02
