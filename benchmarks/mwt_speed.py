"""MWT's training step and evaluation against plain PyTorch, in one run: ratios, agreement, memory, share of the peak.

Plain is the same functional form, batched over signals, with one `baddbmm` a layer, PyTorch's fused attention, and
autograd for the inner gradient and what is behind it, on the whole batch at once. Written out is what `inrbench run`
does: the field's own gradient and Hessian product, in micro-batches; compiled is the same with `fitter.compile`, which
compiles both and the reader's blocks; recompute keeps nothing of the inner steps; bfloat16 computes large products in
it. Forms take turns, and a ratio is the median over the turns; peak memory is each
form's own process. A product's pace is the best of large matrix products in the same run. Alone:

    python benchmarks/mwt_speed.py --dataset cifar10 --repeats 9
"""

from __future__ import annotations

import argparse
import functools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor

from inrbench.backends.torch import prepare
from inrbench.backends.torch.compiled import compilation
from inrbench.backends.torch.fields import coords_of
from inrbench.backends.torch.joint import scale_gradient
from inrbench.backends.torch.observed import GridOfSignals
from inrbench.backends.torch.precision import mixed_precision
from inrbench.backends.torch.training import micro_batch
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.domains import Grid
from inrbench.memory import peak_bytes
from inrbench.metrics import squared_error
from inrbench.runner import num_threads
from inrbench.signals import GridSignals

BATCH = 16
FORMS = {
    "plain": {},
    "written out": {},
    "written out, compiled": {"fitter": {"compile": True}},
    "written out, recompute": {"fitter": {"recompute": True}},
    "written out, bfloat16": {"fitter": {"fit_precision": "bfloat16", "train": {"precision": "bfloat16"}}},
}


class Plain:
    """A field without a gradient of its own, which leaves differentiating to autograd."""

    def __init__(self, field: Any) -> None:
        self.to_unit, self.init, self.apply = field.to_unit, field.init, field.apply
        self.convention, self.flops = field.convention, field.flops


class Form:
    """One way to compute the same training step and the same evaluation."""

    def __init__(self, name: str, dataset: str, options: argparse.Namespace) -> None:
        self.name, self.run = name, CellRun(0)
        settings = {"inr": {"width": options.width}, "fitter": {"steps": options.steps, "shard": BATCH}}
        self.built = resolve("mwt", dataset, overrides=[settings, FORMS[name]]).build()
        self.fitter: Any = self.built.fitter
        self.reader: Any = self.built.reader
        self.bfloat16 = self.fitter.settings.fit_precision
        if name == "plain":
            self.fitter.field = Plain(self.fitter.field)
            self.fitter.activation_bytes = lambda: 1  # the whole batch at once
        self.fitter.start(self.run)
        self.reader.start(self.run)
        self.groups = [*self.fitter.groups("cpu"), *self.reader.groups("cpu")]
        shape, channels = self.built.spec.parts[0].shape, self.built.spec.channels
        values = np.random.default_rng(0).integers(0, 256, (BATCH, *shape, channels), dtype=np.uint8)
        self.signals = GridSignals(values, np.arange(BATCH) % 10)
        self.coords = coords_of(Grid.of(*shape), "cpu")
        self.values = torch.as_tensor(values).float().div(255).reshape(BATCH, -1, channels)

    def train(self) -> list[Tensor]:
        """The gradients of one step, by group: field, rates, reader."""
        for group in self.groups:
            for parameter in group.parameters.values():
                parameter.grad = None
        with compilation(self.fitter.settings.compile):
            for share, loss in self._parts():
                (share * loss).backward()
        return [torch.cat([p.grad.flatten() for p in group.parameters.values()]) for group in self.groups]

    def _parts(self) -> Iterator[tuple[float, Tensor]]:
        observed = GridOfSignals(self.signals.ids, self.coords, self.values, lambda one: self.run.rng("points", one))
        labels = torch.arange(BATCH) % 10
        size = micro_batch(None, BATCH, self.fitter.activation_bytes(), "cpu")
        for first in range(0, BATCH, size):
            with mixed_precision(self.bfloat16, "cpu"):
                loss, rows, _ = self.fitter.loss(observed.part(first, first + size))
                seen = {name: scale_gradient(row, 0.01) for name, row in rows.items()}
                these = labels[first : first + size]
                head, _ = self.reader.loss(seen, these, self.run.rng("step"))
            yield len(these) / BATCH, loss + head

    def evaluate(self) -> list[Tensor]:
        """Fit, reconstruct and read a batch: the values and the logits."""
        (rows,) = self.fitter.fit(self.signals.unlabelled(), self.run)
        (values,) = self.fitter.query(rows, self.signals.domain, self.run)
        squared_error(values, self.values.numpy().reshape(values.shape))
        return [torch.as_tensor(values), torch.as_tensor(self.reader.predict(rows, self.run)["logits"])]


