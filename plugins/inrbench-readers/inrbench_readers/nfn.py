"""Neural functional networks on a field's weights (Zhou et al., 2023, arXiv 2302.14040), made of the package ``nfn``.

NF-layers with ReLU behind each, the mean over neurons, three linear layers with ReLU between them. NFN-NP takes the
neurons of every layer as interchangeable, the field's inputs and outputs too; NFN-HNP the hidden neurons alone.

They are the baselines of Table 5 of MWT (Gielisse and van Gemert, 2025, arXiv 2503.18123). Its text has two linear
layers behind the pooling; three, of the field's width, give the counts of its public code exactly, which leave no room
for the package's norms, encodings and statistics. They do not tell the ReLU, which is that of the package's examples.
As in MWT's code the rows are scaled by λ without an offset, and the first and the last layer are zeros
(``hidden_only``). Its last layer has 3 outputs whatever the data; here it has as many as the field has channels. That
changes nothing in NFN-NP's count, and NFN-HNP's is the code's at 3 channels.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from nfn.common import ArraySpec, NetworkSpec, WeightSpaceFeatures  # type: ignore[import-untyped]
from nfn.layers import (  # type: ignore[import-untyped]
    FlattenWeights,
    HNPLinear,
    HNPPool,
    NPLinear,
    NPPool,
    UnflattenWeights,
)
from torch import Tensor, nn

from inrbench.backends.torch.draws import init_linears, torch_generator
from inrbench.backends.torch.reading import Network, Stages, TorchClassifier
from inrbench.interfaces import Run
from inrbench.representations import Arrays, Layout, Representations
from inrbench.signals import SignalSpec
from inrbench_readers.settings import NFNSettings

__all__ = ["HNPReader", "NFNReader", "NPReader", "NeuralFunctional", "init_nf_layer"]

#: Rows that are read at once in evaluation: at width 128 a stage's features take 17 MB a row.
PREDICT_ROWS = 32
#: On a CPU a batch is computed in pieces whose largest array has this size. Larger arrays get fresh pages from the
#: system each time: at width 128 a batch of 16 in one piece takes several times as long.
PIECE_BYTES = 2**24
#: Ends of the names of maps whose results are added to those of the map without it.
_ADDED = re.compile(r"_(r|c|rc|cpt|cbdcst)$")

PARTS = ("weight", "bias")
Slots = Mapping[str, tuple[int, int]]


class NeuralFunctional(Network):
    """NF-layers, the mean over neurons, linear layers.

    ``slots`` are the field's layers, ``layers.0`` to ``output``, with the shapes [out, in] of their weights; those not
    in ``read``, and arrays that the rows lack, are zeros. The stages ``weights`` (before λ) and ``layer.*`` are
    [signals, values, channels], the values being those of W_0, b_0, W_1, ...; ``pooled`` is [signals, channels · means]
    with the means of one channel together.
    """

    def __init__(
        self,
        settings: NFNSettings,
        slots: Slots,
        read: Sequence[str],
        nf_layer: Callable[..., nn.Module],
        nf_pool: Any,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.slots, self.read, self.weight_scale = slots, read, settings.weight_scale
        shapes = list(slots.values())
        spec = NetworkSpec([ArraySpec(shape) for shape in shapes], [ArraySpec(shape[:1]) for shape in shapes])
        sizes = [1, *[settings.channels] * settings.layers]
        self.layers = nn.ModuleList(nf_layer(spec, a, b) for a, b in itertools.pairwise(sizes))
        self.pool = nf_pool(spec)
        self.flatten, self.unflatten = FlattenWeights(spec), UnflattenWeights(spec)
        width = settings.width or shapes[-1][1]
        sizes = [settings.channels * nf_pool.get_num_outs(spec), width, width, num_classes]
        self.classifier = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.piece_rows = max(1, PIECE_BYTES // (4 * settings.channels * max(a * b for a, b in shapes)))
        inside = (f"layer.{i}" for i in range(settings.layers))
        self.stages = ("weights", *inside, "pooled", "hidden.0", "hidden.1", "logits")

    def forward(self, rows: Mapping[str, Tensor], stages: Stages) -> Float[Tensor, "signals classes"]:
        """Logits of a batch."""
        pieces = self._staged("weights", self._pieces(rows), stages)
        pieces = [piece * self.weight_scale for piece in pieces]
        for i, layer in enumerate(self.layers):
            pieces = [layer(piece).map(torch.relu_) for piece in pieces]  # in place: one array less
            pieces = self._staged(f"layer.{i}", pieces, stages)
        hidden = stages("pooled", torch.cat([self.pool(piece) for piece in pieces]).flatten(1))
        for i, linear in enumerate(self.classifier[:-1]):
            hidden = stages(f"hidden.{i}", torch.relu(linear(hidden)))
        return stages("logits", self.classifier[-1](hidden))

    def flops(self) -> float:
        """2 x multiply-adds of the linear maps; one whose result is broadcast counts as often as it is computed."""
        total = sum(linear.weight.numel() for linear in self.classifier if isinstance(linear, nn.Linear))
        shapes = list(self.slots.values())
        for layer in self.layers:
            total += sum(part.weight.numel() * _places(name, part, shapes) for name, part in _maps(layer))
        return 2.0 * total

    def _pieces(self, rows: Mapping[str, Tensor]) -> list[Any]:
        """The batch as features of one channel, in pieces of signals."""
        like = next(iter(rows.values()))

        def arrays(part: str) -> list[Tensor]:
            found = []
            for slot, shape in self.slots.items():
                row = rows.get(f"{slot}.{part}") if slot in self.read else None
                empty = (len(like), *(shape if part == "weight" else shape[:1]))
                found.append((like.new_zeros(empty) if row is None else row).unsqueeze(1))
            return found

        size = self.piece_rows if like.device.type == "cpu" else len(like)
        weights, biases = (zip(*(torch.split(a, size) for a in arrays(part)), strict=True) for part in PARTS)
        return [WeightSpaceFeatures(*piece) for piece in zip(weights, biases, strict=True)]

    def _staged(self, name: str, pieces: list[Any], stages: Stages) -> list[Any]:
        """``pieces`` through the stage ``name``, put together only where it is tapped or edited."""
        if name not in stages.tap and name not in stages.edit:
            return pieces
        whole = stages(name, torch.cat([self.flatten(piece) for piece in pieces]))
        sizes = [len(piece.biases[0]) for piece in pieces]
        return [self.unflatten(piece) for piece in torch.split(whole, sizes)]


class NFNReader(TorchClassifier):
    """Reads ``weights`` of a field that is a chain of linear layers; a subclass names the NF-layer and its pooling."""

    nf_layer: Callable[..., nn.Module]
    nf_pool: Any
    network: NeuralFunctional

    def __init__(self, settings: NFNSettings, layout: Layout, spec: SignalSpec) -> None:
        self.problem = _problem(settings, layout, spec)
        slots = _slots(layout, spec) if self.problem is None else {"layers.0": (1, 1), "output": (1, 1)}
        read = list(slots)[1:-1] if settings.hidden_only else list(slots)
        classes = spec.num_classes or 1
        super().__init__(settings, NeuralFunctional(settings, slots, read, self.nf_layer, self.nf_pool, classes))

    def refuses(self, layout: Layout) -> str | None:
        """Needs classes, and a chain of layers with a hidden one."""
        return self.problem

    def start(self, run: Run) -> None:
        """Draw the NF-layers as their package does and the linear layers as PyTorch does, keyed by the run's seed."""
        generator = torch_generator(run.rng("reader", "initialisation"))
        for layer in self.network.layers:
            init_nf_layer(layer, generator)
        init_linears(self.network.classifier, generator)

    def predict(
        self,
        rows: Representations,
        run: Run,
        *,
        tap: Sequence[str] = (),
        edit: Mapping[str, Callable[[Any], Any]] | None = None,
    ) -> Arrays:
        """As TorchClassifier's, on fewer rows at once."""
        firsts = range(0, len(rows), PREDICT_ROWS)
        shards = [rows.take(slice(first, first + PREDICT_ROWS)) for first in firsts]
        found = [TorchClassifier.predict(self, shard, run, tap=tap, edit=edit) for shard in shards]
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


