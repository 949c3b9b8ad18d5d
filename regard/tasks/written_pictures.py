"""Pictures that a generator writes: it learns against a discriminator, and a frozen classifier compares them with the data's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.data.sheets import sheet
from regard.errors import InputError
from regard.models.gan_networks import GanModel
from regard.sets import VectorSets
from regard.tasks.base import Task
from regard.tasks.configs_of_pictures import WrittenPictures
from regard.tasks.label import SetLabelTask

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torchmetrics import MetricCollection

    from regard.data.examples import Array

__all__ = ["Judge", "Judged", "WrittenPicturesTask"]


class Judge(NamedTuple):
    """A trained classifier of pictures, which is frozen. Args: model, task: of its run. encoding: what it learned of its data."""

    model: nn.Module
    task: SetLabelTask
    encoding: Encoding

    @torch.no_grad()
    def __call__(self, pictures: VectorSets) -> tuple[Float[Tensor, "s width"], Int[Tensor, " s"]]:
        """The features of each picture, which classes are told apart by, and its label."""
        self.model.to(pictures.device).eval()
        self.task.to(pictures.device).eval()
        batch = Batch(pictures)
        hidden = self.model(batch)
        return self.task.embed(hidden).float(), self.task(hidden, batch).argmax(1)


class Judged(NamedTuple):
    """What the discriminator thinks of the pictures of a batch, and of as many that were written for their labels.

    Args:
        real, written: `[s]` its scores. pictures: those that were written.
    """

    real: Float[Tensor, " s"]
    written: Float[Tensor, " s"]
    pictures: VectorSets


class WrittenPicturesTask(Task):
    """A generator G against a discriminator D, in turn, with the hinge loss (Lim and Ye 2017; Zhang et al. 2018, eq. 4):

        L_D = mean of max(0, 1 - D(x, y)) + max(0, 1 + D(G(z, y), y))        L_G = - mean of D(G(z, y), y)

    x are pictures, y their labels, z noise. Beside training, noise is a function of the name of the picture whose label it is for,
    so that evaluation gives the same each time.

    Raises:
        InputError: data whose targets are not single labels, where the networks know labels.
    """

    target_kind = "set"

    def __init__(self, config: WrittenPictures, width: int, encoding: Encoding) -> None:
        super().__init__()
        self.config, self.encoding, self.names = config, encoding, encoding.labels
        self.monitor = ("fid", "min") if config.judge else ("loss", "min")
        self.find_judge: Callable[[], Judge] | None = None
        """Opens the run that `task.judge` names; whoever builds the task sets it."""
        # In tuples, so that they are no parts of the task.
        self._judge: tuple[Judge, ...] = ()
        self._model: tuple[GanModel, ...] = ()

    def attach(self, model: nn.Module) -> None:
        if not isinstance(model, GanModel):
            raise InputError(
                f"the task writes pictures, and the model is {type(model).__name__}, expected SelfAttentionGan"
            )
        if model.generator.labels and model.generator.labels != len(self.names):
            raise InputError(
                "the model knows labels and the task has none, expected data with a label for each picture"
            )
        self._model = (model,)

    @property
    def model(self) -> GanModel:
        """The networks.

        Raises:
            InputError: no model was attached.
        """
        if not self._model:
            raise InputError("the task has no generator yet, expected attach(model) before it is called")
        return self._model[0]

    @property
    def judge(self) -> Judge | None:
        """The classifier of `task.judge`, opened when it is first asked for; None where none is named.

        Raises:
            InputError: no run of labels, or one that reads other pictures.
        """
        if not self.config.judge or self.find_judge is None:
            return None
        if not self._judge:
            found = self.find_judge()
            named = f"task.judge is {self.config.judge!r}"
            if not isinstance(found.task, SetLabelTask):
                raise InputError(f"{named}, a run without labels of pictures, expected one such as of clothes-cnn")
            ours, theirs = self.encoding, found.encoding
            if (ours.width, ours.grid, ours.labels) != (theirs.width, theirs.grid, theirs.labels):
                raise InputError(
                    f"{named}, which reads other pictures or has other labels, expected a run on the same data, size and patch"
                )
            self._judge = (found,)
        return self._judge[0]

    def labels_of(self, batch: Batch) -> Tensor | None:
        """`[s]` the labels that pictures are written for; None where the networks know none."""
        if not self.model.generator.labels:
            return None
        if batch.targets is None and batch.names:
            told = "the networks of this run judge pictures by their labels"
            raise InputError(
                f"{batch.names[0]} has no target, and {told}: expected a labeled part, or `regard generate`"
            )
        targets = batch.target_values("set")
        if targets.is_floating_point() or targets.dim() != 1 or bool((targets < 0).any()):
            raise InputError(
                "the networks know labels, expected one that training has for each picture, or model.labels false"
            )
        return targets

    def forward(self, hidden: VectorSets, batch: Batch) -> Judged:
        labels, noise = self.labels_of(batch), self.noise(batch.names, hidden.device)
        pictures = self.model.generator(noise, labels)
        score = self.model.discriminator.score
        return Judged(score(hidden.values, labels), score(self.model.discriminator(pictures), labels), pictures)

    def noise(self, names: Sequence[str], device: torch.device | str = "cpu") -> Float[Tensor, "s noise"]:
        """Standard normal numbers that are a function of a name."""
        width = self.model.generator.noise
        keys = [np.frombuffer(hashlib.sha256(name.encode()).digest()[:16], np.uint64) for name in names]
        drawn = [np.random.Generator(np.random.Philox(key=key)).standard_normal(width, np.float32) for key in keys]
        return torch.from_numpy(np.stack(drawn) if drawn else np.zeros((0, width), np.float32)).to(device)

    def loss(self, output: Judged, batch: Batch) -> tuple[Tensor, Tensor]:
        """That of the discriminator."""
        total = (1 - output.real.float()).relu().sum() + (1 + output.written.float()).relu().sum()
        return total, torch.tensor(len(output.real), device=total.device)

    def metrics(self) -> MetricCollection:
        from torchmetrics import MeanMetric, Metric, MetricCollection

        from regard.tasks.frechet import FrechetDistance

        found: dict[str, Metric | MetricCollection] = {}
        if (judge := self.judge) is not None:
            found["fid"] = FrechetDistance(judge.task.width)
            if self.model.generator.labels:
                found["agreement"] = MeanMetric()
        return MetricCollection(found, compute_groups=False)

    def score(self, metrics: MetricCollection, output: Judged | None, batch: Batch) -> None:
        judge = self.judge
        if judge is None:
            return
        if output is None:
            none = torch.zeros(0, judge.task.width)
            metrics["fid"].update(none, none)
            for metric in (metrics["agreement"],) if "agreement" in metrics else ():
                metric.update(torch.zeros(0))
            return
        features, _ = judge(batch.inputs.to(output.pictures.device))
        written, found = judge(output.pictures)
        metrics["fid"].update(features, written)
        labels = self.labels_of(batch)
        if labels is not None and len(labels):
            metrics["agreement"].update((found == labels.to(found.device)).double())

    def observe(self, batch: Batch) -> None:
        # Whatever is wrong with it is told before training.
        self.judge  # noqa: B018

    def trivial(self, batch: Batch) -> Any:
        """None: what never looks at pictures writes none."""
        return None

    def predictions(self, output: Judged | None, batch: Batch) -> list[dict[str, Any]]:
        """For each picture of the data the discriminator's score of it, and of the one that was written for its label."""
        if output is None:
            return []
        scores = zip(batch.names, output.real.tolist(), output.written.tolist(), strict=True)
        return [{"name": name, "real": real, "written": written} for name, real, written in scores]

    @torch.no_grad()
    def written(self, names: Sequence[str], labels: Sequence[int]) -> Array:
        """`[n, h, w]` or `[n, h, w, 3]` uint8: a picture for each name, by its noise, and label."""
        generator, device = self.model.generator, next(self.model.parameters()).device
        asked = torch.tensor(labels, device=device) if generator.labels else None
        with _inferring(generator):
            values = generator(self.noise(names, device), asked).values
        pixels = (values.float().cpu().numpy() * 255).round().astype(np.uint8)
        found: Array = pixels.reshape(len(names), *self.model.extent, -1)
        return found[..., 0] if found.shape[-1] == 1 else found

    def sheet(self, count: int, seed: int = 0) -> Array:
        """`[H, W]` or `[H, W, 3]` uint8: pictures side by side, those of a label below one another where there are labels."""
        classes = self.model.generator.labels
        names = [f"sample {seed}/{n}" for n in range(count)]
        return sheet(list(self.written(names, [n % max(1, classes) for n in range(count)])), columns=classes)

    def shown(self) -> dict[str, Array]:
        return {"samples": self.sheet(self.config.samples)}

    def learner(self, base: type[Any]) -> type[Any]:
        """Two optimizers: in each step the discriminator learns, then the generator, from the same labels."""
        return type("AdversarialLearner", (_TwoPlayers, base), {})


