"""Nodes of one graph: workers who did the same tasks, people who wrote to one another."""

from regard.data.edge_list import EdgeList
from regard.data.masked_graph import MaskedGraph
from regard.data.node_means import NodeMeans
from regard.data.structure import NodePositions
from regard.models.encoder import Encoder
from regard.models.graph import GraphNetwork
from regard.models.pieces import Positions
from regard.tasks.configs import PerVectorLabel
from regard.train import Experiment, Optimizer, Training

__all__ = ["departments", "workers"]


def workers() -> Experiment:
    """Which workers of a platform were banned, from those who did the same tasks.

    A worker's vector has the features and the number of neighbors, and the means of both over neighbors and their neighbors, as
    ranks, because means over dozens of neighbors differ little. Then attention along edges, and the mean over neighbors joined to
    one's own vector (GraphSAGE), take turns.

    `--data.mask 0` to `9` are the ten published divisions; their mean is what others report.

    Own data: `--data.path graph.npz` with the arrays node_features, node_labels, edges, train_masks, val_masks and test_masks, or
    `--data.type Planetoid --data.path folder` with `nodes.csv` and `edges.csv`.
    """
    return Experiment(
        "workers",
        MaskedGraph(positions=NodePositions(degree=True), means=NodeMeans(steps=2, ranks=True)),
        Encoder(
            width=64,
            layers=2,
            heads=8,
            feed_forward=128,
            dropout=0.3,
            mixer="gat+graphsage",
            attention="Attention(score=Separable(), pattern=Edges())",
            activation="gelu",
            positions=Positions("none"),
        ),
        PerVectorLabel(roc_auc=True),
        Optimizer(learning_rate=5e-3, weight_decay=0, warm_up=10),
        Training(
            epochs=150,
            batch_vectors=16384,
            log_every=10,
            checkpoint_every=0,
            validate_every=10,
            watch="roc_auc",
            threads=1,
        ),
    )


def departments() -> Experiment:
    """The department of each person of an institution, from who wrote to whom alone.

    Nodes have no features: each has a vector of its own (`data.positions.identity`).
    `--sweep data.seed=0,1,2,3,4` draws five divisions into parts.

    Own data: `--data.path folder` with a list of edges and a list of labels (`label` in its name), two words on each line.
    """
    return Experiment(
        "departments",
        EdgeList(positions=NodePositions(identity=True)),
        GraphNetwork(width=256, layers=2, mixer="gcn", dropout=0.5, attention_dropout=0.5),
        PerVectorLabel(head="none"),
        Optimizer(
            learning_rate=1e-2, weight_decay=2e-5, decay="coupled", warm_up=0, schedule="constant", betas=(0.9, 0.999)
        ),
        Training(
            epochs=200, batch_vectors=4096, clip=0, log_every=10, checkpoint_every=0, validate_every=10, threads=1
        ),
    )
