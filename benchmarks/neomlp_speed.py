"""NeoMLP's training step on one clip against the same mathematics in plain PyTorch, and SIREN's, in one run.

The plain version (`neomlp_plain.py`) is batched over points: all tokens of every layer at every point, all of the batch
at once, autograd. The other is what `inrbench run` does: what points share is computed once, the last layer's queries
and feed-forward part for the output tokens alone, the gradient is written out, and some points are worked on at a time,
so that the rest stays in the cache. A step is loss, gradients and Adam's update; points are drawn and looked up outside
it. Forms take turns, and each one's rate is that of its best turn, which other work on the machine disturbs least; peak
memory is each form's own process.

    python benchmarks/neomlp_speed.py --case audio
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from inrbench_fields.settings import SirenSettings
from inrbench_fields.siren import Siren
from inrbench_neomlp.field import NeoMLP
from inrbench_neomlp.recipes import FOR_CLIP
from inrbench_neomlp.settings import NeoMLPSettings
from tabulate import tabulate
from torch import Tensor

from inrbench.backends.torch import prepare
from inrbench.backends.torch.device import resolve_device
from inrbench.backends.torch.fields import loss_and_gradient
from inrbench.memory import peak_bytes
from inrbench.runner import num_threads
from inrbench.signals import PartSpec, SignalSpec

sys.path.insert(0, str(Path(__file__).parent))

#: (the clip whose settings are the paper's, coordinates, channels, width of the paper's SIREN).
CASES = {"audio": ("bach", 1, 1, 256), "video": ("bikes", 3, 3, 1024)}
#: Turns of each form, where none is asked for: a plain step takes 0.4 and 20 s.
REPEATS = {"audio": 15, "video": 3}
FORMS = ("plain", "inrbench", "siren")
#: What the outputs (absolute) and each array's gradient (relative) may differ by.
ALLOWED = 1e-5


class Form:
    """One way to take a training step."""

    def __init__(self, name: str, case: str, batch: int, device: str) -> None:
        clip, inputs, outputs, width = CASES[case]
        spec = SignalSpec((PartSpec("grid", (1,) * inputs, inputs, outputs),))
        generator = torch.Generator().manual_seed(0)
        settings = NeoMLPSettings(**{key: value for key, value in FOR_CLIP[clip]["inr"].items() if key != "name"})
        self.device = device
        self.field: Any = NeoMLP(settings, spec)
        self.plain: Any = None
        arrays = {key: array.to(device) for key, array in self.field.init(generator).items()}
        self.coords = (2.0 * torch.rand(batch, inputs, generator=generator) - 1.0).to(device)
        self.target = (2.0 * torch.rand(1, batch, outputs, generator=generator) - 1.0).to(device)
        if name == "plain":
            from neomlp_plain import Plain

            angular = 2.0 * math.pi * torch.as_tensor(self.field.frequencies).double()
            self.plain = Plain(arrays, angular.float().to(device), settings.heads, settings.time_scale)
            self.arrays = self.plain.parameters
        else:
            if name == "siren":
                self.field = Siren(SirenSettings(width=width, depth=3), spec)
                arrays = {key: array.to(device) for key, array in self.field.init(generator).items()}
            self.arrays = {key: array[None] for key, array in arrays.items()}  # one signal, as the fitter has it
        self.optimiser = torch.optim.Adam(list(self.arrays.values()), lr=1e-4)

    def gradients(self) -> dict[str, Tensor]:
        """Of the mean squared error, to each array."""
        if self.plain is not None:
            self.optimiser.zero_grad(set_to_none=True)
            (self.plain(self.coords) - self.target[0]).square().mean().backward()
            return {name: array.grad for name, array in self.arrays.items()}
        with torch.no_grad():
            found = loss_and_gradient(self.field, self.arrays, self.coords, self.target, list(self.arrays))[1]
        for name, gradient in found.items():
            self.arrays[name].grad = gradient
        return found

    def output(self) -> Tensor:
        """At all points, [points, channels]."""
        with torch.no_grad():
            found: Tensor = (
                self.field.apply(self.arrays, self.coords)[0] if self.plain is None else self.plain(self.coords)
            )
            return found

    def step(self) -> None:
        """A whole training step."""
        self.gradients()
        self.optimiser.step()
        if self.device != "cpu":
            torch.cuda.synchronize()


def agreement(ours: Form, plain: Form) -> tuple[float, float]:
    """(largest difference of an output, largest relative difference of an array's gradient)."""
    gradients, reference = ours.gradients(), plain.gradients()
    apart = [float((gradients[name][0] - other).norm() / other.norm()) for name, other in reference.items()]
    return float((ours.output() - plain.output()).abs().max()), max(apart)


def compare(case: str, options: argparse.Namespace) -> bool:
    """Print the table of one case; whether both versions agree."""
    forms = {name: Form(name, case, options.batch, options.device) for name in FORMS}
    counted = sum(array.numel() for array in forms["plain"].arrays.values())
    flops = forms["plain"].field.flops(1)
    print(f"\n{case}: {counted:,} parameters, {flops / 2:,.0f} multiply-adds a point; ", end="")
    print(f"batch {options.batch} points, {options.threads} threads")
    output, gradient = agreement(forms["inrbench"], forms["plain"])
    print(f"outputs differ by at most {output:.0e}, the gradient of an array by {gradient:.0e} of it")
    best = dict.fromkeys(FORMS, math.inf)
    for _ in range((options.repeats or REPEATS[case]) + 1):  # the first one warms up, and is never the best
        for name, form in forms.items():
            start = time.perf_counter()
            form.step()
            best[name] = min(best[name], time.perf_counter() - start)
    rows = []
    for name in FORMS:
        rows.append([name, f"{options.batch / best[name]:,.0f}", f"{best['plain'] / best[name]:.2f}"])
        if options.device == "cpu":
            rows[-1].append(f"{peak(name, case, options) / 2**20:,.0f}")
    memory = ["peak memory above the start, MiB"] if options.device == "cpu" else []
    print(tabulate(rows, ["form", "points/s", "times plain", *memory], tablefmt="github", disable_numparse=True))
    return max(output, gradient) <= ALLOWED


def peak(name: str, case: str, options: argparse.Namespace) -> int:
    """Bytes that a training step needs above what is there before it, in a process of its own."""
    command = [sys.executable, __file__, "--peak-of", name, "--case", case, "--batch", str(options.batch)]
    command += ["--threads", str(options.threads)]
    before, after = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(after) - int(before)


def main() -> None:
    """Time the forms in turn and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=CASES, default=[*CASES])
    parser.add_argument("--batch", type=int, default=4096, help="points in a step")
    parser.add_argument("--repeats", type=int, help=f"turns of each form; if not given {REPEATS}")
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
    agreed = [compare(case, options) for case in options.case]
    if not all(agreed):
        sys.exit(f"the two versions differ by more than {ALLOWED}")


if __name__ == "__main__":
    main()
