"""Verifying: what a record says is computed once more; a number that is not what was computed is found."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inrbench import metrics, verifying
from inrbench import render as rendering
from inrbench.domains import Array
from inrbench.errors import BadData, RecordError, Refused, UnknownName
from inrbench.records import read_record, write_record
from inrbench.representations import Layout, Representations
from inrbench.signals import GridSignals
from inrbench.stages import Stages
from inrbench.verifying import Check, Verified, verify

IDS = np.array([7, 3, 9, 12, 1])
KEYS = {"train": "k1", "fit": "k2", "read": "k3", "score": "k4"}
LAYOUT = Layout("latent", {"mean": (1,)})
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1), dtype=np.uint8)
FITTED = np.linspace(1.2, 0.4, 5)[:, None]  # a field here is one grey; beyond white it is clamped
SHARED = {"offset": np.full(1, 0.05)}


def errors() -> Array:
    greys = FITTED[:, :, None, None] + SHARED["offset"]
    return np.asarray(metrics.squared_error(np.broadcast_to(greys, IMAGES.shape), IMAGES / np.float32(255.0)))


def vectors(**changes: Array) -> dict[str, Array]:
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(5, 3)).astype(np.float32), np.array([0, 1, 2, 0, 1])
    _, correct = metrics.classification(logits, labels)
    estimate = np.where(IDS == 9, np.nan, 0.01)
    found = {"ids": IDS, "mse": errors(), "mse_estimate": estimate, "logits": logits, "labels": labels}
    return {**found, "correct": correct, **changes}


def write(folder: Path, arrays: dict[str, Array] | None = None, **changes: Any) -> dict[str, Any]:
    """A record whose metrics are those of its vectors, but for ``changes``."""
    held = vectors()
    values = metrics.of_vectors(held, held["mse"] * 1.5)
    values |= metrics.classification(held["logits"], held["labels"])[0]
    document = {
        "schema": 2,
        **dict.fromkeys(("method", "dataset", "profile", "label", "finished"), "x"),
        **{name: {} for name in ("costs", "settings")},
        "cell": "mean+grey-smoke-s0",
        "key": "k4",
        "keys": KEYS,
        "seed": 0,
        "status": "ok",
        "data": {"checksum": "c", "official": True},
        "facts": {"scope": "global"},
        "machine": {"device": "cpu", "threads": 1},
    }
    metrics_of = {**values, **changes.pop("metrics", {})}
    whole = {**document, **changes, "metrics": {k: v for k, v in metrics_of.items() if v != "none"}}
    return read_record(write_record(folder, whole, vectors() if arrays is None else arrays))


def checks(found: Verified) -> dict[str, Check]:
    return {check.name: check for check in found.checks}


def wrong(found: Verified) -> list[str]:
    return [check.name for check in found.wrong]


# ------------------------------------------------------------------ from the vectors


def test_metrics_are_computed_once_more_from_the_vectors(tmp_path: Path) -> None:
    record = write(tmp_path)
    found = verify(record, tmp_path, query=False)
    assert (wrong(found), found.queried, found.cell) == ([], 0, "mean+grey-smoke-s0")
    names = set(record["metrics"]) - {"psnr_unclamped_db"}
    assert checks(found).keys() == names | {"signals classified otherwise"}
    assert all(check.recorded == check.recomputed for check in found.checks)
    assert found.notes == ("nothing is stored to recompute: psnr_unclamped_db",)


@pytest.mark.parametrize(
    ("metric", "by"),
    [
        *((name, 1e-6) for name in ("psnr_db", "psnr_db_low", "psnr_db_high", "psnr_global_db", "psnr_median_db")),
        *((name, 1e-6) for name in ("psnr_estimate_db", "psnr_estimate_db_low", "psnr_estimate_signals")),
        *((name, 1e-6) for name in ("accuracy", "accuracy_low", "accuracy_high")),
        ("cross_entropy", 1e-5),
    ],
)
def test_a_metric_that_is_not_that_of_the_vectors_is_found(tmp_path: Path, metric: str, by: float) -> None:
    true = write(tmp_path)["metrics"][metric]
    found = verify(write(tmp_path, metrics={metric: true + by}), tmp_path, query=False)
    assert wrong(found) == [metric]
    assert checks(found)[metric].difference == pytest.approx(-by, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"mse": np.full(5, 0.5)}, "psnr_db"),
        ({"mse_estimate": np.full(5, 0.01)}, "psnr_estimate_signals"),
        ({"labels": np.array([2, 1, 0, 0, 1])}, "cross_entropy"),
        ({"correct": np.array([True] * 5)}, "signals classified otherwise"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_vectors_that_are_not_those_of_the_metrics_are_found(
    tmp_path: Path, changes: dict[str, Array], expected: str
) -> None:
    assert expected in wrong(verify(write(tmp_path, vectors(**changes)), tmp_path, query=False))


def test_an_interval_that_there_is_not_is_none_on_both_sides(tmp_path: Path) -> None:
    one = {"ids": np.arange(1), "mse": np.full(1, 0.01)}
    values = {"psnr_db": 20.0, "psnr_db_low": None, "psnr_db_high": None}
    rest = dict.fromkeys(write(tmp_path)["metrics"].keys() - values.keys(), "none")
    found = verify(write(tmp_path, one, metrics={**values, **rest}), tmp_path, query=False)
    assert (wrong(found), math.isnan(checks(found)["psnr_db_low"].recomputed)) == ([], True)
    lost = verify(write(tmp_path, metrics={"psnr_db_low": None}), tmp_path, query=False)
    assert wrong(lost) == ["psnr_db_low"]


def test_a_metric_that_an_earlier_version_did_not_record_is_no_difference(tmp_path: Path) -> None:
    found = verify(write(tmp_path, metrics={"psnr_estimate_signals": "none"}), tmp_path, query=False)
    assert wrong(found) == []
    assert "psnr_estimate_signals" not in checks(found)


def test_large_logits_are_allowed_what_single_precision_makes_of_them(tmp_path: Path) -> None:
    double = 1e4 + np.random.default_rng(0).normal(size=(5, 3))
    values, correct = metrics.classification(double, vectors()["labels"])
    held = vectors(logits=double.astype(np.float32), correct=correct)
    found = verify(write(tmp_path, held, metrics=values), tmp_path, query=False)
    assert checks(found)["cross_entropy"].difference != 0.0
    assert wrong(found) == []


def test_a_record_without_vectors_has_nothing_to_check(tmp_path: Path) -> None:
    found = verify(write(tmp_path, {}), tmp_path)
    assert found.checks == ()


def test_missing_vectors_are_an_error(tmp_path: Path) -> None:
    record = write(tmp_path)
    next(tmp_path.glob("*.safetensors")).unlink()
    with pytest.raises(RecordError, match="are missing"):
        verify(record, tmp_path)


# ------------------------------------------------------------------ queried again


class Grey:
    """A fitter whose fields are one grey each."""

    layout = LAYOUT
    off = 0.0

    def load(self, shared: dict[str, Array]) -> None:
        self.offset = shared["offset"]

    def query(self, rows: Representations, domain: Any, run: Any) -> Iterator[Array]:
        greys = rows.arrays["mean"][:, :, None, None] + self.offset + self.off
        yield np.broadcast_to(greys, (len(rows), *domain.shape, 1))


class Cell:
    """What `cell_of` makes of the record."""

    name, dataset, data_settings, seed, plugins = "x", "x", None, 0, {"data": object()}

    def __init__(self, fitter: Any) -> None:
        self.fitter = fitter

    def engine(self) -> Any:
        def resolve(name: str) -> str:
            if name != "cpu":
                raise Refused(f"no {name} here")
            return name

        return SimpleNamespace(resolve_device=resolve, prepare=lambda device, threads: None)

    def build(self) -> Any:
        return SimpleNamespace(fitter=self.fitter)


@pytest.fixture
def grey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Grey:
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))
    fitter = Grey()
    monkeypatch.setattr(verifying, "cell_of", lambda record: Cell(fitter))
    monkeypatch.setattr(verifying, "replace_reader", lambda cell: cell)
    monkeypatch.setattr(verifying, "stage_keys", lambda *_: {"score": "k4"})
    return fitter


def keep(tmp_path: Path, count: int = 3, ids: Array = IDS, images: Array = IMAGES) -> Path:
    rows = Representations(LAYOUT, {"mean": FITTED[:count]}, ids[:count], np.zeros(count))
    Stages(tmp_path / "cache" / "stages", KEYS).keep_sample(rows, SHARED, 0, GridSignals(images, ids=ids))
    return tmp_path / "cache" / "stages" / "k4" / "sample.safetensors"


def furthest(found: Verified) -> Check:
    (check,) = [check for check in found.checks if check.name.startswith("root of squared error")]
    return check


def test_kept_representations_are_queried_again(tmp_path: Path, grey: Grey) -> None:
    keep(tmp_path)
    found = verify(write(tmp_path / "records"), tmp_path / "records")
    assert (wrong(found), found.queried) == ([], 3)
    check = furthest(found)
    assert check.allowed == 1e-5
    assert abs(check.difference) < 1e-6
    assert check.name.endswith("(the furthest of 3)")
    assert check.recorded in np.sqrt(errors())[:3]
    assert found.notes == ("nothing is stored to recompute: psnr_unclamped_db",)


@pytest.mark.parametrize(("off", "holds"), [(3e-6, True), (1e-3, False), (-1e-3, False)])
def test_a_field_that_answers_otherwise_is_found(tmp_path: Path, grey: Grey, off: float, holds: bool) -> None:
    keep(tmp_path)
    grey.off = off
    found = verify(write(tmp_path / "records"), tmp_path / "records")
    assert furthest(found).holds is holds
    assert (
        verify(read_record(next((tmp_path / "records").glob("*.json"))), tmp_path / "records", query=False).wrong == []
    )


def test_the_signal_that_is_furthest_is_named(tmp_path: Path, grey: Grey) -> None:
    held = errors()
    held[1] *= 1.5
    keep(tmp_path)
    found = verify(write(tmp_path / "records", vectors(mse=held)), tmp_path / "records")
    assert furthest(found).name == "root of squared error, signal 3 (the furthest of 3)"
    assert furthest(found).recomputed == pytest.approx(math.sqrt(errors()[1]), rel=1e-5)
    held[1] /= 1.5
    held[4] *= 1.5  # of that one nothing is kept
    assert furthest(verify(write(tmp_path / "records", vectors(mse=held)), tmp_path / "records")).holds


def test_a_sample_of_other_signals_is_found(tmp_path: Path, grey: Grey) -> None:
    keep(tmp_path, ids=np.array([7, 3, 100, 12, 1]))
    found = verify(write(tmp_path / "records"), tmp_path / "records")
    assert wrong(found) == ["kept signals that are not those that were scored first"]
    assert found.wrong[0].recomputed == 1.0
    keep(tmp_path, ids=IDS[::-1])
    assert verify(write(tmp_path / "records"), tmp_path / "records").wrong


def test_a_damaged_sample_is_an_error(tmp_path: Path, grey: Grey) -> None:
    path = keep(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadData, match=r"sample\.safetensors is damaged"):
        verify(write(tmp_path / "records"), tmp_path / "records")


@pytest.mark.parametrize("changes", [{}, {"artefact": {"seed": 0}}, {"keys": {"train": "k1"}}], ids=str)
def test_without_a_sample_that_is_said(tmp_path: Path, grey: Grey, changes: dict[str, Any]) -> None:
    if changes:
        keep(tmp_path)
    found = verify(write(tmp_path / "records", **changes), tmp_path / "records")
    assert (wrong(found), found.queried) == ([], 0)
    assert found.notes[-1] == "its representations are not kept in the cache, so they are not queried again"


def test_another_kind_of_device_and_bfloat16_are_allowed_more(tmp_path: Path, grey: Grey) -> None:
    keep(tmp_path)
    other = verify(write(tmp_path / "a", machine={"device": "cuda:1", "threads": 1}), tmp_path / "a")
    assert furthest(other).allowed == 1e-2
    assert other.notes[-1] == "it was made on cuda, which is not here; queried on the cpu"
    half = verify(write(tmp_path / "b", settings={"fitter": {"fit_precision": "bfloat16"}}), tmp_path / "b")
    assert furthest(half).allowed == 1e-2


def test_code_that_has_changed_is_said_and_what_it_cannot_take_is_no_difference(
    tmp_path: Path, grey: Grey, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tmp_path)
    record = write(tmp_path / "records")
    monkeypatch.setattr(verifying, "stage_keys", lambda *_: {"score": "another"})
    found = verify(record, tmp_path / "records")
    assert found.notes[-1] == "code or versions have changed since: the fitter that is asked is today's"
    monkeypatch.setattr(Grey, "load", lambda self, shared: shared["theta"])
    found = verify(record, tmp_path / "records")
    assert (wrong(found), found.queried) == ([], 0)
    expected = "its representations cannot be queried again: today's fitter does not take them (KeyError: 'theta')"
    assert found.notes[-1] == expected
    monkeypatch.setattr(verifying, "stage_keys", lambda *_: {"score": "k4"})
    with pytest.raises(KeyError):  # the same code: a bug
        verify(record, tmp_path / "records")


def test_a_cell_whose_parts_are_not_installed_is_checked_from_its_vectors(
    tmp_path: Path, grey: Grey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(record: Any) -> Any:
        raise UnknownName("no method named 'mean'")

    keep(tmp_path)
    monkeypatch.setattr(verifying, "cell_of", unknown)
    found = verify(write(tmp_path / "records"), tmp_path / "records")
    assert (wrong(found), found.queried, len(found.checks) > 10) == ([], 0, True)
    assert found.notes[-1] == "its representations cannot be queried again: no method named 'mean'"


@pytest.mark.parametrize(("checksum", "queried"), [("c", 3), ("another", 0)])
def test_where_no_originals_are_kept_they_come_from_the_data(
    tmp_path: Path, grey: Grey, monkeypatch: pytest.MonkeyPatch, checksum: str, queried: int
) -> None:
    asked: dict[str, Any] = {}

    def open_dataset(name: str, dataset: Any, root: Any, **how: Any) -> Any:
        asked.update(how, root=root)
        return SimpleNamespace(name="grey", checksum=checksum, splits={})

    monkeypatch.setattr("inrbench.stages.LARGEST_ORIGINAL", 0)
    keep(tmp_path)
    monkeypatch.setattr(rendering, "open_dataset", open_dataset)
    monkeypatch.setattr(rendering, "build_dataset", lambda *_: None)
    monkeypatch.setattr(rendering, "select", lambda *_: SimpleNamespace(scored=GridSignals(IMAGES, ids=IDS)))
    found = verify(write(tmp_path / "records"), tmp_path / "records", data_root=tmp_path)
    assert (wrong(found), found.queried) == ([], queried)
    assert asked == {"unofficial": True, "download": False, "root": tmp_path}
    if not queried:
        assert found.notes[-1].endswith("the data of grey is not what it was")