class NPReader(NFNReader):
    """NFN-NP."""

    nf_layer, nf_pool = NPLinear, NPPool


class HNPReader(NFNReader):
    """NFN-HNP."""

    nf_layer, nf_pool = HNPLinear, HNPPool


@torch.no_grad()
def init_nf_layer(layer: nn.Module, generator: torch.Generator) -> None:
    """Draw an NF-layer anew as its package does: uniform in ±1/√n, n being the inputs of all maps that are added up.

    The two maps that make NFN-HNP's first weights are an exception of the package: each counts its own inputs alone.
    """
    added: dict[str, list[nn.Linear | nn.Conv1d | nn.Conv2d]] = {}
    for name, part in _maps(layer):
        added.setdefault(_ADDED.sub("", name), []).append(part)
    for parts in added.values():
        bound = 1.0 / math.sqrt(sum(part.weight[0].numel() for part in parts))
        for part in parts:
            for parameter in part.parameters():
                parameter.uniform_(-bound, bound, generator=generator)


def _maps(layer: nn.Module) -> list[tuple[str, nn.Linear | nn.Conv1d | nn.Conv2d]]:
    return [(n, part) for n, part in layer.named_children() if isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d)]


def _places(name: str, part: nn.Module, shapes: Sequence[tuple[int, int]]) -> int:
    """How often an NF-layer applies a map: at each entry, column or row of a matrix, or once."""
    if isinstance(part, nn.Linear):
        return 1
    index = {"w0_rpt": 0, "wfin_cpt": -1}.get(name)
    fan_out, fan_in = shapes[int(name.split("_")[1]) if index is None else index]
    if isinstance(part, nn.Conv2d):
        return fan_out * fan_in
    return fan_in if name.endswith("_r") or name == "wfin_cpt" else fan_out


