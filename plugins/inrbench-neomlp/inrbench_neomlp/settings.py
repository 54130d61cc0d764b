"""Settings of the field `neomlp`; free of any framework."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from inrbench.settings import Settings, setting

__all__ = ["NeoMLPSettings"]


class NeoMLPSettings(Settings):
    """Tokens of ``dim`` numbers, one for each input, hidden and output neuron, through ``layers`` of self-attention."""

    dim: int = setting(256, "D, the width of a token", ge=1)
    ffn_dim: int = setting(512, "width of the feed-forward part of a layer", ge=1)
    heads: int = setting(4, "attention heads, each D / heads wide", ge=1)
    layers: int = setting(3, "layers, each attention and a feed-forward part", ge=1)
    hidden: int = setting(5, "hidden tokens", ge=0)
    rff: bool = setting(
        True, "random Fourier features of each input; false: a learned linear layer from the input itself to D"
    )
    rff_dim: int = setting(512, "random Fourier features of an input, sines and cosines together", ge=2)
    sigma: float = setting(20.0, "standard deviation of their frequencies, in cycles per unit of an input", gt=0.0)
    rff_seed: int = setting(0, "of the frequencies, which do not depend on a cell's seed", ge=0)
    activation: Literal["gelu", "relu", "silu"] = setting("gelu", "of the feed-forward part; unstated in the paper")
    attention: Literal["linear", "softmax"] = setting(
        "linear", "linear: queries as a softmax over features times keys as a softmax over tokens; or softmax attention"
    )
    attention_scale: Literal["head-width", "none"] = setting(
        "head-width", "what queries (linear) or scores (softmax) are multiplied by: head width^-1/2, or 1"
    )
    layer_norm: bool = setting(False, "a LayerNorm before the attention and before the feed-forward part of a layer")
    input_variance: float = setting(1e-3, "of the inputs' embeddings at the start; 1 for single signals", gt=0.0)
    latent_variance: float = setting(1e-3, "of the hidden and output embeddings at the start", gt=0.0)
    time_scale: float = setting(1.0, "multiplies the first coordinate; 100 for sound, and for film with sound", gt=0.0)
    values: Literal["unit", "centred", "symmetric"] = setting(
        "symmetric",
        "the output's range: the data's own unit ([0, 1] for images), the same with 0.5 added to the output (centred), "
        "or [-1, 1]",
    )

    @model_validator(mode="after")
    def _sizes_go_together(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"heads={self.heads} must divide dim={self.dim}")
        if self.rff and self.rff_dim % 2:
            raise ValueError(f"rff_dim={self.rff_dim} must be even: half are sines, half are cosines")
        return self
