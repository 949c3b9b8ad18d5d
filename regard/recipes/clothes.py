"""Fashion-MNIST by a Vision Transformer, by one with a convolutional stem, and by a convolutional network; and pictures
like its own, by a generator against a discriminator, and pixel by pixel."""

from dataclasses import replace

from regard.data.pictures import Pictures
from regard.data.pixels import Pixels
from regard.models.encoder import Encoder
from regard.models.gan import SelfAttentionGan
from regard.models.pieces import Front, Positions
from regard.tasks.configs import PerSetLabel
from regard.tasks.configs_of_pictures import NextPixel, WrittenPictures
from regard.train import Experiment, Optimizer, Training

__all__ = ["clothes", "clothes_cnn", "clothes_gan", "clothes_pixels", "clothes_stem"]


def clothes() -> Experiment:
    """What a small gray picture shows, by a Vision Transformer: patches of 4 x 4 pixels, a class vector, learned positions.

    `--model.positions sinusoidal` and `rotary` are the other positions of two coordinates, `--model.front.class_vector false` with
    `--task.pool multi_head` or `attention` pools by attention instead.

    Own data: `--data.path folder` with idx files as those of Fashion-MNIST, or with a folder of pictures for each label; those
    become 28 x 28 and gray unless `--data.size`, `--data.patch` and `--data.color` say otherwise.
    """
    return Experiment(
        "clothes",
        Pictures(size=28, patch=4, color="gray", flip=True),
        Encoder(
            width=96,
            layers=6,
            heads=4,
            feed_forward=192,
            activation="gelu",
            positions=Positions("learned"),
            front=Front(class_vector=True),
            dropout=0.1,
        ),
        PerSetLabel(pool="first", label_smoothing=0.1),
        Optimizer(learning_rate=1e-3, weight_decay=0.05, betas=(0.9, 0.999), warm_up=1000),
        Training(epochs=30, batch_vectors=6272),
    )


def clothes_stem() -> Experiment:
    """What a small gray picture shows, by a compact Transformer: convolutions make the vectors, attention pools them.

    Own data: `--data.path folder`, as the recipe `clothes` takes it.
    """
    plain = clothes()
    return replace(
        plain,
        recipe="clothes-stem",
        data=replace(plain.data, patch=1),
        model=replace(plain.model, layers=4, front=Front(stem="convolution2d", stages=(32,))),
        task=PerSetLabel(pool="attention", label_smoothing=0.1),
        training=replace(plain.training, batch_vectors=100_352),
    )


def clothes_cnn() -> Experiment:
    """What a small gray picture shows, by a convolutional network: three stages of two convolutions, and the mean of what is left.

    Own data: `--data.path folder`, as the recipe `clothes` takes it.
    """
    stem = clothes_stem()
    return replace(
        stem,
        recipe="clothes-cnn",
        model=Encoder(
            width=128,
            layers=0,
            positions=Positions("none"),
            front=Front(stem="convolution2d", stages=(32, 64), convolutions=2, norm=True),
            dropout=0.0,
        ),
        task=PerSetLabel(pool="mean", dropout=0.3, label_smoothing=0.1),
    )


def clothes_gan() -> Experiment:
    """Small gray pictures from noise, by a generator that learns against a discriminator, both with self-attention (SAGAN).

    `--task.judge runs/clothes-cnn-1` names a trained classifier, by whose features they are compared with the pictures of the data.
    `--model.self_attention false` leaves self-attention out; `regard generate` writes pictures.

    Own data: `--data.path folder`, as the recipe `clothes` takes it.
    """
    return Experiment(
        "clothes-gan",
        Pictures(size=28, patch=1, color="gray"),
        SelfAttentionGan(),
        WrittenPictures(),
        Optimizer(learning_rate=1e-4, weight_decay=0.0, betas=(0.0, 0.9), warm_up=0, schedule="constant"),
        Training(epochs=20, batch_vectors=50_176, clip=0.0, keep="last"),
    )


def clothes_pixels() -> Experiment:
    """The next pixel of a small gray picture, one of 256 levels, from those before it.

    `regard generate` writes pictures with it, or completes them. Each pixel looks at what lies above and to the left of it (Image
    Transformer). `--model.attention "Attention(score=Kernel(), pattern=Causal(), normalizer=Sum())"` makes it a recurrent network
    that looks at all of it; `--model.attention "Axes(attention=Attention(pattern=Causal()))"` looks along rows and columns (Axial).

    Own data: `--data.path folder`, as the recipe `clothes` takes it; labels are not looked at, and `--data.size` is another side.
    """
    return Experiment(
        "clothes-pixels",
        Pixels(size=28, flip=True),
        Encoder(
            width=96,
            layers=4,
            heads=4,
            feed_forward=384,
            attention="Attention(pattern=(Near(radius=4) & Causal()))",
            dropout=0.0,
            activation="gelu",
            positions=Positions("learned"),
            front=Front(deviation=0.05),
        ),
        NextPixel(),
        Optimizer(learning_rate=2e-3, weight_decay=0.05, warm_up=200),
        Training(epochs=1, batch_vectors=12_544),
    )
