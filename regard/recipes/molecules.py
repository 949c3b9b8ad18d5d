"""Properties of molecules: sets of atoms that hear of one another along bonds and across the molecule."""

from regard.data.molecules import Molecules
from regard.models.encoder import Encoder
from regard.models.pieces import Positions
from regard.tasks.configs import PerSetLabel, PerSetNumber
from regard.train import Experiment, Optimizer, Training

__all__ = ["molecules_barrier", "molecules_hydration", "molecules_solubility"]


def molecules_solubility() -> Experiment:
    """How well a molecule dissolves in water, from its atoms and bonds.

    Sums along bonds and attention to the whole molecule, whose scores know the bonds, take turns; numbers of the whole molecule
    are joined to what is read of the atoms. The test part has other scaffolds than the training part. `--data.features atoms
    --model.attention "Attention(bias=EdgeBias(4))"` reads elements and kinds of bonds alone.

    Own data: `--data.path molecules.csv` with columns smiles and label; `regard predict RUN CCO` takes a SMILES, a file of SMILES,
    or such a table.
    """
    return Experiment(
        "molecules-solubility",
        Molecules(dataset="esol", features="contributions", descriptors=True),
        _encoder(layers=2, dropout=0.2),
        PerSetNumber(dropout=0.3),
        _optimizer(weight_decay=0.1),
        _training(epochs=240),
    )


def molecules_hydration() -> Experiment:
    """The free energy of a molecule's hydration in kcal/mol, from its atoms and bonds.

    Own data: as for molecules-solubility, `--data.path molecules.csv` with columns smiles and label.
    """
    return Experiment(
        "molecules-hydration",
        Molecules(dataset="freesolv", features="contributions"),
        _encoder(),
        PerSetNumber(),
        _optimizer(),
        _training(),
    )


def molecules_barrier() -> Experiment:
    """Whether a molecule passes from the blood into the brain, from its atoms and bonds.

    The validation part says little of the test part, whose scaffolds are rarer.

    Own data: `--data.path molecules.csv` with columns smiles and label; of several labels `--data.label_column toxic,soluble
    --task.type MultiLabel`, whose empty cells are gaps.
    """
    return Experiment(
        "molecules-barrier",
        Molecules(dataset="bbbp", target="label", features="contributions", descriptors=True),
        _encoder(layers=2, dropout=0.2),
        PerSetLabel(roc_auc=True, dropout=0.3),
        _optimizer(weight_decay=0.1),
        Training(epochs=15, batch_vectors=2048, log_every=10, checkpoint_every=0, threads=1, watch="roc_auc"),
    )


def _encoder(layers: int = 4, dropout: float = 0.1) -> Encoder:
    return Encoder(
        width=64,
        layers=layers,
        heads=8,
        feed_forward=128,
        dropout=dropout,
        mixer="spatial_sum+attention",
        attention="Attention(bias=EdgeBias(8))",
        activation="gelu",
        positions=Positions("none"),
    )


def _optimizer(weight_decay: float = 0.01) -> Optimizer:
    return Optimizer(learning_rate=1e-3, weight_decay=weight_decay, warm_up=20)


def _training(epochs: int = 40) -> Training:
    return Training(epochs=epochs, batch_vectors=1024, log_every=10, checkpoint_every=0, threads=1)
