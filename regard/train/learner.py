"""The Lightning module: one step of training, one of validation, and the optimizer."""

from __future__ import annotations

import math
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MetricCollection, SumMetric

from regard.data.batch import Batch
from regard.data.examples import Dataset
from regard.errors import InputError
from regard.models.remembering import memory_of
from regard.tasks.base import Task
from regard.train.experiment import Experiment, Optimizer
from regard.train.pieces import decays_of, depths, named_parameters
from regard.train.scoring import hidden_of, validated

__all__ = ["Learner", "gathered", "parameter_groups", "rate"]


class Learner(lightning.LightningModule):
    """A model and a task, trained together.

    The loss of a step is the sum over the targets of all processes divided by their number, so a process weighs as much as
    it has targets.

    Args:
        total_steps: of the whole training; the cosine ends there.
    """

    model: nn.Module
    task: Task
    metrics: MetricCollection
    loss_sum: SumMetric
    loss_weight: SumMetric
    target_count: SumMetric

    def __init__(self, model: nn.Module, task: Task, experiment: Experiment, total_steps: int) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.experiment = experiment
        self.total_steps = total_steps
        self.metrics = task.metrics()
        memories = memory_of(model), memory_of(model)
        self.memories = {name: each for name, each in zip(("training", "validation"), memories, strict=True) if each}
        """What the model remembers of the streams of each part; nothing where it remembers none."""
        self.corpus = validated(task, experiment)
        """The metrics of whole parts that some validations compute as well."""
        self.loss_sum, self.loss_weight, self.target_count = SumMetric(), SumMetric(), SumMetric()
        self.seen = torch.zeros(2)
        """`[2]` the last step's loss and number of targets (sum of their weights), summed over all processes."""
        self.used = 0.0
        """The share of the minutes of a training that has a budget of them."""
        self.found: dict[str, float] = {}
        """The validation metrics of this epoch, `loss` among them; empty before its validation."""
        self.names = ("loss", *map(str, self.metrics.keys()), *(each.name for each in self.corpus))
        """What these may be called."""

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        # Lightning would walk through every name and token in search of tensors.
        return batch.to(device)

    def run(self, batch: Batch) -> tuple[Any, Tensor, Tensor]:
        """The output, the sum of the losses, and the number of targets, or the sum of their weights."""
        half = self.experiment.training.precision == "bf16-mixed"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            read = self.task.read(batch)
            if self.training:
                memory = self.memories.get("training")
                hidden = self.model(read) if memory is None else self.model(read, memory=memory)
            else:
                hidden = hidden_of(self.model, read, self.experiment.training, self.memories.get("validation"))
            output = self.task(hidden, read)
        return output, *self.task.loss(output, batch)

    def check_streams(self, part: Dataset) -> None:
        """Refuse a training part without streams where the model remembers segments of some.

        Raises:
            InputError: it has none; the sentence names the option.
        """
        if self.memories and not hasattr(part, "streams"):
            raise InputError(
                "the model remembers the segments before one, and the data come in any order, expected streams, such as "
                "--data.streams 8 of the data RunningText"
            )

    def on_train_epoch_start(self) -> None:
        self.found = {}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if len(batch):
            _, total, count = self.run(batch)
            if "training" in self.memories:
                # What compression learns from is no part of the loss that is told.
                return self.scaled(total, count) + self.memories["training"].loss
        else:
            # A process without an example still needs gradients: the others wait for that of every parameter.
            total = (
                torch.stack([parameter.sum() for parameter in self.parameters() if parameter.requires_grad]).sum() * 0
            )
            count = total.new_zeros(())
        return self.scaled(total, count)

    def scaled(self, total: Tensor, count: Tensor) -> Tensor:
        """The sum of the losses divided by the number, or weight, of the targets of all processes; both are recorded in `seen`."""
        self.seen = torch.stack([total.detach().float(), count.float()])
        processes = self.trainer.world_size
        if processes > 1:
            torch.distributed.all_reduce(self.seen)
        # Lightning averages gradients over processes; the factor makes that a sum.
        return total * (processes / self.seen[1].where(self.seen[1] > 0, 1))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        if len(batch):
            output, total, count = self.run(batch)
            self.task.score(self.metrics, output, batch)
            self.loss_sum.update(total)
            self.loss_weight.update(count)
            self.target_count.update(self.task.target_count(output, batch))

    def on_validation_epoch_end(self) -> None:
        if not float(self.target_count.compute()):
            raise InputError("the validation part has no target, expected at least 1")
        weight = float(self.loss_weight.compute())
        self.found = {"loss": float(self.loss_sum.compute()) / weight if weight else math.nan}
        self.found |= {name: float(value) for name, value in self.metrics.compute().items()}
        for metric in (self.metrics, self.loss_sum, self.loss_weight, self.target_count):
            metric.reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what each process remembers: it was made by weights that are no longer there."""
        if self.memories:
            checkpoint["memory"] = gathered(self.memories["training"].state_dict())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.memories:
            self.memories["training"].load_state_dict(checkpoint["memory"][self.global_rank])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        options = self.experiment.optimizer
        groups = parameter_groups(self, options, self.model, self.task)
        kind = torch.optim.AdamW if options.decay == "decoupled" else torch.optim.Adam
        optimizer = kind(groups, options.learning_rate, options.betas, fused=True)
        schedule = LambdaLR(optimizer, lambda step: rate(options, step, self.total_steps, self.used))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, counted from 1."""
        options = self.experiment.optimizer
        return options.learning_rate * rate(options, step - 1, self.total_steps, self.used)

    def check_finite(self, loss: float) -> None:
        """Refuse to continue after a loss that is not finite.

        Raises:
            InputError: the loss is infinite or NaN.
        """
        if not math.isfinite(loss):
            found = f"the loss is {loss} by step {self.global_step}"
            raise InputError(f"{found}, expected a finite number: a lower optimizer.learning_rate may help")


