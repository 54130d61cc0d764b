"""The reader ``ddpm``: denoising diffusion on representations (Ho et al., 2020; Bauer et al., 2023, section 4).

z̃ = (z - μ) / (γ σ) with the statistics of the training rows; a network learns the noise of z̃_t (ε-prediction, mean
squared error); a sample starts from noise and is denoised step by step, then z = μ + γ σ z̃.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from inrbench.backends.torch.draws import torch_generator
from inrbench.backends.torch.precision import check_agreement, mixed_precision
from inrbench.backends.torch.training import Group, Part, descend, micro_batch
from inrbench.errors import BadSetting, NotFinite, Refused
from inrbench.interfaces import ReaderFacts, Run
from inrbench.representations import Arrays, Layout, NeuralDataSet, Representations
from inrbench.schedules import batches
from inrbench.signals import SignalSpec
from inrbench_ddpm.denoising import Denoiser, init_network
from inrbench_ddpm.diffusion import Diffusion, time_step_probabilities
from inrbench_ddpm.presets import sides_of
from inrbench_ddpm.residual_mlp import ResidualMLP
from inrbench_ddpm.settings import DDPMSettings
from inrbench_ddpm.unet import UNet

__all__ = ["DDPM", "flattened", "guided", "statistics"]

#: Samples that are drawn together. Noise is keyed by their block: a sample does not depend on how many there are.
BLOCK = 256
#: Rows that are looked at together for their statistics.
READ_ROWS = 4096


class DDPM:
    """Generates representations; implements `inrbench.interfaces.Generator`."""

    def __init__(self, settings: DDPMSettings, layout: Layout, spec: SignalSpec) -> None:
        self.settings, self.layout = settings, layout
        self.num_classes = (spec.num_classes or 0) if settings.conditional else None
        self.conditional = settings.conditional
        self.diffusion = Diffusion.of(settings.schedule, settings.diffusion_steps)
        network = settings.network
        if network == "auto":
            network = "unet" if layout.kind == "latent-grid" else "residual-mlp"
        self.network = self._unet() if network == "unet" else self._mlp()
        self.network.register_buffer("mean", torch.zeros(layout.num_values))
        self.network.register_buffer("spread", torch.ones(layout.num_values))

    def refuses(self, layout: Layout) -> str | None:
        """A class-conditional one needs classes."""
        if self.num_classes == 0:
            return "the data set has no classes; --set reader.conditional=false generates without"
        return None

    # ------------------------------------------------------------------ training

    def train(self, data: NeuralDataSet, run: Run) -> Arrays:
        """Learn the noise of the split "train", copies included; what is left are the last parameters or their average.

        Draws are keyed by the step. Raises ValueError for a conditional network without labels, NotFinite.
        """
        rows, labels = data.splits["train"]
        if self.num_classes is not None and labels is None:
            raise ValueError("the neural data set has no labels")
        init_network(self.network, torch_generator(run.rng("ddpm", "initialisation")))
        mean, spread = statistics(rows, self.normalisation)
        self.network.mean = torch.as_tensor(mean).float()
        self.network.spread = torch.as_tensor(spread * self.settings.scale).float()
        self.network.to(run.device).train()
        groups = [Group("all", dict(self.network.named_parameters()), self.settings.lr)]
        settings = self.settings.train
        batch = batches(len(rows), settings.batch_size, run)

        def losses(step: int, precision: str = settings.precision) -> Iterator[Part]:
            index = batch(step)
            t, noise, classes = self.draws(step, None if labels is None else np.asarray(labels)[index], len(index), run)
            size = micro_batch(settings.micro_batch or len(index), len(index), 0, run.device)
            for first in range(0, len(index), size):
                part = slice(first, first + size)
                start = torch.as_tensor(flattened(rows.take(index[part]))).to(run.device)
                start = (start - self._buffer("mean")) / self._buffer("spread")
                generator = None
                if self.settings.dropout > 0.0:
                    seed = int(run.rng("ddpm", "dropout", step, first).integers(2**63))
                    generator = torch.Generator(run.device).manual_seed(seed)
                with mixed_precision(precision, run.device):
                    loss = self.loss(
                        start,
                        torch.as_tensor(t[part]).to(run.device),
                        torch.as_tensor(noise[part]).to(run.device),
                        None if classes is None else torch.as_tensor(classes[part]).to(run.device),
                        generator,
                    )
                yield len(index[part]) / len(index), loss, {}

        total = settings.num_steps(len(rows))
        if settings.precision == "bfloat16" and total:
            check_agreement(groups, lambda precision: losses(0, precision), run, setting="reader.train.precision")
        descend("read", groups, losses, total, settings, run)
        return self.state()

    def draws(
        self, step: int, labels: np.ndarray | None, count: int, run: Run
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Of a training step: t in 1 ... T, noise, and the classes, some of them withheld."""
        steps = self.settings.diffusion_steps
        share = time_step_probabilities(steps, self.settings.time_step_ratio)
        t = 1 + run.rng("ddpm", "t", step).choice(steps, size=count, p=share)
        noise = run.rng("ddpm", "noise", step).standard_normal((count, self.layout.num_values), dtype=np.float32)
        if self.num_classes is None or labels is None:
            return t, noise, None
        withheld = run.rng("ddpm", "labels", step).random(count) < self.settings.label_dropout
        return t, noise, np.where(withheld, self.num_classes, labels).astype(np.int64)

    def loss(
        self,
        start: Float[Tensor, "rows values"],
        t: Int[Tensor, " rows"],
        noise: Float[Tensor, "rows values"],
        classes: Int[Tensor, " rows"] | None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Mean of |ε - ε(√ᾱ_t z̃ + √(1 - ᾱ_t) ε, t)|² over rows and values (Ho et al., equation 14)."""
        alpha_bar = torch.as_tensor(self.diffusion.alpha_bars).to(start.device)[t - 1, None]
        noisy = alpha_bar.sqrt().float() * start + (1.0 - alpha_bar).sqrt().float() * noise
        return (self._answer(noisy, t, classes, generator) - noise).square().mean()

    def _answer(
        self, z: Tensor, t: Tensor, classes: Tensor | None, generator: torch.Generator | None = None
    ) -> Float[Tensor, "rows values"]:
        """The noise in ``z``: the network's answer, and with ``skip`` what is left to it is the rest of a linear guess.

        For z̃_0 of variance 1 / γ² the best linear guess is √(1 - ᾱ) z / (ᾱ / γ² + 1 - ᾱ).
        """
        noise: Tensor = self.network(z, t, classes, generator).float()
        if not self.settings.skip:
            return noise
        alpha_bars = self.diffusion.alpha_bars
        guess = np.sqrt(1.0 - alpha_bars) / (alpha_bars / self.settings.scale**2 + 1.0 - alpha_bars)
        return noise + torch.as_tensor(guess).float().to(z.device)[t - 1, None] * z

    # ------------------------------------------------------------------ sampling

    @torch.no_grad()
    def sample(self, count: int, classes: np.ndarray | None, run: Run) -> Representations:
        """``count`` fresh rows; ``classes`` [count] asks for them by class, None for any.

        Ancestral steps (Ho et al., algorithm 2) at `Diffusion.respaced` times. The noise of row i depends on the seed
        and i alone; rounding aside, so does the row. Raises BadSetting for classes that there are not, NotFinite.
        """
        asked = self._asked(count, classes)
        self.network.to(run.device).eval()
        diffusion = self.diffusion.respaced(self.settings.sample_steps)
        blocks, steps, values = -(-count // BLOCK), len(diffusion.times), self.layout.num_values
        z = np.zeros((count, values), dtype=np.float32)  # all rows, as far as they are

        def restore(arrays: Arrays) -> None:
            z[:] = arrays["z"]

        for place in run.steps("sample", blocks * steps, lambda: {"z": z}, restore):
            block, passed = divmod(place, steps)
            rows = slice(block * BLOCK, (block + 1) * BLOCK)
            size = (len(z[rows]), values)
            if passed == 0:
                z[rows] = run.rng("ddpm", "sample", block).standard_normal(size, dtype=np.float32)
            index = steps - 1 - passed
            noise = run.rng("ddpm", "sample", block, passed).standard_normal(size, dtype=np.float32)
            wanted = None if asked is None else torch.as_tensor(asked[rows]).to(run.device)
            current = torch.as_tensor(z[rows]).to(run.device)
            z[rows] = self._step(diffusion, index, current, torch.as_tensor(noise).to(run.device), wanted).cpu().numpy()
        self.network.train()
        z = z * self._buffer("spread").cpu().numpy() + self._buffer("mean").cpu().numpy()
        if not np.isfinite(z).all():
            raise NotFinite("samples are not finite; a bound such as --set reader.clip=4 may help, or longer training")
        return _rows(z, self.layout)

    def _step(
        self, diffusion: Diffusion, index: int, z: Tensor, noise: Tensor, classes: Tensor | None
    ) -> Float[Tensor, "rows values"]:
        """z_{t-1} from z_t: the mean of q(z_{t-1} | z_t, predicted z_0), and noise of the chosen variance."""
        t = torch.full((len(z),), int(diffusion.times[index]), device=z.device)
        predicted = self._noise(z, t, classes)
        alpha_bar = diffusion.alpha_bars[index]
        start = (z - float(np.sqrt(1.0 - alpha_bar)) * predicted) / float(np.sqrt(alpha_bar))
        if self.settings.clip is not None:
            start = start.clamp(-self.settings.clip, self.settings.clip)
        of_start, of_current = (float(coefficient[index]) for coefficient in diffusion.mean_coefficients)
        variance = float(diffusion.variances(self.settings.variance)[index])
        return of_start * start + of_current * z + float(np.sqrt(variance)) * noise

    def _noise(self, z: Tensor, t: Tensor, classes: Tensor | None) -> Tensor:
        """The predicted noise, guided where classes are asked for."""
        guidance = self.settings.guidance
        told: Tensor | None = None
        if self.num_classes is not None:
            free = torch.full_like(t, self.num_classes)
            told = free if classes is None or guidance == 0.0 else classes
            if classes is not None and guidance not in (0.0, 1.0):
                both = self._answer(torch.cat([z, z]), torch.cat([t, t]), torch.cat([classes, free]))
                conditional, unconditional = both.chunk(2)
                return guided(conditional, unconditional, guidance)
        return self._answer(z, t, told)

    def _asked(self, count: int, classes: np.ndarray | None) -> np.ndarray | None:
        if count < 1:
            raise BadSetting(f"samples: a whole number from 1 on; given: {count}")
        if classes is None:
            return None
        if self.num_classes is None:
            raise BadSetting(
                "this ddpm was trained without classes (reader.conditional=false) and cannot be asked for one"
            )
        wrong = [int(c) for c in classes if not 0 <= c < self.num_classes]
        if wrong or len(classes) != count:
            given = f"{wrong[0]}" if wrong else f"{len(classes)} of them for {count} samples"
            raise BadSetting(f"classes: one of 0 to {self.num_classes - 1} for each sample; given: {given}")
        return np.asarray(classes, dtype=np.int64)

    # ------------------------------------------------------------------ state and facts

    def state(self) -> dict[str, np.ndarray]:
        """Parameters, mean and γ σ as named NumPy arrays."""
        return {name: value.detach().cpu().numpy().copy() for name, value in self.network.state_dict().items()}

    def load(self, state: Arrays) -> None:
        """Take up what `train` returned."""
        self.network.load_state_dict({name: torch.as_tensor(np.array(array)) for name, array in state.items()})

    def facts(self) -> ReaderFacts:
        """Parameters, and 2 x multiply-adds of one pass of the network: a sample takes as many passes as steps."""
        return ReaderFacts(sum(p.numel() for p in self.network.parameters()), float(_flops(self.network, self.layout)))

    @property
    def normalisation(self) -> str:
        """What shares a mean and a spread: scalar, channel or element."""
        if self.settings.normalisation != "auto":
            return self.settings.normalisation
        return "channel" if self.layout.kind == "latent-grid" else "element"

    def _buffer(self, name: str) -> Tensor:
        return self.network.get_buffer(name)

    def _mlp(self) -> Denoiser:
        own = self.settings
        return ResidualMLP(self.layout.num_values, own.width, own.blocks, own.dropout, self.num_classes)

    def _unet(self) -> Denoiser:
        own, shapes = self.settings, list(self.layout.shapes.values())
        if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][0] != shapes[0][1]:
            given = ", ".join(f"{name} {list(shape)}" for name, shape in self.layout.shapes.items())
            raise Refused(
                f"network 'unet' takes one array [side, side, channels]; given: {given}; residual-mlp takes any"
            )
        side, _, latent_channels = shapes[0]
        sides = sides_of(side, len(own.channel_multiplier))
        shown = ", ".join(map(str, sides))
        if len(sides) < len(own.channel_multiplier):
            raise BadSetting(
                f"setting reader.channel_multiplier={own.channel_multiplier}: a grid of {side} x {side} has "
                f"{len(sides)} resolutions at most ({shown})"
            )
        if wrong := [one for one in own.attention_res if one not in sides]:
            raise BadSetting(
                f"setting reader.attention_res={own.attention_res}: no resolution has side {wrong[0]}; here are {shown}"
            )
        parts = (own.channels, own.channel_multiplier, own.res_blocks, own.attention_res, own.dropout)
        return UNet(sides, latent_channels, *parts, self.num_classes)


def guided(conditional: Tensor, free: Tensor, guidance: float) -> Tensor:
    """ε_u + g (ε_c - ε_u): classifier-free guidance (Ho and Salimans, 2022, arXiv 2207.12598)."""
    return free + guidance * (conditional - free)


def flattened(rows: Representations) -> Float[np.ndarray, "rows values"]:
    """All values of each row in one vector, arrays by name, float32."""
    parts = [np.asarray(rows.arrays[name], dtype=np.float32).reshape(len(rows), -1) for name in sorted(rows.arrays)]
    return np.concatenate(parts, axis=1)


def _rows(values: Float[np.ndarray, "rows values"], layout: Layout) -> Representations:
    """What `flattened` flattened."""
    arrays, first = {}, 0
    for name in sorted(layout.shapes):
        shape = layout.shapes[name]
        size = int(np.prod(shape))
        arrays[name] = values[:, first : first + size].reshape(-1, *shape)
        first += size
    count = len(values)
    return Representations(layout, arrays, np.arange(count), np.zeros(count, dtype=np.int64))


def statistics(rows: Representations, normalisation: str) -> tuple[np.ndarray, np.ndarray]:
    """(μ, σ) of ``rows``, each [values] in float64; what never changes has σ = 1.

    scalar: one of all values; channel: one of each place of an array's last axis, over its other axes; element: one of
    each value. σ is the square root of the mean square from μ, over rows and whatever shares it.
    """
    places = [slice(first, first + READ_ROWS) for first in range(0, len(rows), READ_ROWS)]
    mean = _shared(
        sum(flattened(rows.take(p)).astype(np.float64).sum(axis=0) for p in places), rows.layout, normalisation
    )
    mean = mean / len(rows)
    squares = sum(np.square(flattened(rows.take(p)) - mean).sum(axis=0) for p in places)
    spread = np.sqrt(_shared(squares, rows.layout, normalisation) / len(rows))
    return mean, np.where(spread > 1e-8, spread, 1.0)


def _shared(values: Any, layout: Layout, normalisation: str) -> np.ndarray:
    """``values`` [values], averaged over what shares a number."""
    if normalisation == "scalar":
        return np.full_like(values, values.mean())
    if normalisation == "element":
        return np.asarray(values)
    parts, first = [], 0
    for name in sorted(layout.shapes):
        shape = layout.shapes[name]
        size = int(np.prod(shape))
        grid = values[first : first + size].reshape(-1, shape[-1])
        parts.append(np.broadcast_to(grid.mean(axis=0), grid.shape).ravel())
        first += size
    return np.concatenate(parts)


def _flops(network: Denoiser, layout: Layout) -> int:
    """Counted on tensors without data."""
    from torch.utils.flop_counter import FlopCounterMode

    shadow: nn.Module = copy.deepcopy(network).to("meta")
    one = torch.zeros(1, dtype=torch.int64, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shadow(torch.zeros(1, layout.num_values, device="meta"), one, one)
    return int(counter.get_total_flops())
