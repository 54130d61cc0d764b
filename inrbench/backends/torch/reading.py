"""Readers in PyTorch: a base for those that learn from a neural data set alone or as the head of a fitter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional

from inrbench.backends.torch.draws import init_linears, torch_generator
from inrbench.backends.torch.precision import check_agreement, mixed_precision
from inrbench.backends.torch.training import Group, Part, descend, micro_batch
from inrbench.errors import BadSetting
from inrbench.interfaces import ReaderFacts, Run
from inrbench.representations import Arrays, Layout, NeuralDataSet, Representations
from inrbench.schedules import batches
from inrbench.settings import Settings, TrainingSettings, setting

__all__ = ["Network", "ReaderSettings", "Stages", "TorchClassifier", "mixed_up"]

#: Rows that are read at once in evaluation.
PREDICT_ROWS = 256


class ReaderSettings(Settings):
    """What every trained reader has: its rate, and a loop of its own for when it does not train jointly."""

    lr: float = setting(1e-3, "learning rate (one-cycle's peak)", gt=0.0)
    train: TrainingSettings = setting(TrainingSettings(), "the reader's own training, when it is not joint")


class Stages:
    """Calls each named stage of a forward pass: taps those asked for, replaces those that are edited.

    ``rng``, which training gives, is where a network's draws come from.
    """

    def __init__(
        self,
        tap: Sequence[str] = (),
        edit: Mapping[str, Callable[[Any], Any]] | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.tap, self.edit, self.rng = frozenset(tap), edit or {}, rng
        self.tapped: dict[str, Tensor] = {}

    def __call__(self, name: str, value: Tensor) -> Tensor:
        """``value`` of stage ``name``, edited if that was asked for."""
        if name in self.edit:
            value = self.edit[name](value)
        if name in self.tap:
            self.tapped[name] = value
        return value

    def dropout(self, value: Tensor, share: float) -> Tensor:
        """``value`` with ``share`` of its entries zeroed and the others scaled up; untouched outside of training."""
        if self.rng is None or share == 0.0:
            return value
        kept = torch.rand(value.shape, generator=torch_generator(self.rng)) >= share
        return value * kept.to(value.device) / (1.0 - share)

    def noise(self, value: Tensor, spread: float) -> Tensor:
        """``value`` plus normal noise of deviation ``spread``; untouched outside of training."""
        if self.rng is None or spread == 0.0:
            return value
        drawn = torch.randn(value.shape, generator=torch_generator(self.rng))
        return value + spread * drawn.to(value.device)


def mixed_up(
    rows: Mapping[str, Tensor], labels: Int[Tensor, " signals"], alpha: float, rng: np.random.Generator
) -> tuple[dict[str, Tensor], list[tuple[float, Int[Tensor, " signals"]]]]:
    """Mixup (Zhang et al., 2018, arXiv 1710.09412): λ x + (1 - λ) x', x' the batch in another order, λ ~ Beta(α, α).

    Returns the rows and [(λ, labels), (1 - λ, labels in that order)]: the weights of the two losses. One λ a batch.
    """
    part = float(rng.beta(alpha, alpha))
    order = torch.as_tensor(rng.permutation(len(labels))).to(labels.device)
    mixed = {name: torch.lerp(row[order], row, part) for name, row in rows.items()}
    return mixed, [(part, labels), (1.0 - part, labels[order])]


class Network(nn.Module):
    """What a classifier computes; a subclass names its ``stages`` and gives ``forward``."""

    stages: tuple[str, ...]

    def observe(self, rows: Representations) -> None:
        """Take what the network needs to know of all training rows (statistics); nothing by default."""

    def flops(self) -> float | None:
        """2 x multiply-adds of one representation's forward pass, by definition."""
        return None


