"""A training that begins with another run takes what fits, says so, and does without that run afterwards."""

import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from processes import in_process, in_processes, kill_when

from regard.data.encoding import WORD, Encoding, Labels, Numbers
from regard.data.text import Conllu, Texts
from regard.errors import InputError
from regard.models.conformer import Conformer
from regard.models.encoder import Encoder
from regard.models.pieces import Positions
from regard.tasks.configs import PerSetLabel, PerVectorLabel
from regard.train import Experiment, Optimizer, Run, Training, fit
from regard.train.begin import START, Beginning
from regard.train.checkpoints import Checkpoints
from regard.train.folder import read_config
from regard.train.learner import Learner
from regard.train.pieces import named_parameters
from regard.train.recorder import read_metrics

EARLIER = Path(__file__).parent.parent / "models" / "earlier" / "tagging"
KINDS = {"ADJ": "good", "NOUN": "film", "VERB": "bad"}
MODEL = Encoder(width=16, layers=1, heads=2, feed_forward=16, dropout=0.0, positions=Positions("none"))
OPTIONS = Training(
    epochs=12, batch_vectors=64, device="cpu", progress=False, checkpoint_every=0, log_every=1, keep="last"
)


def words(kind):
    return [f"{KINDS[kind]}{n}" for n in range(12)]


