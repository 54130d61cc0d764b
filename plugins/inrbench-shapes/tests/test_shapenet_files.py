"""shapenet10 on generated files of fit-a-nef's layout: the splits, the points, and damaged files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inrbench_shapes.shapenet10 import CATEGORIES, LEFT_OUT, ShapeNet10, ShapeNet10Settings

from inrbench.data import open_dataset
from inrbench.domains import Array, Points
from inrbench.errors import BadData, BadSetting
from inrbench.selection import select

UNIFORM, NEAR = 40, 24


def arrays_of(number: int) -> dict[str, Array]:
    """A ball whose radius tells the shape, as a file has it."""
    rng, radius = np.random.default_rng(number), 0.3 + 0.01 * number
    uniform = rng.uniform(-1.0, 1.0, (UNIFORM, 3))
    near = rng.standard_normal((NEAR, 3))
    near = radius * near / np.linalg.norm(near, axis=1, keepdims=True) * rng.uniform(0.9, 1.1, (NEAR, 1))
    points = {"random_points": uniform, "near_surf_points": near.astype(np.float32)}
    return points | {f"{k}_occupancy": (v**2).sum(axis=1) <= radius**2 for k, v in points.items()}


def write(path: Path, arrays: dict[str, Array]) -> None:
    np.savez(path, **arrays)  # type: ignore[arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with four shapes of each category and the two that are left out."""
    for k, synset in enumerate(CATEGORIES):
        folder = tmp_path / "shapenet10" / "ShapeNet" / synset
        folder.mkdir(parents=True)
        for i in range(4):
            write(folder / f"{i:032x}.npz", arrays_of(4 * k + i))
        (folder / "readme.txt").write_text("not a shape")
    for name in LEFT_OUT:
        (tmp_path / "shapenet10" / "ShapeNet" / name).write_bytes(b"broken")
    return tmp_path


def dataset(**settings: Any) -> ShapeNet10:
    return ShapeNet10(ShapeNet10Settings(**settings))


def first_of(root: Path, synset: str = "03691459") -> Path:
    return root / "shapenet10" / "ShapeNet" / synset / f"{0:032x}.npz"


def observed_error(root: Path, **settings: Any) -> str:
    """What is said when all signals are asked for."""
    splits = dataset(**settings).load(root / "shapenet10")
    with pytest.raises(BadData) as raised:
        [signals.observed(i) for signals in splits.values() for i in range(len(signals))]
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_without_the_data_it_is_counted_as_the_paper_counts() -> None:
    spec = dataset().spec()
    assert spec.sizes == {"train": 31_000, "test": 4_984}
    assert round(dataset().settings.validation * 31_000) == 2_000
    assert spec.class_names == (
        *("loudspeaker", "bench", "watercraft", "lamp", "rifle"),
        *("sofa", "car", "airplane", "chair", "table"),
    )
    assert (spec.coord_dim, spec.channels, spec.parts[0].measure) == (3, 1, "occupancy")
    assert dataset(points=512).spec().parts[0].shape == (1024,)


def test_of_all_shapes_29000_are_trained_on_and_2000_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [1596, 1813, 1939, 2318, 2373, 3173, 3514, 4045, 6777, 8436]  # as fit-a-nef has them, less two left out
    number = dict(zip(CATEGORIES, counts, strict=True))

    def listed(root: Path, synset: str) -> list[Path]:
        return [root / synset / f"{i}.npz" for i in range(number[synset])]

    monkeypatch.setattr("inrbench_shapes.shapenet10._shapes", listed)
    splits = dataset().load(Path("nowhere"))
    assert {split: len(signals) for split, signals in splits.items()} == {"train": 31_000, "test": 4_984}
    selected = select(splits, dataset().settings, seed=0)
    assert (len(selected.train), len(selected.validation), len(selected.scored)) == (29_000, 2_000, 4_984)