def gathered(value: Any) -> list[Any]:
    """The value that each process has, in the order of their ranks."""
    if not torch.distributed.is_initialized():
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def parameter_groups(
    module: nn.Module, options: Optimizer, model: nn.Module | None = None, task: nn.Module | None = None
) -> list[dict[str, Any]]:
    """What learns at the same rate and decays alike; frozen parameters are in no group.

    Biases, norms and other vectors do not decay, nor do embedding tables unless asked for. A parameter of `model` that lies `depth`
    pieces below the head (`regard.train.pieces.depths`) learns at rate * layer_decay^depth, any other at the full rate. Matrices
    of `model` and `task` that `options.weight_decays` names decay as that says.
    """
    kinds = () if options.decay_embeddings else (nn.Embedding, nn.EmbeddingBag)
    tables = {id(each.weight) for each in module.modules() if isinstance(each, kinds)}
    depth: dict[int, int] = {}
    if model is not None and options.layer_decay < 1:
        below, _ = depths(model)
        depth = {id(parameter): below[name] for name, parameter in model.named_parameters()}
    decays: dict[int, float] = {}
    if model is not None and task is not None and options.weight_decays:
        named = named_parameters(model, task)
        decays = {id(named[name]): decay for name, decay in decays_of(model, task, options.weight_decays).items()}
    groups: dict[tuple[int, bool, float], list[nn.Parameter]] = {}
    for parameter in module.parameters():
        if parameter.requires_grad:
            spared = parameter.dim() < 2 or id(parameter) in tables
            decay = 0.0 if spared else decays.get(id(parameter), options.weight_decay)
            groups.setdefault((depth.get(id(parameter), 0), spared, decay), []).append(parameter)
    return [
        {
            "params": groups[distance, spared, decay],
            "weight_decay": decay,
            "lr": options.learning_rate * options.layer_decay**distance,
        }
        for distance, spared, decay in sorted(groups)
    ]


def rate(options: Optimizer, step: int, total: int, used: float = 0.0) -> float:
    """The learning rate of a step, as a part of the highest one.

    (step + 1) / warm_up during the warm-up; then (1 + cos(pi done)) / 2 with done = (step - warm_up) / (total - warm_up), or the
    `used` share of a budget of minutes where that is more; 1 - done where the schedule is linear, or 1.

    >>> options = Optimizer(warm_up=10)
    >>> [round(rate(options, step, 30), 2) for step in (0, 9, 10, 20, 30)]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    if step < options.warm_up:
        return (step + 1) / options.warm_up
    if options.schedule == "constant":
        return 1.0
    done = min(1.0, max(used, (step - options.warm_up) / max(1, total - options.warm_up)))
    return 1 - done if options.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
