"""Speed of functa and spatial functa against the same mathematics in plain Equinox, in one run.

The plain version (`functa_plain.py`) maps one point of one signal over points and signals, with `jnp.sin`, a gather of
each point's shifts and `jax.grad` for the inner loop. The other is what `inrbench run` does: products over all signals'
points at once, a sine that gives the cosine too, the inner gradient written out, the first step's Jacobian shared by
all signals, cells folded into signals, parts that fit a cache. Forms take turns, and a ratio is the median over the
turns. FLOPs are those that XLA counts in the compiled function; a product's pace is the best of large matrix products
in the same run. Alone:

    python benchmarks/functa_speed.py --cell functa --repeats 9
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from inrbench.backends.jax import prepare
from inrbench.backends.jax.device import device_of, resolve_device
from inrbench.runner import num_threads

sys.path.insert(0, str(Path(__file__).parent))

#: The settings that are compared, on CIFAR-10's shape.
CELLS: dict[str, dict[str, Any]] = {
    "functa": {"method": "functa", "batch": 16, "overrides": {"inr": {"latent_dim": 512}}},
    "spatial-functa": {"method": "spatial-functa", "batch": 8, "overrides": {}},
}


class Forms:
    """One setting's training and encoding, in both forms, on the same parameters and images."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        import functa_plain
        import jax

        from inrbench.backends.jax.compilation import Compiled
        from inrbench.backends.jax.training import named, num_parts
        from inrbench.cell_run import CellRun
        from inrbench.cells import resolve
        from inrbench.domains import Grid

        cell = CELLS[name]
        self.batch = options.batch or cell["batch"]
        fitter: Any = resolve(cell["method"], "cifar10", overrides=[{"reader": None}, cell["overrides"]]).build().fitter
        settings, field = fitter.settings, fitter.field
        device = device_of(options.device)
        network, rates = fitter.start(CellRun(0))
        rng = np.random.default_rng(0)
        images = rng.random((self.batch, 32 * 32, 3), dtype=np.float32)
        parameters = jax.device_put({"network": network, "rates": {"rates": rates}}, device)
        images = jax.device_put(images, device)
        domain = Grid.of(32, 32)
        parts = num_parts(None, self.batch, fitter.activation_bytes(), options.device)

        def train(parameters: Any, values: Any, parts: int = parts) -> Any:
            def loss(parameters: Any) -> Any:
                network, rates = parameters["network"], parameters["rates"]["rates"]
                return fitter.mean_error(network, rates, values, domain, {}, parts=parts)[0]

            return jax.value_and_grad(loss)(parameters)

        def encode(parameters: Any, values: Any, parts: int = parts) -> Any:
            return fitter.fitted(parameters["network"], parameters["rates"]["rates"], values, domain, {}, parts)

        spatial = field.kind == "latent-grid"
        cells = field.settings.cells if spatial else None
        places = functa_plain.image_places((32, 32), cells)
        arrays = {**named(parameters["network"]), "rates": parameters["rates"]["rates"]}
        plain = functa_plain.Plain.of(arrays, field.settings.omega_0, cells, field.settings.kernel)
        scale = settings.rate_scale
        works = {
            "training": (train, functa_plain.outer_gradients),
            "encoding": (encode, functa_plain.encode),
        }
        self.calls: dict[str, dict[str, Callable[[], Any]]] = {}
        self.flops: dict[str, dict[str, float]] = {}
        self.compile_s: dict[str, dict[str, float]] = {}
        for work, (ours, theirs) in works.items():
            start = time.perf_counter()
            fast = Compiled(ours).ready(parameters, images)
            between = time.perf_counter()
            slow = theirs.lower(plain, places, images, scale).compile()
            self.compile_s[work] = {"plain": time.perf_counter() - between, "inrbench": between - start}
            self.calls[work] = {
                "plain": lambda slow=slow: slow(plain, places, images, scale),  # type: ignore[misc]
                "inrbench": lambda fast=fast: fast(parameters, images),  # type: ignore[misc]
            }
            whole = jax.jit(functools.partial(ours, parts=1)).lower(parameters, images)  # XLA counts a loop's body once
            counted = {"plain": slow.compiled.cost_analysis(), "inrbench": whole.compile().cost_analysis()}
            self.flops[work] = {form: float(cost["flops"]) for form, cost in counted.items()}

    @staticmethod
    def compared(results: Mapping[str, Any]) -> float:
        """The largest relative difference of the two forms: of the loss, each array's gradient, or the latents."""
        from inrbench.backends.jax.training import named

        ours, plain = results["inrbench"], results["plain"]
        if not isinstance(ours, tuple):
            pairs = [(ours, plain)]
        else:
            found = named(ours[1]["network"]) | {"rates": ours[1]["rates"]["rates"]}
            pairs = [(ours[0], plain[0]), *((found[name], array) for name, array in plain[1].arrays().items())]
        return max(float(np.linalg.norm(np.subtract(a, b)) / np.linalg.norm(b)) for a, b in pairs)


def pace_of_products(device: Any) -> float:
    """The best pace of a matrix product in this run, FLOP/s."""
    import jax
    import jax.numpy as jnp

    best, product = 0.0, jax.jit(jnp.matmul)
    for size in (512, 1024, 2048):
        a, b = (jax.device_put(np.random.default_rng(i).random((size, size), np.float32), device) for i in (0, 1))
        product(a, b).block_until_ready()
        for _ in range(8):
            start = time.perf_counter()
            product(a, b).block_until_ready()
            best = max(best, 2.0 * size**3 / (time.perf_counter() - start))
    return best


def main() -> None:
    """Time the forms in turn and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", nargs="+", default=list(CELLS), choices=CELLS)
    parser.add_argument("--batch", type=int, help="images at once; 16 for functa, 8 for spatial functa")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=num_threads())
    parser.add_argument("--device", default="cpu", help="cpu, or cuda")
    options = parser.parse_args()
    options.device = resolve_device(options.device)
    prepare(options.device, options.threads)
    for name in options.cell:
        forms = Forms(name, options)
        print(f"\n{name}+cifar10, batch {forms.batch}, {options.device}, {options.threads} threads")
        for work in forms.calls:
            print(f"\n{work}\n{_table(forms, work, options)}")


def _table(forms: Forms, work: str, options: argparse.Namespace) -> str:
    import jax

    seconds: dict[str, list[float]] = {form: [] for form in forms.calls[work]}
    results: dict[str, Any] = {}
    pace = 0.0
    for repeat in range(options.repeats + 1):
        pace = max(pace, pace_of_products(device_of(options.device)))
        for form, call in forms.calls[work].items():
            start = time.perf_counter()
            results[form] = jax.block_until_ready(call())
            if repeat:  # the first one warms up
                seconds[form].append(time.perf_counter() - start)
    rows = []
    for form, spent in seconds.items():
        median = statistics.median(spent)
        ratio = statistics.median(a / b for a, b in zip(seconds["plain"], spent, strict=True))
        flops = forms.flops[work][form]
        row = [form, f"{forms.batch / median:.2f}", f"{ratio:.2f}", f"{flops / forms.batch / 1e9:.1f}"]
        row += [f"{flops / median / pace:.0%}", f"{forms.compile_s[work][form]:.0f}"]
        rows.append([*row, "–" if form == "plain" else f"{forms.compared(results):.1e}"])
    print(f"matrix product: {pace / 1e9:.0f} GFLOP/s")
    headers = ["form", "images/s", "times plain", "GFLOP an image", "of a product's pace", "compiling, s", "difference"]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


if __name__ == "__main__":
    main()