def test_the_splits_share_no_signal_and_are_in_the_shuffled_order(root: Path) -> None:
    splits = dataset().load(root / "shapenet10")
    assert (len(splits["train"]), len(splits["test"])) == (34, 6)  # 40 shapes: 34.46 of them
    ids = np.concatenate([signals.ids for signals in splits.values()])
    assert sorted(ids.tolist()) == list(range(40))
    order = np.random.default_rng(42).permutation(40)  # a shuffle of the numbers
    labels = np.concatenate([signals.labels for signals in splits.values() if signals.labels is not None])
    assert labels.tolist() == (order // 4).tolist()
    for signals in splits.values():
        for i, number in zip(range(len(signals)), order[signals.ids], strict=True):
            (part,) = signals.observed(i)
            np.testing.assert_array_equal(part.values[:UNIFORM, 0], arrays_of(number)["random_points_occupancy"])


def test_a_signal_is_observed_on_all_points_and_scored_on_the_uniform_ones(root: Path) -> None:
    (signals, both) = (dataset(**more).load(root / "shapenet10")["test"] for more in ({}, {"scored_on": "all"}))
    assert signals.stacked() is None
    (observed,), (scored,) = signals.observed(2), signals.scored(2)
    assert isinstance(observed.domain, Points)
    assert observed.domain.coords.shape == (UNIFORM + NEAR, 3)
    assert observed.domain.coords.dtype == np.float32
    assert observed.values.dtype == np.uint8
    assert observed.measure == scored.measure == "occupancy"
    np.testing.assert_array_equal(scored.domain.coords, observed.domain.coords[:UNIFORM])  # type: ignore[union-attr]
    np.testing.assert_array_equal(scored.values, observed.values[:UNIFORM])
    assert 0.0 < observed.unit_values().mean() < 1.0
    np.testing.assert_array_equal(both.scored(2)[0].values, observed.values)


def test_fewer_points_are_the_first_ones_and_an_extent_becomes_the_side(root: Path) -> None:
    whole, some = (dataset(**more).load(root / "shapenet10")["train"] for more in ({}, {"points": 10, "extent": 2.0}))
    (all_points,), (few,) = whole.observed(1), some.unlabelled().take(np.array([1])).observed(0)
    chosen = [*range(10), *range(UNIFORM, UNIFORM + 10)]
    np.testing.assert_array_equal(few.values, all_points.values[chosen])
    np.testing.assert_array_equal(few.domain.coords, all_points.domain.coords[chosen] / 2)  # type: ignore[union-attr]
    assert f"setting data.points={UNIFORM}" in observed_error(root, points=UNIFORM)  # of those near the surface


def test_nothing_is_read_before_it_is_asked_for(root: Path) -> None:
    first_of(root).write_bytes(b"")
    splits = dataset().load(root / "shapenet10")
    assert sum(len(signals.unlabelled()) for signals in splits.values()) == 40


def test_it_opens_as_data_that_is_not_official(root: Path) -> None:
    with pytest.raises(BadData, match=r"is not the official file: sha256 found .* no checksum of this form"):
        open_dataset("shapenet10", dataset(), root, unofficial=False, download=False)
    opened = open_dataset("shapenet10", dataset(), root, unofficial=True, download=False)
    assert opened.name == f"shapenet10~{opened.checksum[:8]}"
    with pytest.raises(BadData, match=r"get what is missing at https://github\.com/samuelepapa/fit-a-nef"):
        open_dataset("shapenet10", dataset(), root / "elsewhere", unofficial=True)


def test_damaged_files_are_named_in_one_line(root: Path) -> None:
    path, arrays = first_of(root), arrays_of(0)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"hello", whole[:300] + bytes(64) + whole[364:]):
        path.write_bytes(content)
        message = observed_error(root)
        assert str(path) in message
    bad = np.full((UNIFORM, 3), np.nan)
    for name, value, said in (
        ("random_points", bad, "coordinates that are not finite"),
        ("random_points", arrays["random_points"] * 3, "reaches 2.9"),
        ("random_points", arrays["random_points"][:, :2], r"has the shape (40, 2) and holds float64"),
        ("near_surf_points", np.zeros((0, 3)), "has 0 points and 24 occupancies"),
        ("near_surf_points_occupancy", np.packbits(np.ones(NEAR, bool)), "has 24 points and 3 occupancies"),
        ("near_surf_points_occupancy", np.full(NEAR, 0.5), "other occupancies than 0 and 1"),
        ("random_points_occupancy", np.array([None] * UNIFORM), "damaged file"),  # a pickle
    ):
        write(path, arrays | {name: value})
        message = observed_error(root)
        assert str(path) in message
        assert said in message
    write(path, {name: value for name, value in arrays.items() if name != "near_surf_points"})
    assert "lacks near_surf_points; allowed are files with random_points," in observed_error(root)


def test_a_category_without_shapes_is_named(root: Path) -> None:
    for path in (root / "shapenet10" / "ShapeNet" / "04379243").glob("*.npz"):
        path.unlink()
    with pytest.raises(BadData, match=r"04379243: holds no shapes \(table\); looked for MODEL\.npz"):
        dataset().load(root / "shapenet10")
    with pytest.raises(BadData, match=r"03691459: cannot be read"):
        dataset().load(root)


def test_a_name_that_takes_no_place_refuses_one() -> None:
    with pytest.raises(BadSetting, match="takes nothing behind a colon; given: 'place'"):
        ShapeNet10(ShapeNet10Settings(), "place")
