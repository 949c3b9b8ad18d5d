"""Recipes: each is a function that returns a complete experiment as plain values, with no logic and without torch."""

from collections.abc import Callable
from dataclasses import dataclass

from regard.errors import InputError, nearest
from regard.recipes.arena import arena_image, arena_listops, arena_path_x, arena_pathfinder, arena_retrieval, arena_text
from regard.recipes.cells import cells, cells_patches
from regard.recipes.characters import characters
from regard.recipes.citation import citation
from regard.recipes.clothes import clothes, clothes_cnn, clothes_gan, clothes_pixels, clothes_stem
from regard.recipes.digits import digits
from regard.recipes.graphs import departments, workers
from regard.recipes.molecules import molecules_barrier, molecules_hydration, molecules_solubility
from regard.recipes.pictures import pictures
from regard.recipes.pretraining import pretraining, pretraining_listops, pretraining_text
from regard.recipes.sentiment import reviews, reviews_bytes, sentiment
from regard.recipes.speaker import speaker, speaker_boss, speaker_medium, speaker_simple, speaker_strong
from regard.recipes.tagging import tagging
from regard.recipes.transcription import transcription
from regard.recipes.translation import translation, translation_recurrent
from regard.train import Experiment

__all__ = [
    *(
        "RECIPES",
        "Recipe",
        "arena_image",
        "arena_listops",
        "arena_path_x",
        "arena_pathfinder",
        "arena_retrieval",
        "arena_text",
        "cells",
        "cells_patches",
        "characters",
        "citation",
        "clothes",
        "clothes_cnn",
        "clothes_gan",
        "clothes_pixels",
        "clothes_stem",
        "departments",
        "digits",
        "molecules_barrier",
        "molecules_hydration",
        "molecules_solubility",
        "pictures",
        "pretraining",
        "pretraining_listops",
        "pretraining_text",
        "recipe",
        "reviews",
        "reviews_bytes",
        "sentiment",
    ),
    *(
        "speaker",
        "speaker_boss",
        "speaker_medium",
        "speaker_simple",
        "speaker_strong",
        "tagging",
        "transcription",
        "translation",
        "translation_recurrent",
        "workers",
    ),
]


@dataclass(frozen=True)
class Recipe:
    """What can be trained.

    Args:
        name: what `regard train` calls it.
        experiment: makes the experiment.
        data: the data set, and how `--data.path` names one's own.
        published: numbers of others on the same data, to compare with.
    """

    name: str
    experiment: Callable[[], Experiment]
    data: str
    published: str

    @property
    def purpose(self) -> str:
        """What it learns: the first line of the function's docstring."""
        return (self.experiment.__doc__ or "").partition("\n")[0].rstrip(".")


_CLOTHES = (
    "none built in; Fashion-MNIST, 70,000 pictures of 28 x 28; own: a folder of its idx files, or of pictures by label"
)
_VOICES = "speechocean762, 80 of its 96 adults x 20 sentences; own: a folder of sounds by label"

