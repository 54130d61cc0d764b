"""NeoMLP: self-attention over a field's own neurons (Kofinas et al., 2024, arXiv 2412.08731).

Input, hidden and output neurons are tokens. An input's token is a linear map of random Fourier features of its
coordinate plus a learned embedding; hidden and output tokens start as learned embeddings, the latents of a signal.
Behind the layers one linear map turns each output token into one value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from inrbench.backends.torch.fields import autograd_loss_and_gradient
from inrbench.domains import Array
from inrbench.draws import number
from inrbench.signals import SignalSpec
from inrbench_neomlp.blocks import Work, loss_and_gradient, part_of, points_in
from inrbench_neomlp.network import output_tokens
from inrbench_neomlp.settings import NeoMLPSettings

__all__ = ["NeoMLP", "frequencies"]

Tensors = Mapping[str, Tensor]
#: What the widest array of the points that are worked on together takes up: a few of them fit into a CPU's cache.
BLOCK_BYTES, GPU_BLOCK_BYTES = 4 * 2**20, 2**30


def frequencies(settings: NeoMLPSettings) -> Array:
    """The frequencies of the random Fourier features [rff_dim / 2], N(0, σ²), in cycles per unit, float32.

    From the bits of a counter, whose stream NumPy guarantees: stored arrays mean the same in every version.
    """
    bits = np.random.Philox(key=number(settings.rff_seed, "neomlp", "rff")).random_raw(settings.rff_dim // 2)
    normal = NormalDist(0.0, settings.sigma)
    return np.array([normal.inv_cdf(((int(one) >> 11) + 0.5) * 2.0**-53) for one in bits], dtype=np.float32)


class NeoMLP:
    """f(x) = w · output token + b, for each of the output tokens.

    Arrays: ``features.weight`` [D, rff_dim], ``features.bias``, ``input`` [inputs, D]; the latents ``hidden``
    [hidden, D] and ``output`` [outputs, D]; ``layers.i.query_key_value.weight`` [3 D, D], ``layers.i.attention.weight``
    [D, D], ``.bias``, ``layers.i.ffn_in.weight`` [ffn_dim, D], ``.bias``, ``layers.i.ffn_out.weight`` [D, ffn_dim],
    ``.bias``, and with LayerNorm ``layers.i.norm_attention`` and ``.norm_ffn``; ``readout.weight`` [1, D], ``.bias``.
    """

    latents: tuple[str, ...] = ("hidden", "output")

    def __init__(self, settings: NeoMLPSettings, spec: SignalSpec) -> None:
        self.settings = settings
        self.inputs, self.outputs, span = spec.coord_dim, spec.channels, spec.parts[0].span
        self.tokens = self.inputs + settings.hidden + self.outputs
        offset = {"symmetric": 0.5, "centred": 0.5, "unit": 0.0}[settings.values]
        self.to_unit = (0.5 if settings.values == "symmetric" else 1.0 / span, offset)
        self.frequencies = frequencies(settings) if settings.rff else None
        self._angular: dict[tuple[torch.device, torch.dtype], Tensor] = {}
        self.dims = {name: array.dim() for name, array in self.init(torch.Generator().manual_seed(0)).items()}

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Linear maps uniform in ±1/√in, that of the features N(0, 2 / rff_dim); embeddings normal.

        The biases of the map of the features and of the readout start at 0.
        """
        settings, dim = self.settings, self.settings.dim
        arrays: dict[str, Tensor] = {}

        def add(name: str, fan_out: int, fan_in: int, *, bias: bool = True) -> None:
            bound = 1.0 / math.sqrt(fan_in)
            arrays[f"{name}.weight"] = (2.0 * torch.rand(fan_out, fan_in, generator=generator) - 1.0) * bound
            if bias:
                arrays[f"{name}.bias"] = (2.0 * torch.rand(fan_out, generator=generator) - 1.0) * bound

        def normal(variance: float, *shape: int) -> Tensor:
            return torch.randn(shape, generator=generator) * math.sqrt(variance)

        if settings.rff:
            arrays["features.weight"] = normal(2.0 / settings.rff_dim, dim, settings.rff_dim)
            arrays["features.bias"] = torch.zeros(dim)
        else:
            add("features", dim, 1)
        arrays["input"] = normal(settings.input_variance, self.inputs, dim)
        arrays["hidden"] = normal(settings.latent_variance, settings.hidden, dim)
        arrays["output"] = normal(settings.latent_variance, self.outputs, dim)
        for i in range(settings.layers):
            add(f"layers.{i}.query_key_value", 3 * dim, dim, bias=False)
            add(f"layers.{i}.attention", dim, dim)
            add(f"layers.{i}.ffn_in", settings.ffn_dim, dim)
            add(f"layers.{i}.ffn_out", dim, settings.ffn_dim)
            for norm in ("norm_attention", "norm_ffn") if settings.layer_norm else ():
                arrays[f"layers.{i}.{norm}.weight"] = torch.ones(dim)
                arrays[f"layers.{i}.{norm}.bias"] = torch.zeros(dim)
        add("readout", 1, dim, bias=False)
        arrays["readout.bias"] = torch.zeros(1)
        return arrays

    def apply(
        self, arrays: Tensors, coords: Float[Tensor, "... points coord_dim"]
    ) -> Float[Tensor, "... points channels"]:
        """The output at ``coords`` for every signal; an array without signals in front is shared by all.

        Where no gradient is recorded memory is bounded, however many the points are.
        """
        work = self._work(arrays, coords)
        rows = []
        for chosen in work.signals():
            own = {name: part_of(array, self.dims[name], chosen) for name, array in arrays.items()}
            pieces = [self.values(own, points_in(coords, chosen, points)) for points in work.points()]
            rows.append(torch.cat(pieces, dim=1))
        batched = coords.dim() == 3 or any(array.dim() > self.dims[name] for name, array in arrays.items())
        return torch.cat(rows) if batched else rows[0][0]

    def values(
        self, arrays: Tensors, coords: Float[Tensor, "own points coord_dim"]
    ) -> Float[Tensor, "signals points channels"]:
        """As `apply` at once, where none but the latents have signals in front."""
        placed = coords
        if self.settings.time_scale != 1.0:
            placed = torch.cat([coords[..., :1] * self.settings.time_scale, coords[..., 1:]], dim=-1)
        inputs = linear(self._features(placed), arrays["features.weight"], arrays["features.bias"]) + arrays["input"]
        hidden, output = (array if array.dim() == 3 else array[None] for array in (arrays["hidden"], arrays["output"]))
        signals = max(len(hidden), len(output))
        latents = torch.cat([hidden.expand(signals, -1, -1), output.expand(signals, -1, -1)], dim=1)
        tokens = output_tokens(self.settings, arrays, inputs, latents, self.outputs)
        return linear(tokens, arrays["readout.weight"], arrays["readout.bias"]).squeeze(-1)

    def loss_and_gradient(
        self,
        arrays: Tensors,
        coords: Float[Tensor, "... points coord_dim"],
        target: Float[Tensor, "signals points channels"],
        adapted: Sequence[str],
        *,
        weight: Float[Tensor, "... points channels"] | None = None,
        recompute: bool = False,
        precision: torch.dtype | None = None,
    ) -> tuple[Float[Tensor, " signals"], dict[str, Tensor]]:
        """Each signal's mean squared error and its gradient to the ``adapted`` arrays, some points at a time.

        Where gradients are recorded all points are looked at together; ``recompute`` changes nothing.
        """
        own = dict(arrays)
        for name in adapted:
            if arrays[name].dim() == self.dims[name]:
                own[name] = arrays[name].expand(len(target), *arrays[name].shape)
        if torch.is_grad_enabled():
            return autograd_loss_and_gradient(
                lambda leaves: self.apply(leaves, coords), own, target, adapted, weight=weight, precision=precision
            )
        work = self._work(own, target)
        return loss_and_gradient(self.values, work, own, self.dims, coords, target, adapted, weight, precision)

    def convention(self) -> Mapping[str, Any]:
        """All that querying the arrays takes, the features' frequencies among it."""
        settings = self.settings
        features: dict[str, Any] = {"features": "the coordinate itself"}
        if self.frequencies is not None:
            features = {
                "features": "cos(2 pi f x) for each frequency f, then sin(2 pi f x)",
                "frequencies": [float(one) for one in self.frequencies],
            }
        return {
            "field": "neomlp",
            "tokens": "inputs, hidden, outputs; an input is features of its coordinate, mapped, plus its embedding",
            "layer": "x + attention(x), then x + ffn(x)" + (", a LayerNorm before each" if settings.layer_norm else ""),
            "heads": settings.heads,
            "attention": settings.attention,
            "attention_scale": settings.attention_scale,
            "activation": settings.activation,
            **features,
            "time_scale": settings.time_scale,
            "init": "linear maps uniform in ±1/sqrt(in); map of random features N(0, 2/rff_dim), its bias 0; "
            f"inputs N(0, {settings.input_variance}), latents N(0, {settings.latent_variance}); readout's bias 0",
            "to_unit": list(self.to_unit),
        }

    def flops(self, points: int) -> float:
        """2 x multiply-adds of the definition at ``points`` points: all tokens in all layers."""
        settings, dim, tokens = self.settings, self.settings.dim, self.tokens
        mixing = 2 * dim * (dim // settings.heads if settings.attention == "linear" else tokens)
        layer = tokens * (4 * dim * dim + mixing + 2 * dim * settings.ffn_dim)
        features = self.inputs * dim * (settings.rff_dim if settings.rff else 1)
        return 2.0 * points * (features + settings.layers * layer + self.outputs * dim)

    def _features(self, coords: Tensor) -> Tensor:
        """From [..., inputs] to [..., inputs, features]."""
        if self.frequencies is None:
            return coords[..., None]
        key = (coords.device, coords.dtype)
        if key not in self._angular:
            self._angular[key] = torch.as_tensor(2.0 * math.pi * self.frequencies.astype(np.float64)).to(*key)
        angles = coords[..., None] * self._angular[key]
        return torch.cat([angles.cos(), angles.sin()], dim=-1)

    def _work(self, arrays: Tensors, example: Tensor) -> Work:
        """How signals and points are gone through; ``example`` is [points, ...], or has signals in front."""
        own = [name for name, array in arrays.items() if array.dim() > self.dims[name]]
        signals = max([len(example) if example.dim() == 3 else 1, *(len(arrays[name]) for name in own)])
        widest = self.tokens * max(self.settings.ffn_dim, 2 * self.settings.dim) * example.element_size()
        size = GPU_BLOCK_BYTES if example.is_cuda else BLOCK_BYTES
        most = None if torch.is_grad_enabled() else max(1, size // widest)
        return Work(signals, example.shape[-2], most, alone=any(name not in self.latents for name in own))
