"""The framework's own share of a run: its wall time outside of the method's computations.

A cell runs as `inrbench run` runs it. What counts as the method's: its losses, the weight of the reader's gradient,
backward passes, clipping, optimiser steps, inner loops, queries and predictions. All else is the framework's: planning,
checks, keyed draws, batches, progress, logs, checkpoints, metrics and records. Loading PyTorch is told apart. Ten
minutes of the second cell:

    python benchmarks/framework_share.py
    python benchmarks/framework_share.py mwt+cifar10 --profile laptop --minutes 10 --data-root DIR --unofficial-data
"""

from __future__ import annotations

import argparse
import functools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class Clock:
    """Seconds within what is wrapped, each counted once however deep calls nest."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.depth = 0
        self.held: dict[str, Any] = {}

    def time(self, name: str, work: Callable[[], Any]) -> Any:
        """What ``work`` returns; its time counts where it is not within another's."""
        self.depth += 1
        start = time.perf_counter()
        try:
            return work()
        finally:
            self.depth -= 1
            if self.depth == 0:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def wrap(self, owner: Any, name: str) -> None:
        """Time every call of ``owner.name``; of a generator, every value it makes."""
        inner = getattr(owner, name)

        @functools.wraps(inner)
        def timed(*arguments: Any, **options: Any) -> Any:
            found = self.time(name, lambda: self._kept(name, inner(*arguments, **options)))
            return self._values(name, found) if isinstance(found, Iterator) else found

        setattr(owner, name, timed)

    def _kept(self, name: str, found: Any) -> Any:
        """``found``, kept until the next one: what a computation leaves to be freed is freed on its own time."""
        self.held[name] = found
        return found

    def _values(self, name: str, values: Iterator[Any]) -> Iterator[Any]:
        nothing = object()
        while (value := self.time(name, lambda: next(values, nothing))) is not nothing:
            yield value


def main() -> None:
    """Run one cell and print where its time went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cell", nargs="?", default="mwt+digits", help="METHOD+DATASET, an MWT; mwt+digits if not given")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--minutes", type=float, help="train about so long, by a trial of 20 steps")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--data-root")
    parser.add_argument("--unofficial-data", action="store_true")
    options = parser.parse_args()

    start = time.perf_counter()
    import torch
    from inrbench_mwt.meta_sgd import MetaSGD
    from inrbench_mwt.weight_transformer import WeightTransformerReader

    import inrbench
    from inrbench.backends.torch import joint

    loaded = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:

        def run(settings: dict[str, Any], name: str) -> tuple[float, Any]:
            begin = time.perf_counter()
            frame = inrbench.run(
                options.cell,
                profile=options.profile,
                settings=settings,
                records=Path(folder) / name,
                data_root=options.data_root,
                unofficial_data=options.unofficial_data,
                threads=options.threads,
                rerun=True,
                quiet=True,
            )
            return time.perf_counter() - begin, frame.iloc[0]

        settings: dict[str, Any] = {}
        if options.minutes:
            _, trial = run({"fitter": {"train": {"steps": 20}}, "data": {"test_size": 16}}, "trial")
            steps = round(60.0 * options.minutes * 20 / trial["costs.train_s"])
            settings = {"fitter": {"train": {"steps": steps}}}
        clock = Clock()
        for name in ("loss", "fit", "query"):
            clock.wrap(MetaSGD, name)
        for name in ("loss", "predict"):
            clock.wrap(WeightTransformerReader, name)
        clock.wrap(joint, "scale_gradient")
        clock.wrap(torch.Tensor, "backward")
        clock.wrap(torch.nn.utils, "clip_grad_norm_")
        clock.wrap(torch.optim.AdamW, "step")
        clock.wrap(torch.optim.AdamW, "zero_grad")
        total, record = run(settings, "run")
    own = total - sum(clock.seconds.values())
    print(f"{record['cell']}: {record['status']}, {record['costs.train_steps']:.0f} training steps, {total:.1f} s")
    for name, seconds in sorted(clock.seconds.items(), key=lambda one: -one[1]):
        print(f"  {name:16} {seconds:8.2f} s  {seconds / total:6.2%}")
    print(f"  the framework's  {own:8.2f} s  {own / total:6.2%}  (loading PyTorch before that: {loaded:.1f} s)")


if __name__ == "__main__":
    main()