# Of recipes that train on the same published data set the first one says how a look reads it.
RECIPES = {
    each.name: each
    for each in (
        Recipe(
            "digits",
            digits,
            "scikit-learn's digits, 1,797 pictures of 8 x 8; own: a folder of pictures by label, as 8 x 8 gray ones",
            "none on this split; measured on it: logistic regression .968, support vectors .992",
        ),
        Recipe(
            "pictures",
            pictures,
            "none; own: a folder of pictures by label, or of idx files as those of MNIST",
            "none; measured on crops of blood cells (BCCD, three kinds): .976, with the recipe digits .805",
        ),
        Recipe(
            "clothes",
            clothes,
            _CLOTHES,
            "accuracy: Vision Transformer of 0.4 M parameters .930; measured: logistic regression .843",
        ),
        Recipe("clothes-stem", clothes_stem, _CLOTHES, "accuracy: compact Transformer CCT-2/3x2 .941"),
        Recipe(
            "clothes-cnn",
            clothes_cnn,
            _CLOTHES,
            "accuracy: two convolutions .925, ResNet-18 .949",
        ),
        Recipe(
            "clothes-gan",
            clothes_gan,
            _CLOTHES,
            "none: its distances are those of features of one's own classifier",
        ),
        Recipe(
            "clothes-pixels",
            clothes_pixels,
            "none built in; Fashion-MNIST, 70,000 pictures of 28 x 28; own: a folder of its idx files, or of pictures by label",
            "nats per pixel: none that we know; measured: a histogram for each pixel 3.18, gzip 3.10",
        ),
        Recipe(
            "cells",
            cells,
            "BCCD, 364 pictures of blood, 4,886 boxes; own: pictures with XML files of their boxes (PASCAL VOC)",
            "mean average precision at IoU .5, of networks that began with COCO: YOLOv5 .945, Faster R-CNN .903",
        ),
        Recipe(
            "cells-patches",
            cells_patches,
            "BCCD, the patches of 364 pictures of blood; own: as cells",
            "none: what cells may begin with",
        ),
        Recipe(
            "tagging",
            tagging,
            "UD English EWT, 16,622 sentences; own: a CoNLL-U file, or a folder of them",
            "accuracy: UDPipe 1.2 .944-.945; measured: linear on affixes and neighbors .940",
        ),
        Recipe(
            "sentiment",
            sentiment,
            "SST-2, 9,613 sentences; own: a file of texts with labels (CSV, TSV, JSON lines, `label text`), or a folder",
            "accuracy: convolution .835, trained on phrases as well; measured: linear on word pairs .811",
        ),
        Recipe(
            "reviews",
            reviews,
            "IMDb, 50,000 reviews; own: a folder of texts by label, or a file of texts with labels",
            "accuracy: LSTM .862, convolution .875, NBSVM .912",
        ),
        Recipe(
            "reviews-bytes",
            reviews_bytes,
            "IMDb, 50,000 reviews, up to 4,096 bytes of each; own: a folder of texts by label, or a file of texts",
            "accuracy: Transformer .643 (Long Range Arena)",
        ),
        Recipe(
            "pretraining",
            pretraining,
            "36 novels and IMDb's training reviews; own: a file, a folder or an archive of plain text",
            "none on this text",
        ),
        Recipe(
            "pretraining-listops",
            pretraining_listops,
            "none built in: `regard arena make listops`; own: a folder of basic_train.tsv, basic_val.tsv and basic_test.tsv",
            "none of hidden symbols; ListOps after self-pretraining .592 (Amos et al. 2024, six layers of width 512)",
        ),
        Recipe(
            "pretraining-text",
            pretraining_text,
            "IMDb, 25,000 training reviews, up to 4,096 bytes at a time; own: a file, a folder or an archive of plain text",
            "none of hidden bytes; Text after self-pretraining .888 (Amos et al. 2024, six layers of width 512)",
        ),
        Recipe(
            "arena-listops",
            arena_listops,
            "none built in: `regard arena make listops`; own: a folder of basic_train.tsv, basic_val.tsv and basic_test.tsv",
            "accuracy: Transformer .364 (Long Range Arena), .371 of this size (Nystromformer's port); most frequent value .172",
        ),
        Recipe(
            "arena-text",
            arena_text,
            "IMDb, 50,000 reviews, up to 4,096 bytes of each; own: a folder of texts by label, or a file of texts",
            "accuracy: Transformer .643 (Long Range Arena, validated on the test part), .650 of this size (Nystromformer's port)",
        ),
        Recipe(
            "arena-retrieval",
            arena_retrieval,
            "none built in: `regard arena make retrieval`, a stand-in of passages by authors; own: new_aan_pairs.train.tsv, ...",
            "accuracy on the published pairs: Transformer .575 (Long Range Arena), .794 of this size (its ports); chance .500",
        ),
        Recipe(
            "arena-image",
            arena_image,
            "CIFAR-10, 60,000 pictures, gray; own: a folder of pictures of one size by label, or CIFAR-10's batches for Python",
            "accuracy: Transformer .424 (Long Range Arena), .382 of this size (Nystromformer's port); chance .100",
        ),
        Recipe(
            "arena-pathfinder",
            arena_pathfinder,
            "none built in: `regard arena make pathfinder`; own: such a folder, or one of pictures of one size by label",
            "accuracy: Transformer .714 (Long Range Arena), .742 of this size (Nystromformer's port); chance .500",
        ),
        Recipe(
            "arena-path-x",
            arena_path_x,
            "none built in: `regard arena make path-x`; own: such a folder, or one of pictures of one size by label",
            "accuracy: chance, .500, for every model of Long Range Arena; structured state spaces .964 (S4)",
        ),
        Recipe(
            "translation",
            translation,
            "Multi30k, 29,000 pairs, German to English; own: a folder of train.de, train.en, ..., a table or JSON lines",
            "BLEU, lower-cased, in words: Transformer 36.5 (greedy); English to German 41.0 (beam of 5)",
        ),
        Recipe(
            "translation-recurrent",
            translation_recurrent,
            "Multi30k, 29,000 pairs, German to English; own: as translation",
            "BLEU, lower-cased, in words: recurrent with attention 28.1",
        ),
        Recipe("speaker", speaker, _VOICES, "none for this split"),
        *(
            Recipe(name, experiment, _VOICES, f"none for this split; on 600 others' voices the course asks for {asked}")
            for name, experiment, asked in (
                ("speaker-simple", speaker_simple, ".608"),
                ("speaker-medium", speaker_medium, ".704"),
                ("speaker-strong", speaker_strong, ".778"),
                ("speaker-boss", speaker_boss, ".865"),
            )
        ),
        Recipe(
            "transcription",
            transcription,
            "speechocean762, 96 adults x 20 sentences; own: a table with the columns path and text",
            "none for this split",
        ),
        Recipe(
            "characters",
            characters,
            "tinyshakespeare, 1,115,394 characters; own: a file of text, or a folder of .txt files",
            "nats per character, of the last tenth: nanoGPT 1.88 in 3 minutes on a processor, 1.47 on a GPU",
        ),
        Recipe(
            "citation",
            citation,
            "Cora, 2,708 papers, public split; own: a folder with nodes.csv and edges.csv",
            "accuracy: GCN .815, GAT .830",
        ),
        Recipe(
            "workers",
            workers,
            "tolokers, 11,758 workers, first of 10 published masks; own: a .npz file of arrays",
            "area under ROC, mean over 10 masks: GCN .836, GAT .837, Polynormer .852",
        ),
        Recipe(
            "departments",
            departments,
            "email-Eu-core, 1,005 people; own: a folder with a list of edges and one of labels",
            "none on this split; measured: logistic regression on 64 eigenvectors .748",
        ),
        Recipe(
            "molecules-solubility",
            molecules_solubility,
            "ESOL, 1,128 molecules, scaffold split; own: a table with columns smiles and label",
            "RMSE: GCN .885 (MoleculeNet), .86-.89 (DGL-LifeSci); measured: random forest on sums over atoms .793",
        ),
        Recipe(
            "molecules-hydration",
            molecules_hydration,
            "FreeSolv, 642 molecules, scaffold split; own: a table with columns smiles and label",
            "RMSE: GCN 2.31-3.12 (DGL-LifeSci); measured: boosted trees on sums over atoms 2.04",
        ),
        Recipe(
            "molecules-barrier",
            molecules_barrier,
            "BBBP, 2,039 molecules, scaffold split; own: a table with columns smiles and label",
            "area under ROC: GCN .63-.68; measured: boosted trees on sums over atoms .734",
        ),
    )
}


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        InputError: there is none; the nearest name is suggested.

    >>> recipe("taging")
    Traceback (most recent call last):
    regard.errors.InputError: there is no recipe 'taging': did you mean 'tagging'?
    """
    if name not in RECIPES:
        raise InputError(f"there is no recipe {name!r}: {nearest(name, RECIPES)}")
    return RECIPES[name]
