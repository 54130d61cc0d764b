"""Rays per second of the renderer against plain PyTorch, in one run: ratios, agreement, memory.

Plain is NeRF's eq. 3 as it reads, on all rays at once: the outer product of points and frequencies, one `baddbmm` a
layer, `cumprod` of the transmittances, autograd through every sample. The other is what `inrbench run` does: chunks of
rays that stay in a CPU's cache, layers in place, transmittance by sums, and a gradient only at samples that contribute.
How much that saves depends on the scene, so there are two: a field as it is drawn, and one fitted to a solid ball in
front of a background, of which about a third of the rays see the ball. Forms take turns, and a ratio is the median over
the turns; peak memory is each form's own process. Alone:

    python benchmarks/rendering_speed.py --repeats 9
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor

from inrbench.backends.torch import prepare
from inrbench.backends.torch.rendering import render
from inrbench.memory import peak_bytes
from inrbench.registry import registry
from inrbench.runner import num_threads
from inrbench.settings import load_target
from inrbench.signals import PartSpec, SignalSpec

NEAR, FAR, BACKGROUND = 2.0, 6.0, 1.0
FORMS = ("plain", "inrbench")
WORKS = ("forward", "forward and backward")


class Scene:
    """A field with its arrays for some signals, and rays towards it."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        plugin = registry().find("inr", "nerf", backend="torch")
        settings = load_target(plugin.settings, "nerf")(width=options.width, samples=options.samples, density_bias=0.5)
        spec = SignalSpec((PartSpec("rays", (1, options.rays, 1), 3, 3),))
        self.field: Any = load_target(plugin.target, "nerf")(settings, spec)
        generator = torch.Generator().manual_seed(0)
        drawn = [self.field.init(generator) for _ in range(options.signals)]
        self.arrays = {name: torch.stack([one[name] for one in drawn]).requires_grad_() for name in drawn[0]}
        places = 2.0 * torch.rand(options.rays, 2, generator=generator) - 1.0
        self.origins = torch.tensor([0.0, 0.0, 4.0]).expand(options.rays, 3)
        self.directions = torch.cat([0.4 * places, -torch.ones(options.rays, 1)], dim=-1)
        self.weights = torch.rand(options.signals, options.rays, 3, generator=generator)
        if name == "a ball":
            self._fit_a_ball(generator)

    def _fit_a_ball(self, generator: torch.Generator) -> None:
        """Raw density 60 within the unit ball, -20 outside."""
        optimiser = torch.optim.Adam(list(self.arrays.values()), lr=1e-3, fused=True)
        for _ in range(200):
            points = 1.5 * torch.randn(1024, 3, generator=generator)
            target = torch.where(points.norm(dim=-1) < 1.0, 60.0, -20.0)
            loss = (self.field.apply(self.arrays, points)[..., 3] - target).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    def image(self, form: str) -> Tensor:
        """[signals, rays, 3]."""
        samples = self.field.num_samples
        if form == "inrbench":
            return render(self.field, self.arrays, self.origins, self.directions, NEAR, FAR, BACKGROUND, samples)
        return _plain(self.field, self.arrays, self.origins, self.directions, samples)

    def work(self, form: str, work: str) -> list[Tensor]:
        """What the work gives: the image, or each array's gradient of a weighted sum over it."""
        if work == "forward":
            with torch.no_grad():
                return [self.image(form)]
        return list(torch.autograd.grad((self.image(form) * self.weights).sum(), list(self.arrays.values())))

    def contributing(self) -> float:
        """The share of the samples with a density that is seen."""
        depths = torch.linspace(NEAR, FAR, self.field.num_samples)
        points = self.origins[:, None] + depths[:, None] * self.directions[:, None]
        with torch.no_grad():
            optical = self.field.density(self.field.apply(self.arrays, points.reshape(-1, 3)))
        optical = optical.reshape(-1, len(self.origins), len(depths)) * (depths[1] - depths[0])
        seen = torch.exp(optical - optical.cumsum(-1)) > torch.finfo(torch.float32).eps / 2
        return float(((optical > 0) & seen).float().mean())


