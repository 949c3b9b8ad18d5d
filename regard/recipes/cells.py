"""Which boxes are in a picture; and, before that, which label each patch has."""

from dataclasses import replace

from regard.data.boxes import Boxes
from regard.data.labeled_patches import PatchLabels
from regard.models.detr import Detr
from regard.models.encoder import Encoder
from regard.models.pieces import Denoising, Front
from regard.tasks.configs import PerSetBoxes, PerVectorLabel
from regard.train import Experiment, Optimizer, Training

__all__ = ["cells", "cells_patches"]


def cells() -> Experiment:
    """Red cells, white cells and platelets in pictures of blood, each with its box, by a Transformer from a picture to a set.

    Own data: `--data.path folder` with `Annotations/NAME.xml`, `JPEGImages/NAME.jpg` and lists in `ImageSets/Main`, as PASCAL VOC
    has them, or XML files beside their pictures.
    """
    return Experiment(
        "cells",
        Boxes(size=320, patch=16, flip=True, crop=0.7, jitter=0.2),
        Detr(
            width=160,
            layers=1,
            decoder_layers=3,
            heads=8,
            feed_forward=320,
            dropout=0.0,
            queries=64,
            anchors=True,
            cross_attention="Attention(bias=Gaussian())",
            denoising=Denoising(groups=3),
        ),
        PerSetBoxes(loss="focal", label_cost=2.0),
        Optimizer(learning_rate=1e-3, weight_decay=0.01, warm_up=100),
        Training(epochs=100, batch_vectors=1200, clip=1.0, threads=1, log_every=20, validate_every=4),
    )


def cells_patches() -> Experiment:
    """What kind of cell each patch of a picture of blood belongs to; `regard train cells --training.start RUN` goes on from it.

    The model is the encoder of `cells`, which so has learned what cells look like before it tells where each is.

    Own data: `--data.path folder`, as the recipe `cells` takes it.
    """
    boxes = cells()
    return replace(
        boxes,
        recipe="cells-patches",
        data=PatchLabels(size=320, patch=16, flip=True, crop=0.7, jitter=0.2),
        model=Encoder(
            width=160, layers=1, heads=8, feed_forward=320, dropout=0.0, activation="relu", front=Front(stem="strided")
        ),
        task=PerVectorLabel(),
        training=replace(boxes.training, epochs=20),
    )
