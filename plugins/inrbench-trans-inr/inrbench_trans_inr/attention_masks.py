"""Attention masks: how much each patch of an image is attended to by a weight token, by head.

Chen and Wang, 2022 (arXiv 2208.02801), figure 7, which does not say how heads were put together: here they stand apart.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from inrbench.domains import Array
from inrbench.errors import BadSetting, Refused, nearest
from inrbench.interfaces import AnalysisContext, Findings
from inrbench_trans_inr.settings import AttentionMasksSettings
from inrbench_trans_inr.trans_inr import TransINR

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["AttentionMasks", "masks_of", "on_pixels", "shown"]

DPI = 150
TILE_INCHES = 1.1
LABEL_INCHES = 1.4


class AttentionMasks:
    """A row of the table for each token and head; a picture with a line for each signal and token."""

    def __init__(self, settings: AttentionMasksSettings) -> None:
        self.settings = settings

    def run(self, context: AnalysisContext) -> Findings:
        """Masks of the chosen tokens on a sample of the split."""
        fitter = context.fitter
        if not isinstance(fitter, TransINR):
            raise Refused(
                f"analysis 'attention-masks' looks at fits by 'trans-inr'; these are by {type(fitter).__name__!r}"
            )
        block, places = self._block(fitter), [self._place(fitter, name) for name in self.settings.tokens]
        rows = context.sample(self.settings.signals)
        signals = context.signals(rows).unlabelled()
        attention = fitter.attention(signals, block, context.run)[:, :, places]
        tokenizer = fitter.tokenizer
        masks, seen = masks_of(attention, tokenizer.rows, tokenizer.columns)
        table = [
            {
                "layer": name.rpartition(":")[0],
                "token": int(name.rpartition(":")[2]),
                "head": head,
                "on_image": float(seen[:, head, i].mean()),
                "patches": float(_patches(masks[:, head, i]).mean()),
                "peak": float(masks[:, head, i].max(axis=(1, 2)).mean()),
            }
            for i, name in enumerate(self.settings.tokens)
            for head in range(masks.shape[1])
        ]
        images = np.stack([signals.observed(i)[0].unit_values() for i in range(len(signals))])
        pixels = on_pixels(masks, tokenizer.patch, tokenizer.pad)
        picture = shown(images, pixels, [str(one) for one in rows.ids], self.settings.tokens)
        return Findings(
            {"masks": table}, self._note(context, block, len(rows), tokenizer.num_tokens), {"masks": picture}
        )

    def _block(self, fitter: TransINR) -> int:
        blocks = fitter.settings.blocks
        block = blocks - 1 if self.settings.block is None else self.settings.block
        if block >= blocks:
            raise BadSetting(f"setting analysis.block={block}: this transformer has blocks 0 to {blocks - 1}")
        return block

    def _place(self, fitter: TransINR, name: str) -> int:
        """Where the token ``LAYER:NUMBER`` stands among the weight tokens."""
        layer, _, number = name.rpartition(":")
        first, found = 0, []
        for matrix in fitter.network.matrices:
            own = matrix.weight.removesuffix(".weight")
            if own == layer and int(number) < matrix.tokens:
                return first + int(number)
            if own == layer:
                raise BadSetting(f"setting analysis.tokens: {name}: {layer} has tokens 0 to {matrix.tokens - 1}")
            first += matrix.tokens
            found.append(own)
        raise BadSetting(f"setting analysis.tokens: {name}: no layer {layer!r}; {nearest(layer, found)}")

    def _note(self, context: AnalysisContext, block: int, count: int, patches: int) -> str:
        return (
            f"Over {count:,} signals of the split {context.split!r}, block {block}. A mask is a token's attention to "
            "the patches of the image, divided by `on_image`, the share of its attention that they get (the rest goes "
            "to weight tokens). `patches` is the exponential of the mask's entropy: 1 where it is one patch, "
            f"{patches} where it is all of them alike; `peak` is the mask's largest value. Means over signals. In the "
            "picture every mask is scaled to its own largest value, over the image in grey."
        )


def masks_of(attention: Array, rows: int, columns: int) -> tuple[Array, Array]:
    """(masks [signals, heads, tokens, rows, columns], each of sum 1; share of attention on the image).

    ``attention`` [signals, heads, tokens, all tokens] has the ``rows`` x ``columns`` patches first.
    """
    on_image = attention[..., : rows * columns].astype(np.float64)
    seen = on_image.sum(axis=-1)
    masks = on_image / np.maximum(seen, 1e-30)[..., None]
    return masks.reshape(*masks.shape[:-1], rows, columns), seen


def on_pixels(masks: Array, patch: int, pad: int) -> Array:
    """Masks [..., rows, columns] of patches as masks of the pixels [..., height, width] of the image within them."""
    grown: Array = masks.repeat(patch, axis=-2).repeat(patch, axis=-1)
    height, width = grown.shape[-2:]
    return grown[..., pad : height - pad, pad : width - pad]


def _patches(masks: Array) -> Array:
    """The exponential of the entropy of each mask [signals, rows, columns]."""
    flat = masks.reshape(len(masks), -1)
    logs = np.log(flat, out=np.zeros_like(flat), where=flat > 0)
    return np.asarray(np.exp(-(flat * logs).sum(axis=1)))


def shown(images: Array, masks: Array, ids: Sequence[str], tokens: Sequence[str]) -> bytes:
    """A PNG: a line for each signal and token with the image and every head's mask over it.

    ``images`` are [signals, height, width, channels] in [0, 1], ``masks`` [signals, heads, tokens, height, width].
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heads = masks.shape[1]
    lines = [(i, j) for i in range(len(images)) for j in range(len(tokens))]
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        size = (LABEL_INCHES + TILE_INCHES * (heads + 1), 0.3 + TILE_INCHES * len(lines))
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(lines), heads + 1, squeeze=False)
        for line, (i, j) in enumerate(lines):
            grey = images[i].mean(axis=-1)
            axes[line, 0].imshow(images[i] if images.shape[-1] == 3 else grey, cmap="gray", vmin=0.0, vmax=1.0)
            axes[line, 0].set_ylabel(f"signal {ids[i]}\n{tokens[j]}", fontsize=7)
            for head in range(heads):
                one = axes[line, head + 1]
                one.imshow(grey, cmap="gray", vmin=0.0, vmax=1.0)
                one.imshow(masks[i, head, j], cmap="inferno", alpha=0.7, vmin=0.0, vmax=masks[i, head, j].max())
                if line == 0:
                    one.set_title(f"head {head}", fontsize=7)
        _plain(figure)
        file = io.BytesIO()
        figure.savefig(file, format="png", metadata={"Software": None})  # no version: equal bytes
    return file.getvalue()


def _plain(figure: Figure) -> None:
    for one in figure.axes:
        one.set_xticks([])
        one.set_yticks([])
