"""Augmented copies: fixed, numbered, keyed by the signal."""

from __future__ import annotations

import numpy as np
import pytest

from inrbench import draws
from inrbench.copied import check_copies, copied, pieces
from inrbench.domains import Array
from inrbench.errors import BadSetting
from inrbench.settings import Copies, DataSettings, validated
from inrbench.signals import GridSignals, PartSpec, SignalSpec


def rng(*purpose: object) -> np.random.Generator:
    return draws.generator(3, *purpose)


def signals(count: int = 6, side: int = 4) -> GridSignals:
    """Images whose pixels all differ and are never 0."""
    values = 1 + np.arange(count * side * side, dtype=np.uint8).reshape(count, side, side, 1)
    return GridSignals(values, np.arange(count), np.arange(10, 10 + count))


def spec(domain: str = "grid", shape: tuple[int, ...] = (4, 4)) -> SignalSpec:
    return SignalSpec((PartSpec(domain, shape, len(shape), 1),))  # type: ignore[arg-type]


def windows(image: Array, copies: Copies) -> list[Array]:
    """Every crop of the padded image, and every mirrored one where copies are flipped."""
    room, side = 2 * copies.pad + 1, len(image)
    mode = {"zero": "constant", "reflect": "reflect"}[copies.pad_mode]
    padded = np.pad(image, [(copies.pad,) * 2] * 2 + [(0, 0)], mode=mode)  # type: ignore[call-overload]
    crops = [padded[i : i + side, j : j + side] for i in range(room) for j in range(room)]
    return crops + ([crop[:, ::-1] for crop in crops] if copies.flip else [])


@pytest.mark.parametrize(
    "copies",
    [
        Copies(count=9, pad=2),
        Copies(count=9, pad=3, pad_mode="reflect"),
        Copies(count=9, flip=True),
        Copies(count=9, pad=1, flip=True),
    ],
)
def test_a_copy_is_a_crop_of_the_padded_signal_perhaps_mirrored(copies: Copies) -> None:
    whole = signals()
    seen: set[int] = set()
    for number in range(1, copies.count):
        made = copied(whole, copies, number, rng)
        _, values, to_unit = made.stacked()  # type: ignore[misc]
        assert to_unit == whole.to_unit
        assert values.dtype == np.uint8
        assert made.labels is None
        np.testing.assert_array_equal(made.ids, whole.ids)
        for image, copy in zip(whole.values, values, strict=True):
            fitting = [i for i, crop in enumerate(windows(image, copies)) if np.array_equal(crop, copy)]
            assert fitting
            seen |= set(fitting)
    places = (2 * copies.pad + 1) ** 2 * (2 if copies.flip else 1)
    assert len(seen) > 0.6 * min(places, 48)  # 48 copies were drawn, from all over the place


def test_copy_0_is_the_signal_itself_without_its_label() -> None:
    made = copied(signals(), Copies(count=3, pad=1), 0, rng)
    np.testing.assert_array_equal(made.stacked()[1], signals().values)  # type: ignore[index]
    assert made.labels is None


def test_a_copy_depends_on_seed_number_and_id_alone() -> None:
    copies = Copies(count=4, pad=4, flip=True)
    whole = copied(signals(), copies, 2, rng).stacked()[1]  # type: ignore[index]
    some = np.array([4, 1])
    np.testing.assert_array_equal(copied(signals().take(some), copies, 2, rng).stacked()[1], whole[some])  # type: ignore[index]
    assert not np.array_equal(copied(signals(), copies, 3, rng).stacked()[1], whole)  # type: ignore[index]
    other = copied(signals(), copies, 2, lambda *purpose: draws.generator(4, *purpose))
    assert not np.array_equal(other.stacked()[1], whole)  # type: ignore[index]


def test_flips_do_not_move_the_crops() -> None:
    plain = copied(signals(), Copies(count=2, pad=2), 1, rng).stacked()[1]  # type: ignore[index]
    mirrored = copied(signals(), Copies(count=2, pad=2, flip=True), 1, rng).stacked()[1]  # type: ignore[index]
    same = [np.array_equal(a, b) or np.array_equal(a, b[:, ::-1]) for a, b in zip(plain, mirrored, strict=True)]
    assert all(same)
    assert not np.array_equal(plain, mirrored)


@pytest.mark.parametrize(("scale", "offset"), [(0.5, 0.5), (1 / 250.0, -0.02)])
def test_padding_is_zero_in_units_of_the_signal_whatever_is_stored(scale: float, offset: float) -> None:
    stored = np.full((1, 4, 4, 1), 60, dtype=np.uint8)
    whole = GridSignals(stored, None, np.array([1]), (scale, offset))
    units = []
    for number in range(1, 30):
        part = copied(whole, Copies(count=30, pad=4), number, rng).observed(0)[0]
        units.append(part.unit_values())
    values = np.unique(np.round(np.concatenate(units), 5))
    np.testing.assert_allclose(values, [0.0, 60 * scale + offset], atol=1e-5)


def test_pieces_cover_all_signals_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inrbench.copied.PIECE_BYTES", 8 * 8 * 4 * 4)  # four padded images
    found = list(pieces(signals(), Copies(count=2, pad=2)))
    assert [(one.start, one.stop) for one in found] == [(0, 4), (4, 6)]
    assert list(pieces(signals(), Copies(count=2, pad=2), whole=True)) == [slice(0, 6)]


@pytest.mark.parametrize(
    ("copies", "given", "message"),
    [
        (Copies(count=2, pad=1), spec("points", (100,)), "data.copies.count=2: allowed is 1 for signals on points"),
        (
            Copies(count=2, flip=True),
            spec("grid", (100,)),
            "data.copies.flip=true: allowed is false for signals",
        ),
        (Copies(count=2, pad=4, pad_mode="reflect"), spec(), "data.copies.pad=4: allowed are 0 to 3 for a reflection"),
    ],
)
def test_copies_that_signals_cannot_have_are_refused(copies: Copies, given: SignalSpec, message: str) -> None:
    with pytest.raises(BadSetting, match=message):
        check_copies(copies, given)


def test_copies_that_would_all_be_the_signal_are_refused_and_one_needs_nothing() -> None:
    with pytest.raises(BadSetting, match=r"settings of 'data.copies': with count=5 copies need pad or flip"):
        validated(DataSettings, {"copies": {"count": 5}}, "data")
    check_copies(Copies(pad=3), spec("points", (7,)))
