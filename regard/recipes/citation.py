"""Topics of papers that cite one another."""

from regard.data.graph import Planetoid
from regard.models.graph import GraphNetwork
from regard.tasks.configs import PerVectorLabel
from regard.train import Experiment, Optimizer, Training

__all__ = ["citation"]


def citation() -> Experiment:
    """The topic of each paper, by attention along citations; the last layer gives the scores of the topics itself.

    The protocol of Velickovic et al. 2018, which stops after 100 epochs without a better validation, here by its loss alone.

    `--sweep "model.attention=Attention(score=Separable(), pattern=Edges()),Attention(score=Dot(), pattern=Edges())"`
    compares scores, and `--sweep model.mixer=pointwise,gcn,chebyshev,gat` what the layers are.

    Own data: `--data.path folder` with `nodes.csv` (columns id, label, perhaps split, and the features) and `edges.csv`
    (columns source and target).
    """
    return Experiment(
        "citation",
        Planetoid(),
        GraphNetwork(width=64, layers=2, heads=8, dropout=0.6, attention_dropout=0.6, value_dropout=0.6),
        PerVectorLabel(head="none"),
        Optimizer(
            learning_rate=5e-3, weight_decay=5e-4, decay="coupled", warm_up=0, schedule="constant", betas=(0.9, 0.999)
        ),
        Training(
            epochs=1000,
            batch_vectors=4096,
            clip=0,
            watch="loss",
            patience=100,
            log_every=10,
            checkpoint_every=0,
            threads=1,
        ),
    )
