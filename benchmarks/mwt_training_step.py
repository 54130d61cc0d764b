"""MWT's training step and fitting against plain PyTorch in the same run: ratios, and how well the gradients agree.

Plain is the same functional form, batched, with `torch.baddbmm` and `torch.sin` and PyTorch's own derivatives of both;
ours keeps sine beside cosine and every gradient contiguous. Run it with `nox -s benchmarks`, or alone:

    python benchmarks/mwt_training_step.py --width 64 --steps 4 --repeats 5
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping

import torch
from inrbench_fields import siren
from inrbench_mwt.meta_sgd import MetaSGD, adapt
from torch import Tensor

from inrbench.backends.torch import prepare
from inrbench.backends.torch.fields import coords_of
from inrbench.backends.torch.joint import scale_gradient
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.domains import Grid
from inrbench.memory import peak_bytes, reset_peak
from inrbench.runner import num_threads

BATCH = 16


def plain_linear(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The linear map as PyTorch differentiates it."""
    return torch.baddbmm(bias[:, None], inputs, weight.mT)


def main() -> None:
    """Time both forms in turn and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar10", help="mnist or cifar10: shapes alone, no data is read")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    prepare("cpu", num_threads())

    settings = {
        "inr": {"width": options.width},
        "fitter": {"steps": options.steps},
        "reader": {"blocks": options.blocks},
    }
    built = resolve("mwt", options.dataset, overrides=[settings]).build()
    fitter, reader, run = built.fitter, built.reader, CellRun(0)
    assert isinstance(fitter, MetaSGD)
    fitter.start(run)
    reader.start(run)
    parameters = [p for part in (fitter, reader) for group in part.groups("cpu") for p in group.parameters.values()]
    shape, channels = built.spec.parts[0].shape, built.spec.channels
    coords = coords_of(Grid.of(*shape), "cpu")
    values = torch.rand(BATCH, coords.shape[0], channels, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(BATCH) % 10

    def train() -> list[Tensor]:
        loss, rows, _ = fitter.loss(values, coords, run.rng("step"))
        head, _ = reader.loss({name: scale_gradient(row, 0.01) for name, row in rows.items()}, labels, run.rng("step"))
        return list(torch.autograd.grad(loss + head, parameters))

    def fit() -> list[Tensor]:
        with torch.no_grad():
            arguments = (fitter.field, fitter.theta, fitter.shared, fitter.rates, 2 * values - 1, coords, options.steps)
            return list(adapt(*arguments, differentiable=False).values())

    forms: Mapping[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
        "plain": (plain_linear, torch.sin),
        "ours": (siren.batched_linear, siren.sine),
    }
    print(
        f"{options.dataset}, width {options.width}, k = {options.steps}, batch {BATCH}, {num_threads()} threads, fp32"
    )
    for title, work in (("training step", train), ("fitting", fit)):
        seconds: dict[str, list[float]] = {name: [] for name in forms}
        results: dict[str, list[Tensor]] = {}
        peaks: dict[str, int] = {}
        for repeat in range(options.repeats + 1):
            for name, (linear, sine) in forms.items():
                siren.batched_linear, siren.sine = linear, sine
                reset_peak()
                start = time.perf_counter()
                results[name] = work()
                if repeat:  # the first one warms up
                    seconds[name].append(time.perf_counter() - start)
                peaks[name] = peak_bytes()
        pace = {name: BATCH / statistics.median(values) for name, values in seconds.items()}
        worst = max(
            float((ours - plain).norm() / plain.norm().clamp_min(1e-30))
            for ours, plain in zip(results["ours"], results["plain"], strict=True)
        )
        print(
            f"{title}: plain {pace['plain']:.1f} images/s ({peaks['plain'] / 2**30:.2f} GiB), "
            f"ours {pace['ours']:.1f} images/s ({peaks['ours'] / 2**30:.2f} GiB), "
            f"{pace['ours'] / pace['plain']:.2f} times; largest relative difference {worst:.1e}"
        )


if __name__ == "__main__":
    main()
