"""Trans-INR's training step on images against the same mathematics in plain PyTorch, in one run.

The plain version (`trans_inr_plain.py`) is batched over signals: attention as a softmax of all scores, every block for
all tokens, each signal's coordinates encoded at every step, an einsum with a column for the bias in each layer of the
field, autograd, and Adam as PyTorch's default runs it. The other is what `inrbench run` does: fused attention and Adam,
the last block for the weight tokens alone, the field's gradient summed over chunks of rows that stay in the cache, its
first layer for rows and columns apart; bfloat16 computes large products in it. A step is loss, gradients and the
optimiser's update. Forms take turns, and a ratio is the median over the turns; peak memory is each form's own process.

In float32 the gradients of both versions differ by more than rounding: where the input of a ReLU is 0 up to rounding
its derivative is either 0 or 1. The line before each table compares them in float64. Alone:

    python benchmarks/trans_inr_speed.py --case paper --batch 2 --repeats 9
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor

from inrbench.backends.torch import prepare
from inrbench.backends.torch.device import resolve_device
from inrbench.backends.torch.fields import coords_of
from inrbench.backends.torch.observed import GridOfSignals
from inrbench.backends.torch.precision import mixed_precision
from inrbench.backends.torch.training import micro_batch
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.memory import peak_bytes
from inrbench.runner import num_threads

sys.path.insert(0, str(Path(__file__).parent))

#: The method's settings on a data set, of which nothing but the shape is used, and images in a batch.
CASES = {"paper": ("imagenette", 2), "32x32": ("cifar10", 4)}
FORMS = ("plain", "inrbench", "inrbench, bfloat16")


class Form:
    """One way to compute the same training step."""

    def __init__(self, name: str, case: str, batch: int, device: str, dtype: torch.dtype = torch.float32) -> None:
        from trans_inr_plain import Plain

        self.name, self.device, self.batch = name, device, batch
        fitter: Any = resolve("trans-inr", CASES[case][0]).build().fitter
        fitter.start(CellRun(0))
        self.images = torch.rand(batch, *fitter.shape, 3, generator=torch.Generator().manual_seed(0)).to(device, dtype)
        coords = coords_of(fitter.grid, device).to(dtype)
        if name == "plain":
            fitter.network.to(dtype)
            settings = fitter.settings
            self.plain = Plain(fitter.state(), settings.patch, settings.pad, settings.heads, device)
            self.coords = coords.reshape(*fitter.shape, 2)
            self.parameters = self.plain.parameters
            self.optimiser: Any = torch.optim.Adam(list(self.parameters.values()), lr=settings.lr)
        else:
            self.fitter = fitter
            fitter.network.to(dtype)
            (group,) = fitter.groups(device)
            self.parameters = dict(group.parameters)
            self.optimiser = torch.optim.AdamW(self.parameters.values(), lr=group.lr, weight_decay=0.0, fused=True)
            values = self.images.reshape(batch, -1, 3)
            self.observed = GridOfSignals(torch.arange(batch).numpy(), coords, values, lambda one: CellRun(0).rng(one))
            self.size = micro_batch(None, batch, fitter.activation_bytes(), device)

    def gradients(self) -> float:
        """The loss; its gradients are in the parameters."""
        self.optimiser.zero_grad(set_to_none=True)
        if self.name == "plain":
            loss = self.plain.loss(self.images, self.coords)
            loss.backward()
            return float(loss.detach())
        whole, precision = 0.0, "bfloat16" if self.name.endswith("bfloat16") else "float32"
        for first in range(0, self.batch, self.size):
            part = self.observed.part(first, min(first + self.size, self.batch))
            with mixed_precision(precision, self.device):
                loss, _, _ = self.fitter.loss(part)
            share = len(part) / self.batch
            (share * loss).backward()
            whole += share * float(loss.detach())
        return whole

    def step(self) -> None:
        """A whole training step."""
        self.gradients()
        self.optimiser.step()
        if self.device != "cpu":
            torch.cuda.synchronize()

    def found(self) -> tuple[float, Tensor]:
        """(the loss, all gradients)."""
        loss = self.gradients()
        return loss, torch.cat([parameter.grad.flatten() for parameter in self.parameters.values()])


def agreement(ours: Form, plain: Form) -> tuple[float, float]:
    """Relative differences of the losses and of the whole gradients."""
    (loss, gradient), (other, reference) = ours.found(), plain.found()
    return abs(loss - other) / other, float((gradient - reference).norm() / reference.norm())


def compare(case: str, batch: int, options: argparse.Namespace) -> None:
    """Print the table of one case."""
    forms = {name: Form(name, case, batch, options.device) for name in FORMS}
    fitter = forms["inrbench"].fitter
    sides = " x ".join(map(str, fitter.shape))
    flops = fitter.facts().train_flops
    print(f"\n{case}: {sides} images, batch {batch}, {options.threads} threads, {flops / 1e9:.0f} GFLOP an image")
    double = [Form(name, case, 1, options.device, torch.float64) for name in ("inrbench", "plain")]
    print("in float64 the loss differs by {:.0e}, the gradient by {:.0e}".format(*agreement(*double)))
    differences = {name: agreement(forms[name], forms["plain"]) for name in FORMS}
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for repeat in range(options.repeats + 1):
        for name, form in forms.items():
            start = time.perf_counter()
            form.step()
            if repeat:  # the first one warms up
                seconds[name].append(time.perf_counter() - start)
    rows = []
    for name in forms:
        ratio = statistics.median(a / b for a, b in zip(seconds["plain"], seconds[name], strict=True))
        rate = f"{batch / statistics.median(seconds[name]):.2f}"
        rows.append([name, rate, f"{ratio:.2f}", *(f"{part:.0e}" for part in differences[name])])
        if options.device == "cpu":
            rows[-1].append(f"{peak(name, case, batch, options.threads) / 2**30:.2f}")
    memory = ["peak memory above the start, GiB"] if options.device == "cpu" else []
    headers = ["form", "images/s", "times plain", "difference of the loss", "of the gradient", *memory]
    print(tabulate(rows, headers, tablefmt="github", disable_numparse=True))


def peak(name: str, case: str, batch: int, threads: int) -> int:
    """Bytes that a training step needs above what is there before it, in a process of its own."""
    command = [sys.executable, __file__, "--peak-of", name, "--case", case, "--batch", str(batch)]
    shown = subprocess.run([*command, "--threads", str(threads)], check=True, capture_output=True, text=True).stdout
    before, after = shown.split()
    return int(after) - int(before)


def main() -> None:
    """Time the forms in turn and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=CASES, default=[*CASES])
    parser.add_argument("--batch", type=int, help="images in a step; by default as few as a CPU has time for")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=num_threads())
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    parser.add_argument("--peak-of", choices=FORMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.device = resolve_device(options.device)
    prepare(options.device, options.threads)
    if options.peak_of:
        form = Form(options.peak_of, options.case[0], options.batch, "cpu")
        before = peak_bytes()
        form.step()
        print(before, peak_bytes())
        return
    for case in options.case:
        compare(case, options.batch or CASES[case][1], options)


if __name__ == "__main__":
    main()
