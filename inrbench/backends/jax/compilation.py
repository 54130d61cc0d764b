"""Compilation ahead of time, so that the seconds it takes are counted apart from the work."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax

__all__ = ["CPU_OPTIONS", "Compiled"]

#: On a CPU large products by Eigen: 1.1 to 1.3 times as fast in training as what XLA takes by default (jaxlib 0.10).
CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}


class Compiled:
    """``function`` of trees of arrays, compiled when arguments of new shapes come; ``donate`` are worked on in place.

    ``seconds`` is what compiling has taken so far.
    """

    def __init__(self, function: Callable[..., Any], donate: tuple[int, ...] = ()) -> None:
        self.traced = jax.jit(function, donate_argnums=donate)
        self.done: dict[Any, Any] = {}
        self.seconds = 0.0

    def __call__(self, *arguments: Any) -> Any:
        """The result, on the device of the arguments."""
        return self.ready(*arguments)(*arguments)

    def ready(self, *arguments: Any) -> Any:
        """What is compiled for arguments of these shapes."""
        leaves, shape = jax.tree.flatten(arguments)
        key = (shape, *((leaf.shape, leaf.dtype) for leaf in leaves))
        if key not in self.done:
            start = time.perf_counter()
            self.done[key] = _compiled(self.traced.lower(*arguments), leaves)
            self.seconds += time.perf_counter() - start
        return self.done[key]


def _compiled(lowered: Any, leaves: list[Any]) -> Any:
    """What runs where the arguments are; an option that this XLA does not have is left out."""
    devices = {device.platform for leaf in leaves if isinstance(leaf, jax.Array) for device in leaf.devices()}
    if (devices or {jax.default_backend()}) != {"cpu"}:
        return lowered.compile()
    try:
        return lowered.compile(compiler_options=CPU_OPTIONS)
    except jax.errors.JaxRuntimeError as error:
        if not any(option in str(error) for option in CPU_OPTIONS):
            raise
        return lowered.compile()
