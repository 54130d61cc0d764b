"""A whole step of joint training, written out, against autograd of the same field: in every way to cut it up."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from inrbench_mwt.meta_sgd import MetaSGD

from inrbench import draws
from inrbench.backends.torch.fields import DifferentiatedField, Field
from inrbench.backends.torch.joint import train_jointly
from inrbench.backends.torch.observed import Observed, Sample
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.domains import Array
from inrbench.interfaces import Head, Run
from inrbench.settings import SignalTrainingSettings
from inrbench.signals import GridSignals

SETTINGS = {"inr": {"width": 16, "depth": 4}, "reader": {"blocks": 1}, "fitter": {"steps": 6}}
BATCH = 3
VARIANTS: dict[str, dict[str, Any]] = {"all points": {}, "s = 0.3": {"subsample": 0.3}, "shared": {"rates": "shared"}}


class Plain:
    """A field with Field's methods alone, so that its gradient is autograd's."""

    def __init__(self, field: Field) -> None:
        self.to_unit, self.init, self.apply = field.to_unit, field.init, field.apply
        self.convention, self.flops = field.convention, field.flops


class InDouble(MetaSGD):
    """The fitter in float64, from the float32 draws."""

    def start(self, run: Run) -> None:
        super().start(run)
        for arrays in (self.theta, self.shared, self.rates):
            arrays.update({name: array.double() for name, array in arrays.items()})

    def _samples(self, observed: Observed, sets: int) -> list[Sample]:
        return [(coords.double(), target.double()) for coords, target in super()._samples(observed, sets)]


class OneStep(CellRun):
    """A run that keeps what the optimiser has seen: Adam's first moment after one step is a tenth of the gradient."""

    gradients: dict[str, Array]

    def steps(self, name: str, total: int, state: Any, restore: Any) -> Iterator[int]:
        assert total == 1
        yield 0
        kept = {key.removeprefix("exp_avg/"): array for key, array in state().items() if key.startswith("exp_avg/")}
        self.gradients = {key: np.array(array, dtype=np.float64) / 0.1 for key, array in kept.items()}


def one_step(variant: str, *, plain: bool = False, double: bool, micro_batch: int = BATCH, **fitter: Any) -> OneStep:
    """The first step on digits-like signals, with the reader's gradient at a share of 0.01."""
    built = resolve("mwt", "digits", overrides=[SETTINGS, {"fitter": {**VARIANTS[variant], **fitter}}]).build()
    fit: Any = built.fitter
    reader: Any = built.reader
    if double:
        fit = InDouble(fit.settings, built.spec, fit.field)
        start = reader.start
        reader.start = lambda run: (reader.network.float(), start(run), reader.network.double())
    if plain:
        fit.field = Plain(fit.field)
    assert isinstance(fit.field, DifferentiatedField) != plain
    values = draws.generator(0, "signals").integers(0, 256, (BATCH + 2, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(BATCH + 2) % 10
    settings = SignalTrainingSettings(steps=1, batch_size=BATCH, micro_batch=micro_batch)
    run = OneStep(0)
    train_jointly(fit, GridSignals(values, labels), [Head("reader", reader, 0.01, labels)], settings, run)
    return run


@functools.cache
def expected(variant: str, *, double: bool) -> OneStep:
    """By autograd, the whole batch at once."""
    return one_step(variant, plain=True, double=double)


def distance(found: Array, of: Array) -> float:
    """‖found − of‖ / ‖of‖."""
    scale = float(np.linalg.norm(of))
    assert scale > 1e-6  # there is something to compare
    return float(np.linalg.norm(found - of)) / scale


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_that_is_compared_has_a_gradient(variant: str) -> None:
    gradients = expected(variant, double=True).gradients
    built = resolve("mwt", "digits", overrides=[SETTINGS, {"fitter": VARIANTS[variant]}]).build()
    assert built.reader is not None
    counted = built.fitter.facts().parameters + built.reader.facts().parameters
    assert sum(array.size for array in gradients.values()) == counted
    assert {name.rpartition("/")[0].partition("/layers")[0] for name in gradients} >= {"field/theta", "rates"}
    assert {f"field/shared/output.{part}" for part in ("weight", "bias", "scale")} <= set(gradients)
    assert all(np.linalg.norm(array) > 1e-6 for array in gradients.values())


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("micro_batch", [1, 2, BATCH])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_joint_steps_gradients_are_autograds(variant: str, micro_batch: int, recompute: bool) -> None:
    how: Any = {"micro_batch": micro_batch, "recompute": recompute}
    double, single = (one_step(variant, double=wide, **how) for wide in (True, False))
    reference, in_single = expected(variant, double=True), expected(variant, double=False)
    assert double.gradients.keys() == single.gradients.keys() == reference.gradients.keys()
    for name, of in reference.gradients.items():
        assert distance(double.gradients[name], of) < 1e-10, name
        # the steps carry rounding on in any form; a single number that sums up all others loses most
        limit = 1e-5 if of.size > 1 else 1e-4
        assert distance(single.gradients[name], of) < max(limit, 3.0 * distance(in_single.gradients[name], of)), name
    for run, rel in ((double, 1e-10), (single, 1e-5)):
        (values,), (others,) = run.history, reference.history
        assert values.keys() == others.keys() >= {"loss", "psnr_db", "train_accuracy", "alpha_min"}
        assert values == {key: pytest.approx(value, rel=rel) for key, value in others.items()}


def test_the_variants_differ() -> None:
    assert len({expected(variant, double=True).history[0]["loss"] for variant in VARIANTS}) == len(VARIANTS)
