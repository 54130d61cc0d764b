"""Sine and cosine in JAX on a CPU: `inrbench.backends.jax.sine` against `jax.numpy`, nanoseconds an element.

Arguments are normal with standard deviation `scale`: those of a SIREN's layers reach some tens, where XLA's own sine
has left its fast path. Each number of threads has its own process, since XLA starts its threads once.

    python benchmarks/jax_sine.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tabulate import tabulate

from inrbench.backends.jax.device import prepare
from inrbench.backends.jax.sine import sin, sin_cos

SCALES = (0.1, 1.0, 30.0, 1000.0)
ELEMENTS, CALLS, REPEATS = 2**17, 20, 9  # input and two outputs fit into a CPU's second or third cache


def nanoseconds(function: Callable[[Any], Any], x: Any) -> float:
    """The best of REPEATS means over CALLS calls, compiled, per element."""
    compiled = jax.jit(function)
    jax.block_until_ready(compiled(x))  # type: ignore[no-untyped-call]
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in range(CALLS):
            result = compiled(x)
        jax.block_until_ready(result)  # type: ignore[no-untyped-call]
        best = min(best, time.perf_counter() - start)
    return 1e9 * best / CALLS / ELEMENTS


def measure(threads: int) -> None:
    """Print one table, with what every function shares: reading the argument and writing the results."""
    functions: dict[str, Callable[[Any], Any]] = {
        "jnp.sin": jnp.sin,
        "sin": sin,
        "jnp.sin, jnp.cos": lambda x: (jnp.sin(x), jnp.cos(x)),
        "sin_cos": sin_cos,
        "x + 1, x - 1": lambda x: (x + 1.0, x - 1.0),
    }
    rows = []
    for scale in SCALES:
        x = jnp.asarray(scale * np.random.default_rng(0).standard_normal(ELEMENTS), jnp.float32)
        rows.append([scale, *(nanoseconds(function, x) for function in functions.values())])
    print(f"\nns an element, {threads} thread(s)\n")
    print(tabulate(rows, ["scale", *functions], tablefmt="github", floatfmt=".2f"))


def main() -> None:
    """One thread, then two."""
    if len(sys.argv) > 1:
        threads = int(sys.argv[1])
        prepare("cpu", threads)
        measure(threads)
        return
    for threads in (1, 2):
        subprocess.run([sys.executable, __file__, str(threads)], check=True)


if __name__ == "__main__":
    main()
