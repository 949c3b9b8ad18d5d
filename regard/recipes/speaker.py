"""Who speaks: the rungs from one Transformer layer to a Conformer with attentive pooling and a margin, and what is best."""

from dataclasses import replace

from regard.data.speech import Sounds
from regard.layers.registry import Mixing
from regard.models.conformer import Conformer
from regard.models.encoder import Encoder
from regard.models.pieces import Positions
from regard.tasks.configs import PerSetLabel
from regard.train import Experiment, Optimizer, Training

__all__ = ["speaker", "speaker_boss", "speaker_medium", "speaker_simple", "speaker_strong"]


def speaker_simple() -> Experiment:
    """The speaker of an utterance, by one layer of a Transformer: the sample of the course's homework 4.

    10,000 steps of 32 segments of 128 frames, cut anew at each step. Own data: `--data.path folder` with a folder of sounds
    for each label.
    """
    return Experiment(
        "speaker-simple",
        Sounds(train_crop=1.28, normalize="level"),
        Encoder(width=80, layers=1, heads=2, feed_forward=256, positions=Positions("none"), norm="post", dropout=0.1),
        PerSetLabel(hidden=80),
        Optimizer(learning_rate=1e-3, weight_decay=0.01, betas=(0.9, 0.999), warm_up=1000),
        Training(epochs=286, batch_vectors=4096, validate_every=22, keep="last", checkpoint_every=0),
    )


def speaker_medium() -> Experiment:
    """The speaker of an utterance, by a deeper and wider Transformer.

    Own data: `--data.path folder` with a folder of sounds for each label.
    """
    rung = speaker_simple()
    model = Encoder(width=96, layers=3, heads=4, feed_forward=256, positions=Positions("none"), dropout=0.1)
    return replace(rung, recipe="speaker-medium", model=model, task=PerSetLabel(hidden=96))


def speaker_strong() -> Experiment:
    """The speaker of an utterance, by a Conformer whose blocks are joined.

    Own data: `--data.path folder` with a folder of sounds for each label.
    """
    rung = speaker_simple()
    model = Conformer(
        width=96, layers=3, heads=4, feed_forward=256, taps_left=7, taps_right=7, step=4, join="all"
    )  # fmt: skip
    return replace(rung, recipe="speaker-strong", model=model, task=PerSetLabel(hidden=96))


def speaker_boss() -> Experiment:
    """The speaker of an utterance, by a Conformer with self-attention pooling and the additive-margin softmax.

    Own data: `--data.path folder` with a folder of sounds for each label.
    """
    task = PerSetLabel(pool="attention", hidden=96, loss="am_softmax", margin_warm_up=2000)
    return replace(speaker_strong(), recipe="speaker-boss", task=task)


def speaker() -> Experiment:
    """The speaker of an utterance, by how frames and their neighbors are spread: for voices that it will not have heard.

    One block of convolution over 7 frames of 80 bands; an utterance's vector is the mean and the deviation of what comes out,
    with no layer between it and the classes. Steps are few: with few voices, longer training learns those and not voices.
    `regard speaker calibrate --mixture 128 --norm 100 --within true` belongs to it, with `--part unseen` where there are voices
    that the training did not hear.

    Own data: `--data.path folder` with a folder of sounds for each label, `folder/LABEL/any-name.flac`: the label may be
    a speaker, a language, a command, an instrument.
    """
    rung = speaker_simple()
    return replace(
        rung,
        recipe="speaker",
        data=replace(rung.data, mels=80),
        model=Encoder(
            width=160,
            layers=1,
            mixer="convolution",
            mixing=Mixing(neighbors=3),
            feed_forward=256,
            positions=Positions("none"),
            dropout=0.3,
        ),
        task=PerSetLabel(pool="statistics", hidden=0),
        optimizer=replace(rung.optimizer, warm_up=200),
        training=replace(rung.training, epochs=72),
    )