def _layer_names(layout: Layout) -> list[str]:
    names = (f"layers.{i}" for i in itertools.count())
    return list(itertools.takewhile(lambda name: f"{name}.weight" in layout.shapes, names))


def _slots(layout: Layout, spec: SignalSpec) -> dict[str, tuple[int, int]]:
    """The field's layers with their weights' shapes; the output's, which rows may lack, follows from the signals."""
    slots = {}
    for name in _layer_names(layout):
        fan_out, fan_in = layout.shapes[f"{name}.weight"]
        slots[name] = (fan_out, fan_in)
    return slots | {"output": (spec.channels, fan_out)}


def _problem(settings: NFNSettings, layout: Layout, spec: SignalSpec) -> str | None:
    shapes, names = layout.shapes, _layer_names(layout)
    if spec.num_classes is None:
        return "the data set has no classes"
    if len(names) < 2:
        return f"the field has no hidden layers layers.1.weight, ...; it has {', '.join(shapes)}"
    for name in names:
        if len(shapes[f"{name}.weight"]) != 2:
            return f"{name}.weight must be a matrix; it is {shapes[f'{name}.weight']}"
    slots = _slots(layout, spec)
    wanted: dict[str, tuple[int, ...]] = {}
    fan_in = slots["layers.0"][1]
    for name, (fan_out, _) in slots.items():
        wanted |= {f"{name}.weight": (fan_out, fan_in), f"{name}.bias": (fan_out,)}
        fan_in = fan_out
    ignored = "output." if settings.hidden_only else "none."
    stray = [name for name in shapes if name not in wanted and not name.startswith(ignored)]
    if stray:
        return f"the field must be a chain of weights and biases {', '.join(slots)}; it also has {', '.join(stray)}"
    for name, shape in wanted.items():
        absent = name not in shapes
        if name.startswith("output.") and (absent or settings.hidden_only):
            continue
        if absent or tuple(shapes[name]) != shape:
            return f"in a chain {name} must be {shape}; it is {'absent' if absent else shapes[name]}"
    return None
