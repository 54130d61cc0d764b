"""Precision: float32, or large products in bfloat16 with a look at what that does to the gradients before training.

Parameters, losses and the optimiser stay in float32. Whoever computes a large product is told its precision.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from inrbench.errors import Refused
from inrbench.interfaces import Run

__all__ = ["LARGEST_DISAGREEMENT", "check_agreement", "product"]

log = logging.getLogger("inrbench")
#: Of a group's gradient in bfloat16 from that in float32, relative to its norm: beyond it training is refused.
LARGEST_DISAGREEMENT = 0.1


def product(
    left: Float[Array, "*rows inner"], right: Float[Array, "inner columns"], precision: str
) -> Float[Array, "*rows columns"]:
    """The matrix product in ``precision``, "float32" (that of the arrays) or "bfloat16", summed up in float32."""
    if precision == "bfloat16":
        left, right = left.astype(jnp.bfloat16), right.astype(jnp.bfloat16)
        return jnp.matmul(left, right, preferred_element_type=jnp.float32)
    return left @ right


def check_agreement(gradients: Callable[[str], Mapping[str, Any]], run: Run, *, setting: str) -> None:
    """Compare each group's gradient of one batch in bfloat16 with float32's, and log the relative differences.

    ``gradients`` gives them by group in a precision; ``setting`` is where that was asked for. Raises Refused where a
    difference is beyond `LARGEST_DISAGREEMENT`: second-order gradients lose their digits once inner rates are large.
    """
    full, low = gradients("float32"), gradients("bfloat16")
    differences = {name: _difference(low[name], full[name]) for name in full}
    run.log(0, **{f"bfloat16_difference_{name}": value for name, value in differences.items()})
    shown = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
    log.info("gradients in bfloat16 against float32 on the first batch, relative: %s", shown)
    worst = max(differences, key=lambda name: (math.isnan(differences[name]), differences[name]))
    if not differences[worst] <= LARGEST_DISAGREEMENT:
        raise Refused(
            f"the gradient of {worst!r} in bfloat16 differs from float32's by {differences[worst]:.1%} of its norm "
            f"(allowed: {LARGEST_DISAGREEMENT:.0%}); --set {setting}=float32"
        )


def _difference(low: Any, full: Any) -> float:
    """|low - full| / |full| over all arrays of two trees."""
    leaves = [jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)]) for tree in (low, full)]
    return float(jnp.linalg.norm(leaves[0] - leaves[1]) / jnp.maximum(jnp.linalg.norm(leaves[1]), 1e-30))