@contextmanager
def _inferring(module: nn.Module) -> Iterator[None]:
    before = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(before)


class _TwoPlayers:
    """A step of the discriminator, then one of the generator against it; mixed into the usual learner."""

    model: GanModel
    task: WrittenPicturesTask

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.automatic_optimization = False

    def configure_optimizers(self: Any) -> Any:
        networks = self.model.generator, self.model.discriminator
        usual = super().configure_optimizers  # type: ignore[misc]
        pairs = []
        for other in reversed(networks):
            # The usual optimizer is that of what learns.
            learning = [parameter for parameter in other.parameters() if parameter.requires_grad]
            for parameter in learning:
                parameter.requires_grad_(False)
            pairs.append(usual())
            for parameter in learning:
                parameter.requires_grad_(True)
        rate, schedule = self.task.config.discriminator_rate, pairs[1]["lr_scheduler"]["scheduler"]
        schedule.base_lrs = [rate * each for each in schedule.base_lrs]
        for group in pairs[1]["optimizer"].param_groups:
            group["lr"], group["initial_lr"] = rate * group["lr"], rate * group["initial_lr"]
        return [pair["optimizer"] for pair in pairs], [pair["lr_scheduler"] for pair in pairs]

    def training_step(self: Any, batch: Batch, batch_idx: int) -> None:
        if self.trainer.world_size > 1:
            raise InputError(f"{self.trainer.world_size} processes train, expected one: two networks learn in turn")
        (first, _), (_, second) = self.optimizers(), self.optimizers(use_pl_optimizer=False)
        half = self.experiment.training.precision == "bf16-mixed"
        generator, discriminator = self.model.generator, self.model.discriminator
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            labels = self.task.labels_of(batch)
            noise = torch.randn(len(batch), generator.noise, device=self.device)
            pictures = generator(noise, labels)
            still = pictures.with_values(pictures.values.detach())
            real = discriminator.score(self.model(batch).values, labels)
            output = Judged(real, discriminator.score(discriminator(still), labels), still)
        loss = self.scaled(*self.task.loss(output, batch))
        second.zero_grad()
        self.manual_backward(loss)
        self._clip(second)
        second.step()
        discriminator.requires_grad_(False)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            score = discriminator.score(discriminator(pictures), labels).float().mean()
        first.zero_grad()
        self.manual_backward(-score)
        discriminator.requires_grad_(True)
        self._clip(first)
        first.step()
        for schedule in self.lr_schedulers():
            schedule.step()

    def _clip(self: Any, optimizer: Any) -> None:
        if self.experiment.training.clip:
            self.clip_gradients(optimizer, self.experiment.training.clip, "norm")
