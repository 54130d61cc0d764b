"""The controls of a learned initialisation: what each is, and which of them share its training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from inrbench_learned_init.maml import Maml
from inrbench_learned_init.settings import MamlSettings

from inrbench import draws
from inrbench.backends.torch.fields import coords_of, to_device
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.domains import Grid
from inrbench.keys import stage_keys
from inrbench.representations import Representations
from inrbench.settings import SignalTrainingSettings
from inrbench.signals import GridSignals, PartSpec, SignalSpec

GRID = Grid.of(6, 5)
SIREN: dict[str, Any] = {"width": 12, "depth": 2, "omega_0": 30.0, "omega_hidden": 30.0}


def images(count: int = 4) -> GridSignals:
    return GridSignals(draws.generator(0, "images").integers(0, 256, (count, 6, 5, 2), dtype=np.uint8))


def spec_of(domain: Any = "grid", shape: tuple[int, ...] = (6, 5)) -> SignalSpec:
    return SignalSpec((PartSpec(domain, shape, 2, 2),))


def field_of(spec: SignalSpec) -> Any:
    from inrbench_fields.settings import SirenSettings
    from inrbench_fields.siren import Siren

    return Siren(SirenSettings(**SIREN, coordinates="unit-corners", values="centred"), spec)


def fitter_of(initialisation: str, spec: SignalSpec | None = None, **settings: Any) -> Maml:
    """A fitter that has learned an initialisation that is unlike any random draw."""
    spec = spec or spec_of()
    fitter = Maml(MamlSettings(initialisation=initialisation, **settings), spec, field_of(spec))  # type: ignore[arg-type]
    rng = draws.generator(0, "learned")
    fitter.load(
        {
            f"theta/{name}": (0.1 * rng.standard_normal(shape)).astype(np.float32)
            for name, shape in fitter.shapes.items()
        }
    )
    return fitter


def begun(fitter: Maml, signals: GridSignals | None = None) -> Representations:
    """Where the fit of each signal starts, as rows."""
    return fitter.trace((signals or images()).unlabelled(), CellRun(0))[0]


def values(fitter: Maml, rows: Representations) -> np.ndarray:
    return np.concatenate(list(fitter.query(rows, GRID, CellRun(0))))


def test_rows_are_relative_to_a_learned_initialisation_alone() -> None:
    learned = fitter_of("learned")
    assert learned.layout.relative_to == "shared"
    assert not any(array.any() for array in begun(learned).arrays.values())
    for name in ("matched", "shuffled", "standard"):
        control = fitter_of(name, match_steps=2)
        assert control.layout.relative_to is None
        assert control.layout.shapes == learned.layout.shapes


def test_what_a_row_stands_for_is_the_learned_initialisation_and_its_change() -> None:
    learned = fitter_of("learned")
    theta = to_device({n.removeprefix("theta/"): a[None] for n, a in learned.state().items()}, "cpu")
    expected = learned.field.apply(theta, coords_of(GRID, "cpu")).reshape(6, 5, 2) + 0.5
    for found in values(learned, begun(learned)):
        np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-6)


def test_a_matched_initialisation_gives_the_learned_ones_outputs_from_other_weights() -> None:
    learned, matched, unmatched = (
        values(fitter, begun(fitter))
        for fitter in (
            fitter_of("learned"),
            fitter_of("matched", match_steps=400, match_lr=1e-2),
            fitter_of("matched", match_steps=0),
        )
    )
    assert np.square(unmatched - learned).mean() > 1e-2
    assert np.square(matched - learned).mean() < 1e-5
    other = begun(fitter_of("matched", match_steps=400, match_lr=1e-2)).arrays
    for name, array in fitter_of("learned").state().items():
        assert np.abs(other[name.removeprefix("theta/")][0] - array).max() > 0.02, name
    for array in other.values():
        assert all(np.array_equal(array[0], row) for row in array)  # one for all signals


def test_off_a_grid_outputs_are_matched_at_fresh_points() -> None:
    spec = spec_of("points", (50,))
    fitter = fitter_of("matched", spec)
    run = CellRun(0)
    one, same, next_one = (fitter.places(step, run) for step in (3, 3, 4))
    assert one.shape == (4096, 2)
    assert torch.equal(one, same)
    assert not torch.equal(one, next_one)
    assert float(one.min()) < -0.99
    assert float(one.max()) > 0.99


def test_a_shuffled_initialisation_has_the_same_values_within_each_array() -> None:
    fitter = fitter_of("shuffled")
    arrays = begun(fitter).arrays
    learned = {name.removeprefix("theta/"): array for name, array in fitter.state().items()}
    assert arrays.keys() == learned.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(np.sort(array[0], axis=None), np.sort(learned[name], axis=None))
        assert all(np.array_equal(array[0], row) for row in array)
        if learned[name].size > 2:
            assert not np.array_equal(array[0], learned[name])
    again = begun(fitter_of("shuffled")).arrays
    np.testing.assert_equal(arrays, again)


def test_a_standard_initialisation_fits_as_gradient_descent_with_sgd() -> None:
    rows = []
    for fitter in (
        {"name": "maml", "initialisation": "standard", "test_steps": 5, "test_lr": 1e-2},
        {"name": "gradient-descent", "optimiser": "sgd", "steps": 5, "lr": 1e-2},
    ):
        inr = {**SIREN, "coordinates": "unit-corners", "values": "centred"}
        built = resolve("siren", "digits", overrides=[{"inr": inr, "fitter": fitter}]).build()
        signals = GridSignals(draws.generator(1, "images").integers(0, 17, (3, 8, 8, 1), dtype=np.uint8))
        rows.append(Representations.joined(built.fitter.fit(signals, CellRun(0))))
    one, other = rows
    assert list(one.ids) == list(other.ids)
    assert one.layout.relative_to is None
    for name, array in one.arrays.items():
        np.testing.assert_allclose(array, other.arrays[name], rtol=0, atol=1e-6, err_msg=name)
        assert not np.array_equal(array[0], array[1])


def test_a_standard_initialisation_trains_nothing_and_says_so() -> None:
    fitter = fitter_of("standard")
    trained = fitter.train(images(), images(0), CellRun(0))
    assert dict(trained.shared) == {}
    assert trained.steps == 0
    facts = fitter.facts()
    assert (facts.initialisation, facts.train_flops) == ("independent", 0.0)
    assert fitter_of("matched").facts().initialisation == fitter_of("shuffled").facts().initialisation == "shared"


@pytest.mark.parametrize("train", [{"steps": 7, "epochs": 2.0}, SignalTrainingSettings(steps=7, epochs=2.0)])
def test_a_standard_initialisation_has_no_outer_steps_in_its_settings(train: Any) -> None:
    settings = MamlSettings(initialisation="standard", train=train)
    assert (settings.train.steps, settings.train.epochs) == (0, 2.0)
    assert MamlSettings(initialisation="matched", train=train).train.steps == 7


def test_all_that_start_from_what_was_learned_share_one_training() -> None:
    keys = {
        name: stage_keys(
            resolve("learned-init", "digits", overrides=[{"fitter": {"initialisation": name}}]), "data", "cpu"
        )
        for name in ("learned", "matched", "shuffled", "standard")
    }
    assert len({keys[name]["train"] for name in ("learned", "matched", "shuffled")}) == 1
    assert keys["standard"]["train"] != keys["learned"]["train"]
    assert len({each["fit"] for each in keys.values()}) == 4