class TorchClassifier:
    """A classifier of representations around a network: ``network(rows, stages) -> logits [signals, classes]``.

    The network calls ``stages(name, value)`` at each of its named stages.
    """

    def __init__(self, settings: Any, network: Network) -> None:
        self.settings = settings
        self.network = network
        self.stages = network.stages

    def refuses(self, layout: Layout) -> str | None:
        """Why this reader cannot read ``layout``; None if it can."""
        return None

    def start(self, run: Run) -> None:
        """Draw the initialisation, keyed by the run's seed."""
        init_linears(self.network, torch_generator(run.rng("reader", "initialisation")))

    def groups(self, device: str) -> Sequence[Group]:
        """All parameters, in one group."""
        self.network.to(device)
        return [Group("all", dict(self.network.named_parameters()), self.settings.lr)]

    def loss(
        self, rows: Mapping[str, Tensor], labels: Int[Tensor, " signals"], rng: np.random.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy, and the batch's accuracy to log.

        With a setting ``label_smoothing``, s, the target is 1 - s for the label, and s spread evenly over all classes.
        With a setting ``mixup`` rows and losses are those of `mixed_up`, and so is the accuracy.
        """
        smoothing = getattr(self.settings, "label_smoothing", 0.0)  # a reader without these settings: none
        alpha = getattr(self.settings, "mixup", None)
        targets = [(1.0, labels)]
        if alpha is not None:
            rows, targets = mixed_up(rows, labels, alpha, rng)
        logits = self.network(rows, Stages(rng=rng))
        told = logits.detach().argmax(1)
        losses = [part * functional.cross_entropy(logits, one, label_smoothing=smoothing) for part, one in targets]
        hits = [part * (told == one).float().mean() for part, one in targets]
        return torch.stack(losses).sum(), {"train_accuracy": torch.stack(hits).sum()}

    def train(self, data: NeuralDataSet, run: Run) -> Arrays:
        """Learn from the split "train" alone; the last step is what counts."""
        rows, labels = data.splits["train"]
        if labels is None:
            raise ValueError("the neural data set has no labels")
        self.start(run)
        self.network.observe(rows)
        groups = self.groups(run.device)
        classes = torch.as_tensor(labels.astype(np.int64)).to(run.device)
        settings: TrainingSettings = self.settings.train
        batch = batches(len(rows), settings.batch_size, run)

        def losses(step: int, precision: str = settings.precision) -> Iterator[Part]:
            index, rng = batch(step), run.rng("reader", step)
            size = micro_batch(settings.micro_batch, len(index), 0, run.device)
            for first in range(0, len(index), size):
                places = index[first : first + size]
                with mixed_precision(precision, run.device):
                    loss, logs = self.loss(self._tensors(rows.take(places), run.device), classes[places], rng)
                yield len(places) / len(index), loss, logs

        self.network.train()
        total = settings.num_steps(len(rows))
        if settings.precision == "bfloat16" and total:
            check_agreement(groups, lambda precision: losses(0, precision), run, setting="reader.train.precision")
        descend("read", groups, losses, total, settings, run)
        return self.state()

    def state(self) -> dict[str, np.ndarray]:
        """Parameters and buffers as named NumPy arrays."""
        return {name: value.detach().cpu().numpy().copy() for name, value in self.network.state_dict().items()}

    def load(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        self.network.load_state_dict({name: torch.as_tensor(np.array(array)) for name, array in state.items()})

    def facts(self) -> ReaderFacts:
        """Parameters, and multiply-adds where the network tells them."""
        return ReaderFacts(sum(p.numel() for p in self.network.parameters()), self.network.flops())

    @torch.no_grad()
    def predict(
        self,
        rows: Representations,
        run: Run,
        *,
        tap: Sequence[str] = (),
        edit: Mapping[str, Callable[[Any], Any]] | None = None,
    ) -> Arrays:
        """``logits`` [rows, classes] and the tapped stages, as NumPy arrays. Raises BadSetting for no such stage."""
        for name in [*tap, *(edit or {})]:
            if name not in self.stages:
                raise BadSetting(f"this reader has no stage {name!r}; its stages: {', '.join(self.stages)}")
        self.network.to(run.device).eval()
        parts: list[dict[str, np.ndarray]] = []
        for first in range(0, len(rows), PREDICT_ROWS):
            stages = Stages(tap, edit)
            logits = self.network(self._tensors(rows.take(slice(first, first + PREDICT_ROWS)), run.device), stages)
            parts.append({n: v.float().cpu().numpy() for n, v in {**stages.tapped, "logits": logits}.items()})
        self.network.train()
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _tensors(self, rows: Representations, device: str) -> dict[str, Tensor]:
        # arrays of another framework, or mapped from a file, may not be written to: those are copied
        owned = {name: np.require(array, requirements=("C", "W")) for name, array in rows.arrays.items()}
        return {name: torch.as_tensor(array).float().to(device) for name, array in owned.items()}