def peak_flops(dtype: torch.dtype) -> float:
    """The best pace of a matrix product in this run, FLOP/s."""
    best = 0.0
    for size in (512, 1024, 2048):
        a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
        for _ in range(8):
            start = time.perf_counter()
            a @ b
            best = max(best, 2.0 * size**3 / (time.perf_counter() - start))
    return best


def main() -> None:
    """Time the forms in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--dataset", nargs="+", default=["cifar10", "mnist"], help="their shapes alone, no data is read"
    )
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--steps", type=int, default=6, help="inner steps k")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=num_threads())
    parser.add_argument("--peak-of", choices=FORMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    prepare("cpu", options.threads)
    if options.peak_of:
        form = Form(options.peak_of, options.dataset[0], options)
        before = peak_bytes()
        form.train()
        print(before, peak_bytes())
        return
    for dataset in options.dataset:
        _compare(dataset, options)


def _compare(dataset: str, options: argparse.Namespace) -> None:
    forms = {name: Form(name, dataset, options) for name in FORMS}
    training, fitting = forms["plain"].fitter.facts(), forms["plain"].reader.facts()
    flops = {"training": training.train_flops + 3 * fitting.flops, "evaluation": training.fit_flops + fitting.flops}
    sizes = f"width {options.width}, k = {options.steps}, batch {BATCH}"
    print(f"\nmwt+{dataset}, {sizes}, {options.threads} threads")
    paces = {"float32": peak_flops(torch.float32), "bfloat16": peak_flops(torch.bfloat16)}
    for precision, pace in paces.items():
        print(f"matrix product in {precision}: {pace / 1e9:.0f} GFLOP/s")
    for title, work in (("training", Form.train), ("evaluation", Form.evaluate)):
        print(f"\n{title}: {flops[title] / 1e9:.1f} GFLOP an image by definition")
        peak = functools.partial(_peak, dataset, options) if title == "training" else None
        print(_table(forms, work, flops[title], paces, options.repeats, peak))


def _table(
    forms: dict[str, Form],
    work: Callable[[Form], list[Tensor]],
    flops: float,
    paces: dict[str, float],
    repeats: int,
    peak: Callable[[str], int] | None,
) -> str:
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    results: dict[str, list[Tensor]] = {}
    for repeat in range(repeats + 1):
        for name, form in forms.items():
            start = time.perf_counter()
            results[name] = work(form)
            if repeat:  # the first one warms up
                seconds[name].append(time.perf_counter() - start)
    rows = []
    for name, form in forms.items():
        median = statistics.median(seconds[name])
        differences = [
            float((ours - plain).norm() / plain.norm().clamp_min(1e-30))
            for ours, plain in zip(results[name], results["plain"], strict=True)
        ]
        ratio = statistics.median(a / b for a, b in zip(seconds["plain"], seconds[name], strict=True))
        row = [name, f"{BATCH / median:.1f}", f"{ratio:.2f}"]
        row += [f"{BATCH / median * flops / paces[form.bfloat16]:.0%}", f"{max(differences):.1e}"]
        rows.append(row + ([f"{peak(name) / 2**30:.2f}"] if peak else []))
    headers = ["form", "images/s", "times plain", "of the product's pace", "largest relative difference"]
    return tabulate(rows, [*headers, *(["peak memory above the start, GiB"] if peak else [])], tablefmt="github")


def _peak(dataset: str, options: argparse.Namespace, name: str) -> int:
    """Bytes that a training step needs above what is there before it, in a process of its own."""
    sizes = ["--dataset", dataset, "--width", str(options.width), "--steps", str(options.steps)]
    command = [sys.executable, __file__, *sizes, "--threads", str(options.threads), "--peak-of", name]
    before, after = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(after) - int(before)


if __name__ == "__main__":
    main()