@pytest.fixture(scope="module")
def own_data(tmp_path_factory):
    """Sentences whose tags say what kind of word each is, and few texts whose label is the kind that is more frequent."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    lines = []
    for n in range(90):
        lines.append(f"# sent_id = s{n}")
        for place in range(1, 7):
            tag = str(rng.choice(list(KINDS)))
            lines.append(f"{place}\t{rng.choice(words(tag))}\t_\t{tag}" + "\t_" * 6)
        lines.append("")
    (folder / "tags.conllu").write_text("\n".join(lines) + "\n")
    rows = ["text,label"]
    for n in range(60):
        label = n % 2
        tags = ["ADJ" if label else "VERB"] * 3 + ["VERB" if label else "ADJ"] + ["NOUN"] * 2
        rows.append(" ".join(str(rng.choice(words(tag))) for tag in tags) + f",{['bad', 'good'][label]}")
    (folder / "texts.csv").write_text("\n".join(rows) + "\n")
    return folder


def tagging(folder, **model):
    data = Conllu(str(folder / "tags.conllu"), characters=False, minimum_count=1)
    return Experiment("tagging", data, replace(MODEL, **model), PerVectorLabel(), Optimizer(1e-2, warm_up=5), OPTIONS)


def sentiment(folder, start="", optimizer=None, **training):
    data = Texts(str(folder / "texts.csv"), minimum_count=1)
    training = replace(OPTIONS, **{"epochs": 2, "start": str(start)} | training)
    return Experiment("sentiment", data, MODEL, PerSetLabel(), optimizer or Optimizer(1e-2, warm_up=1), training)


@pytest.fixture(scope="module")
def tagger(own_data, tmp_path_factory):
    return fit(tagging(own_data), tmp_path_factory.mktemp("runs") / "tagger")


def losses(folder):
    return [float(row["loss"]) for row in read_metrics(folder) if row["kind"] == "step"]


def weights(folder):
    run = Run.open(folder)
    return named_parameters(run.model, run.task)


def test_what_was_learned_about_words_helps_with_texts(own_data, tagger, tmp_path):
    begun = fit(sentiment(own_data, tagger, epochs=4), tmp_path / "begun")
    scratch = fit(sentiment(own_data, epochs=4), tmp_path / "scratch")
    validation = [float(read_metrics(folder)[-1]["validation_loss"]) for folder in (begun, scratch)]
    assert validation[0] < 0.6 * validation[1]
    assert np.mean(losses(begun)[-5:]) < 0.8 * np.mean(losses(scratch)[-5:])


def test_before_the_first_step_the_weights_are_those_of_the_run(own_data, tagger, tmp_path, capsys):
    folder = fit(sentiment(own_data, tagger, Optimizer(learning_rate=0.0)), tmp_path / "run")
    before, after = weights(tagger), weights(folder)
    assert {name for name in after if not name.startswith("task.")} == {n for n in before if not n.startswith("task.")}
    assert all(name.startswith("task.") or torch.equal(value, before[name]) for name, value in after.items())
    assert after["task.head.weight"].shape == (2, 16)
    error = capsys.readouterr().err
    assert f"The training begins with {tagger}\n  taken: " in error
    assert "  did not fit, and new as well: 34 numbers in task.head (34)\n" in error
    assert f"  vocabulary of word: 37 entries of {tagger}, 0 of the new data alone\n" in error
    assert "  the head is new: " in error
    card = (folder / "card.md").read_text()
    assert f"\n## Begun with {tagger}\n\n- taken: " in card
    assert "- did not fit, and new as well: 34 numbers in task.head (34)\n" in card
    assert Beginning.load(folder).taken.total() == sum(v.numel() for n, v in after.items() if not n.startswith("task."))
    Run.open(folder).evaluate()
    assert "## Begun with" in (folder / "card.md").read_text()


def test_new_characters_pass_words_on_until_they_have_learned_something(own_data, tagger, tmp_path):
    plain = tagging(own_data, front=replace(MODEL.front, characters=8))
    plain = replace(plain, data=replace(plain.data, characters=True), training=replace(OPTIONS, start=str(tagger)))
    still, learned = (fit(replace(plain, optimizer=Optimizer(rate)), tmp_path / str(rate)) for rate in (0.0, 0.01))
    made = (next(iter(Run.open(each).predict_texts(["bad1 film2 good3"])))["vectors"] for each in (still, tagger))
    here, there = ([word["probability"] for word in each] for each in made)
    assert here == pytest.approx(there, abs=1e-6)
    assert weights(learned)["front.characters.join.weight"][:, 16:].abs().max() > 0.001


def test_the_run_is_not_needed_afterwards(own_data, tagger, tmp_path):
    start = shutil.copytree(tagger, tmp_path / "start")
    folder = fit(sentiment(own_data, start), tmp_path / "run")
    shutil.rmtree(start)
    run = Run.open(folder)
    assert run.experiment.training.start == str(start)
    assert run.evaluate()["sets"] == 6
    assert len(list(run.predict_texts(["good1 film2 good3"]))) == 1
    fit(sentiment(own_data, start), folder, resume=True)


def test_a_vocabulary_grows_by_the_words_that_only_the_new_data_have(own_data, tagger, tmp_path):
    other = tmp_path / "texts.csv"
    other.write_text((own_data / "texts.csv").read_text().replace("film", "book"))
    plain = sentiment(own_data, tagger, Optimizer(learning_rate=0.0, freeze="front"))
    folder = fit(replace(plain, data=replace(plain.data, path=str(other))), tmp_path / "run")
    before, after = Encoding.load(tagger).columns[WORD], Encoding.load(folder).columns[WORD]
    assert after[: len(before)] == before
    assert set(after[len(before) :]) == {f"book{n}" for n in range(12)}
    tables = [weights(each)["front.embed.tables.0.weight"] for each in (tagger, folder)]
    assert torch.equal(tables[0], tables[1][: len(before)])
    assert tables[1].shape == (len(before) + 12, 16)
    report = Beginning.load(folder)
    assert (report.taken["front.embed.tables.0"], report.new["front.embed.tables.0"]) == (len(before) * 16, 12 * 16)
    assert f"frozen although new: {12 * 16} numbers in front.embed.tables.0 ({12 * 16})" in report.notes
    assert any("37 entries" in note and "12 of the new data alone" in note for note in report.notes)


def test_what_a_model_has_more_or_less_of_is_told(own_data, tagger, tmp_path):
    plain = sentiment(own_data, tagger)
    more = replace(plain, model=replace(MODEL, layers=2, feed_forward=8, norm="post"))
    report = Beginning.load(fit(more, tmp_path / "run"))
    assert report.new["stack.blocks.1"] > 0
    assert report.misfits["stack.blocks.0"] == 16 * 8 + 8 + 8 * 16 + 16
    assert report.unused == {"stack.norm": 32}
    assert {"model.layers is 2 here and 1 there", "model.norm is 'post' here and 'pre' there"} <= set(report.notes)


def test_a_run_of_an_earlier_version_can_be_begun_with(own_data, tmp_path):
    earlier = read_config(EARLIER)
    data = replace(earlier.data, path=str(own_data / "tags.conllu"))
    training = replace(OPTIONS, epochs=1, start=str(EARLIER))
    report = Beginning.load(fit(replace(earlier, data=data, training=training), tmp_path / "run"))
    assert report.unused.total() == 0
    assert set(report.misfits) == {"task.head"}
    words = Encoding.load(tmp_path / "run").columns[WORD]
    assert words[:5] == Encoding.load(EARLIER).columns[WORD]
    assert report.new["front.embed.tables.0"] == 8 * (len(words) - 5)


def test_at_most_ten_pieces_are_listed():
    taken = {f"stack.blocks.{n}": n for n in range(12)}
    (line,) = Beginning("run", "", type(Beginning("", "").taken)(taken)).lines()
    assert line.startswith("taken: 66 numbers in stack.blocks.1 (1), ")
    assert line.endswith("stack.blocks.10 (10) and 1 more")


# The same task again: the head is taken where its outputs mean the same.


def tiny_start(folder, target="set label", **training):
    return fit(tiny.experiment(target, epochs=1, **training), folder)


def test_a_head_is_taken_where_the_labels_are_the_same(tmp_path):
    start = tiny_start(tmp_path / "start")
    again = replace(tiny.experiment(epochs=1, start=str(start), keep="last"), optimizer=Optimizer(learning_rate=0.0))
    folder = fit(again, tmp_path / "run")
    before, after = weights(start), weights(folder)
    assert all(torch.equal(after[name], before[name]) for name in before)
    report = Beginning.load(folder)
    assert report.new.total() == report.misfits.total() == report.unused.total() == 0
    assert "the head is taken: the targets are the same" in report.notes


@pytest.mark.parametrize("targets", [Labels(("down", "over")), Labels(("up", "down"))])
def test_a_head_is_new_where_labels_or_their_order_differ(targets, tmp_path, monkeypatch):
    start = tiny_start(tmp_path / "start")
    monkeypatch.setattr(tiny.Tiny, "fit", lambda self: Encoding(targets, width=3))
    report = Beginning.load(fit(tiny.experiment(epochs=1, start=str(start)), tmp_path / "run"))
    assert report.misfits == {"task.head": 18}
    assert any(note.startswith("the head is new") for note in report.notes)


def test_without_a_head_the_last_layer_is_taken_where_the_labels_are_the_same_alone(tmp_path, monkeypatch):
    def headless(start=""):
        plain = tiny.experiment(epochs=1, start=str(start), keep="last")
        return replace(plain, model=replace(plain.model, width=2, heads=1, layers=2), task=PerSetLabel(head="none"))

    start = fit(headless(), tmp_path / "start")
    again = Beginning.load(fit(headless(start), tmp_path / "again"))
    assert not again.misfits
    assert any(note.endswith("the model's last layer is taken as far as it fits") for note in again.notes)
    monkeypatch.setattr(tiny.Tiny, "fit", lambda self: Encoding(Labels(("up", "down")), width=3))
    other = Beginning.load(fit(headless(start), tmp_path / "other"))
    assert set(other.misfits) == {"stack.blocks.1", "stack.norm"}
    assert other.taken["stack.blocks.0"] > 0
    assert any(note.endswith("the model's last layer is new: the targets or the task differ") for note in other.notes)


def test_numbers_keep_the_statistics_of_the_new_data(tmp_path, monkeypatch):
    start = tiny_start(tmp_path / "start", "set number")
    monkeypatch.setattr(tiny.Tiny, "fit", lambda self: Encoding(Numbers(5.0, 3.0), width=3))
    folder = fit(tiny.experiment("set number", epochs=1, start=str(start)), tmp_path / "run")
    assert Encoding.load(folder).targets == Numbers(5.0, 3.0)
    assert Beginning.load(folder).misfits["task.head"] > 0


def test_counts_of_labels_are_those_of_the_new_data(tmp_path):
    start = tiny_start(tmp_path / "start")
    small = tiny.experiment(epochs=1, start=str(start))
    folder = fit(replace(small, data=replace(small.data, examples=11)), tmp_path / "run")
    assert int(Run.open(folder).task.counts.sum()) == 11


# Killed and resumed.

MOMENTS = {
    "before the first checkpoint": (Learner, "training_step", 3),
    "in the second epoch": (Learner, "training_step", 15),
    "after the last epoch": (Checkpoints, "on_train_epoch_end", 3, True),
}


def train(folder, start, resume, killed):
    if killed:
        kill_when(*killed)
    fit(tiny.experiment("set label", start=str(start)), folder, resume)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_training_goes_on_with_the_same_losses(moment, tmp_path):
    start = tiny_start(tmp_path / "start", "vector label")
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    fit(tiny.experiment("set label", start=str(start)), calm)
    assert in_process(train, killed, start, False, MOMENTS[moment]) == -signal.SIGKILL
    if moment == "before the first checkpoint":
        # It begins anew, and that needs the run as it was.
        hidden = start.rename(tmp_path / "hidden")
        with pytest.raises(InputError, match=r"training\.start is .*start', and .*config\.yaml is missing"):
            fit(tiny.experiment("set label", start=str(start)), killed, resume=True)
        fit(tiny.experiment("vector label", epochs=1, seed=1), start)
        with pytest.raises(InputError, match=r"start has other weights than when .*killed began with it"):
            fit(tiny.experiment("set label", start=str(start)), killed, resume=True)
        shutil.rmtree(start)
        hidden.rename(start)
    else:
        shutil.rmtree(start)
    assert in_process(train, killed, start, True, None) == 0
    assert (killed / "metrics.csv").read_text() == (calm / "metrics.csv").read_text()
    assert all(torch.equal(each, weights(killed)[name]) for name, each in weights(calm).items())
    cards = [
        (folder / "card.md").read_text().split("## Begun with")[1].split("## Data")[0] for folder in (calm, killed)
    ]
    assert cards[0] == cards[1]


def several(folder, start):
    fit(
        replace(tiny.experiment(epochs=1, start=str(start)), optimizer=Optimizer(freeze="front", layer_decay=0.5)),
        folder,
    )


def test_several_processes_begin_alike(tmp_path):
    start = tiny_start(tmp_path / "start", "vector label")
    assert in_processes(2, several, tmp_path / "run", start) == [0, 0]
    before, after = weights(start), weights(tmp_path / "run")
    assert all(
        torch.equal(before[name], after[name]) == name.startswith("front.") for name in before if "task" not in name
    )


# Each misfit is one sentence that names both sides.


def refused(experiment, folder):
    with pytest.raises(InputError) as refusal:
        fit(experiment, folder)
    assert not folder.exists(), "nothing half-written"
    sentence = str(refusal.value)
    assert "\n" not in sentence
    assert experiment.training.start in sentence
    return sentence


def test_what_is_no_run_is_refused(own_data, tmp_path):
    sentence = refused(sentiment(own_data, tmp_path / "nowhere"), tmp_path / "run")
    assert sentence.endswith("config.yaml is missing or cannot be read, expected a run directory that training made")


def test_the_folder_being_written_is_refused(own_data, tmp_path):
    assert "the folder of the new run itself, expected another run" in refused(
        sentiment(own_data, tmp_path / "run"), tmp_path / "run"
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("model.safetensors", "model.safetensors"),
        ("labels.json", "was altered, expected all three as training wrote them"),
        ("vocabulary.json", "was altered, expected all three as training wrote them"),
    ],
)
def test_an_altered_run_is_refused(name, sentence, own_data, tagger, tmp_path):
    start = shutil.copytree(tagger, tmp_path / "start")
    content = bytearray((start / name).read_bytes())
    content[-8] ^= 1
    (start / name).write_bytes(content)
    assert sentence in refused(sentiment(own_data, start), tmp_path / "run")


def test_inputs_of_another_kind_are_refused(own_data, tagger, tmp_path):
    run, plain = tmp_path / "run", sentiment(own_data, tagger)
    assert "whose inputs have ['word'] columns of ids, and the new data have no columns of ids" in refused(
        tiny.experiment(start=str(tagger)), run
    )
    assert "whose inputs have ['word'] columns of ids, and the new data have ['token'] columns of ids" in refused(
        replace(plain, data=replace(plain.data, tokens="characters")), run
    )
    assert (
        "whose inputs have ['word'] columns of ids, and the new data have ['word', 'prefix'] columns of ids"
        in refused(replace(plain, data=replace(plain.data, prefix=2)), run)
    )
    assert "whose data.lowercase is True, and here it is False, expected the same" in refused(
        replace(plain, data=replace(plain.data, lowercase=False)), run
    )


def test_vectors_of_another_width_are_refused(tmp_path, monkeypatch):
    start = tiny_start(tmp_path / "start")
    monkeypatch.setattr(tiny.Tiny, "fit", lambda self: Encoding(Labels(("down", "up")), width=4))
    assert "whose inputs have 3 numbers per vector, and the new data have 4 numbers per vector" in refused(
        tiny.experiment(start=str(start)), tmp_path / "run"
    )


def test_other_tokens_and_tokenizers_are_refused(own_data, tmp_path):
    pieces = sentiment(own_data)
    pieces = replace(pieces, data=replace(pieces.data, tokens="bpe", vocabulary=60))
    start = fit(pieces, tmp_path / "start")
    for tokens in ("unigram", "characters", "words"):
        other = replace(
            pieces, data=replace(pieces.data, tokens=tokens), training=replace(pieces.training, start=str(start))
        )
        assert f"whose data.tokens is 'bpe', and here it is '{tokens}', expected the same" in refused(
            other, tmp_path / "run"
        )
    again = replace(
        pieces, data=replace(pieces.data, vocabulary=70), training=replace(pieces.training, start=str(start))
    )
    folder = fit(again, tmp_path / "again")
    assert Encoding.load(folder).tokenizer == Encoding.load(start).tokenizer
    assert Encoding.load(folder).columns == Encoding.load(start).columns


def test_a_model_of_another_type_or_size_is_refused(tmp_path):
    start = tiny_start(tmp_path / "start")
    plain = tiny.experiment(start=str(start))
    other = replace(plain, model=Conformer(8, 1, 2, 8))
    assert "whose model.type is Encoder, and here it is Conformer, expected the same" in refused(
        other, tmp_path / "run"
    )
    wide = replace(plain, model=replace(plain.model, width=10))
    assert "none of its weights fits the new model: model.width is 10 here and 8 there" in refused(
        wide, tmp_path / "run"
    )


def test_a_report_that_was_altered_is_refused(tmp_path):
    for content in ("", '{"run": "x"}'):
        (tmp_path / START).write_text(content)
        with pytest.raises(InputError, match=r"start\.json is missing or was altered"):
            Beginning.load(tmp_path)