def _plain(field: Any, arrays: dict[str, Tensor], origins: Tensor, directions: Tensor, samples: int) -> Tensor:
    depths = torch.linspace(NEAR, FAR, samples)
    points = (origins[:, None] + depths[:, None] * directions[:, None]).reshape(-1, 3)
    angles = (points[:, :, None] * field.network.angular).reshape(len(points), -1)
    hidden = torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1).expand(len(arrays["output.bias"]), -1, -1)
    for i in range(len(field.network.sizes) - 1):
        weight, bias = arrays[f"layers.{i}.weight"], arrays[f"layers.{i}.bias"]
        hidden = torch.relu(torch.baddbmm(bias[:, None], hidden, weight.mT))
    raw = torch.baddbmm(arrays["output.bias"][:, None], hidden, arrays["output.weight"].mT)
    raw = raw.reshape(-1, len(origins), samples, 4)
    steps = torch.cat([depths[1:] - depths[:-1], torch.full((1,), 1e-3)])
    alpha = 1.0 - torch.exp(-torch.relu(raw[..., 3]) * steps)
    through = torch.cumprod(torch.cat([torch.ones_like(alpha[..., :1]), 1.0 - alpha[..., :-1]], dim=-1), dim=-1)
    weights = alpha * through
    colour = (weights[..., None] * torch.sigmoid(raw[..., :3])).sum(-2)
    return colour + BACKGROUND * (1.0 - weights.sum(-1, keepdim=True))


def main() -> None:
    """Time the forms in turn and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rays", type=int, default=1024, help="of each signal")
    parser.add_argument("--signals", type=int, default=1)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=num_threads())
    parser.add_argument("--peak-of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    prepare("cpu", options.threads)
    if options.peak_of:
        form, work = options.peak_of
        scene = Scene("a fog", options)
        before = peak_bytes()
        scene.work(form, work)
        print(before, peak_bytes())
        return
    sizes = f"{options.rays} rays of {options.samples} samples, 6 layers of {options.width}"
    print(f"nerf, {options.signals} signals, {sizes}, {options.threads} threads")
    for name in ("a fog", "a ball"):
        scene = Scene(name, options)
        print(f"\n{name}: {scene.contributing():.0%} of the samples contribute")
        print(_table(scene, options, name == "a fog"))


def _table(scene: Scene, options: argparse.Namespace, with_memory: bool) -> str:
    rows = []
    for work in WORKS:
        seconds: dict[str, list[float]] = {form: [] for form in FORMS}
        results: dict[str, list[Tensor]] = {}
        for repeat in range(options.repeats + 1):
            for form in FORMS:
                start = time.perf_counter()
                results[form] = scene.work(form, work)
                if repeat:  # the first one warms up
                    seconds[form].append(time.perf_counter() - start)
        for form in FORMS:
            pairs = zip(results[form], results["plain"], strict=True)
            difference = max(float((ours - plain).norm() / plain.norm().clamp_min(1e-30)) for ours, plain in pairs)
            ratio = statistics.median(a / b for a, b in zip(seconds["plain"], seconds[form], strict=True))
            pace = options.signals * options.rays / statistics.median(seconds[form])
            row = [work, form, f"{pace:.0f}", f"{ratio:.2f}", f"{difference:.1e}"]
            rows.append(row + ([f"{_peak(options, form, work) / 2**30:.2f}"] if with_memory else []))
    headers = ["work", "form", "rays/s", "times plain", "relative difference"]
    return tabulate(rows, [*headers, *(["peak memory above the start, GiB"] if with_memory else [])], tablefmt="github")


def _peak(options: argparse.Namespace, form: str, work: str) -> int:
    """Bytes that the work needs above what is there before it, in a process of its own."""
    names = ("rays", "signals", "samples", "width", "threads")
    sizes = [text for name in names for text in (f"--{name}", str(getattr(options, name)))]
    command = [sys.executable, __file__, *sizes, "--peak-of", form, work]
    before, after = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(after) - int(before)


if __name__ == "__main__":
    main()
