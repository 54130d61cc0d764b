"""Precision: where bfloat16 holds, and the look at what it does to the gradients before training."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from inrbench.backends.torch import precision
from inrbench.backends.torch.precision import check_agreement, mixed_precision, precision_here
from inrbench.backends.torch.training import Group, Part
from inrbench.cell_run import CellRun
from inrbench.errors import Refused

CPU = torch.device("cpu")

# ------------------------------------------------------------------ where it holds


def test_within_the_block_large_products_are_in_the_precision_asked_for() -> None:
    a, b = torch.randn(4, 5, generator=torch.manual_seed(0)), torch.randn(5, 3, generator=torch.manual_seed(1))
    assert precision_here(CPU) is None
    with mixed_precision("bfloat16", "cpu"):
        assert precision_here(CPU) == torch.bfloat16
        assert (a @ b).dtype == torch.bfloat16
        with mixed_precision("float32", "cpu"):
            assert precision_here(CPU) is None
            assert torch.equal(a @ b, a.mm(b))
            assert (a @ b).dtype == torch.float32
        assert precision_here(CPU) == torch.bfloat16
    assert precision_here(CPU) is None
    assert (a @ b).dtype == torch.float32


def test_an_error_within_the_block_ends_the_precision() -> None:
    with pytest.raises(ZeroDivisionError), mixed_precision("bfloat16", "cpu"):
        raise ZeroDivisionError
    assert precision_here(CPU) is None


# ------------------------------------------------------------------ the look at the gradients


class Two:
    """Two groups; in bfloat16 the gradient of each is (1 + its error) times what it is in float32."""

    def __init__(self, **errors: float) -> None:
        self.parameters = {
            "field": {"a": torch.ones(3, requires_grad=True), "b": torch.ones(2, 2, requires_grad=True)},
            "rates": {"a": torch.ones(4, requires_grad=True)},
        }
        self.groups = [Group(name, arrays, 1e-3) for name, arrays in self.parameters.items()]
        self.errors = errors
        self.asked: list[str] = []

    def losses(self, kind: str) -> Iterator[Part]:
        """A batch in two parts: the gradient is 0.25 and 0.75 times these, so 1 to 4 in each place of an array."""
        self.asked.append(kind)
        for share in (0.25, 0.75):
            total = torch.zeros(())
            for group, arrays in self.parameters.items():
                factor = 1.0 + (self.errors.get(group, 0.0) if kind == "bfloat16" else 0.0)
                for array in arrays.values():
                    total = total + factor * (self._slope(array) * array).sum()
            yield share, total, {}

    def _slope(self, array: Tensor) -> Tensor:
        return torch.arange(1.0, array.numel() + 1.0).reshape(array.shape)


def checked(two: Two) -> CellRun:
    run = CellRun(0)
    check_agreement(two.groups, two.losses, run, setting="some.train.precision")
    return run


def test_each_groups_difference_is_logged_relative_to_its_gradient(caplog: pytest.LogCaptureFixture) -> None:
    two = Two(field=0.03, rates=-0.007)
    with caplog.at_level(logging.INFO, logger="inrbench"):
        run = checked(two)
    assert two.asked == ["float32", "bfloat16"]
    (logged,) = run.history
    assert logged.keys() == {"step", "bfloat16_difference_field", "bfloat16_difference_rates"}
    assert logged["step"] == 0.0
    assert logged["bfloat16_difference_field"] == pytest.approx(0.03, rel=1e-4)
    assert logged["bfloat16_difference_rates"] == pytest.approx(0.007, rel=1e-4)
    assert "relative: field 3.0e-02, rates 7.0e-03" in caplog.text


def test_a_difference_is_that_of_the_whole_group() -> None:
    two = Two()
    plain = two.losses

    def one_array_wrong(kind: str) -> Iterator[Part]:
        for share, loss, logs in plain(kind):
            yield share, loss + (0.1 * two.parameters["field"]["a"].sum() if kind == "bfloat16" else 0.0), logs

    two.losses = one_array_wrong  # type: ignore[method-assign]
    norm = math.sqrt(1 + 4 + 9 + 1 + 4 + 9 + 16)
    assert checked(two).history[0]["bfloat16_difference_field"] == pytest.approx(0.1 * math.sqrt(3) / norm, rel=1e-4)


def test_the_parameters_and_their_gradients_are_left_as_they_were() -> None:
    two = Two(field=0.01)
    two.parameters["field"]["a"].grad = torch.full((3,), 1e6)  # of an earlier backward pass: it does not count
    assert checked(two).history[0]["bfloat16_difference_field"] == pytest.approx(0.01, rel=1e-4)
    arrays = [array for group in two.groups for array in group.parameters.values()]
    assert all(array.grad is None and bool((array == 1.0).all()) for array in arrays)


def test_a_group_without_any_gradient_agrees() -> None:
    two = Two()
    two.groups.append(Group("idle", {"a": torch.ones(2, requires_grad=True)}, 1e-3))
    assert checked(two).history[0]["bfloat16_difference_idle"] == 0.0


@pytest.mark.parametrize("name", ["field", "rates"])
def test_a_difference_beyond_the_limit_is_refused_with_what_to_do(name: str) -> None:
    said = (
        rf"^the gradient of '{name}' in bfloat16 differs from float32's by 25\.0% of its norm \(allowed: 10%\); "
        r"--set some\.train\.precision=float32$"
    )
    with pytest.raises(Refused, match=said):
        checked(Two(**{name: 0.25}))
    checked(Two(**{name: 0.09}))


def test_the_limit_is_that_of_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "LARGEST_DISAGREEMENT", 0.3)
    checked(Two(field=0.25))
    monkeypatch.setattr(precision, "LARGEST_DISAGREEMENT", 1e-3)
    with pytest.raises(Refused, match=r"by 0\.9% of its norm \(allowed: 0%\)"):
        checked(Two(rates=0.009))


@pytest.mark.parametrize("error", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["field", "rates"])
@pytest.mark.parametrize("other", [0.0, 0.05])
def test_a_gradient_that_is_not_finite_is_refused(name: str, error: float, other: float) -> None:
    errors: dict[str, Any] = {"field": other, "rates": other, name: error}
    with pytest.raises(Refused, match=f"^the gradient of '{name}' in bfloat16 differs from float32's by (nan|inf)%"):
        checked(Two(**errors))
