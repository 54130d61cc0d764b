"""The fields of a neural data set queried on a grid: what is written, what is taken up again, refused, and read."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from inrbench.analysis import Context
from inrbench.artefact import Artefact, Split, open_artefact
from inrbench.artefacts.folder import ArtefactFolder
from inrbench.artefacts.opened import replace_reader
from inrbench.artefacts.querying import Querying, grid_of, plan_query
from inrbench.artefacts.recorded import plan_reading, reader_settings, run_readings
from inrbench.cell_run import CellRun
from inrbench.cells import Built, resolve
from inrbench.cli import cli
from inrbench.domains import Array, Domain, Grid
from inrbench.errors import BadSetting, InrbenchError, Interrupted, NotFinite, Refused, UsageError
from inrbench.leaderboard import tables
from inrbench.records import read_records
from inrbench.registry import registry
from inrbench.representations import Arrays, Layout, Representations
from inrbench.rows import lane_of
from inrbench.signals import PartSpec

LAYOUT = Layout("latent", {"latent": (3,)}, None, {"omega_0": 30.0})
CELL = resolve("pixels", "digits", profile="smoke")
ORIGIN: dict[str, Any] = {
    "method": "pixels",
    "dataset": "digits",
    "profile": "smoke",
    "seed": 0,
    "settings": CELL.tree(),
    "splits": ["train", "test"],
    "data": "aa",
    "keys": {"train": "t", "fit": "f"},
}
FACTS: dict[str, Any] = {
    "initialisation": "meta-learned",
    "scope": "spatial",
    "labels_shape_fit": False,
    "shuffled_labels": False,
    "copies": 2,
    "train_signals": 20,
    "scored_signals": 12,
    "scored_split": "test",
    "scored_checksum": "bb",
    "validation_checksum": "",
    "augmented": False,
}
FITTER = {"parameters": 77, "adapted_values": 3, "train_flops": None, "fit_flops": 2.0}


def built() -> Built:
    """The parts of `pixels+digits` without its reader, which needs a framework."""
    return replace_reader(CELL).build()


def rows(ids: Array, copy: int) -> Representations:
    latents = np.random.default_rng(copy).normal(0.0, 0.4, (len(ids), 3)).astype(np.float32)
    latents[:, 0] += 0.3 * (ids % 3)
    return Representations(LAYOUT, {"latent": latents}, ids, np.full(len(ids), copy))


@pytest.fixture
def source(tmp_path: Path) -> Artefact:
    """20 signals of training, each with a copy, and 12 of testing, as latents; one of these sets says an estimate."""
    making = ArtefactFolder(tmp_path / "latents", ORIGIN)
    making.begin()
    train, test = np.arange(20), np.arange(1500, 1512)
    for copy in (0, 1):
        some, mse = rows(train, copy), np.linspace(0.1, 0.2, 20) if copy == 0 else np.full(20, np.nan)
        making.write("train", copy, some, {"labels": train % 3, "mse": mse, "mse_unclamped": 2.0 * mse})
    more = {"labels": test % 3, "mse": np.full(12, 0.1), "mse_unclamped": np.full(12, 0.2)}
    making.write("test", 0, rows(test, 0), {**more, "mse_estimate": np.full(12, 0.3)})
    document = {
        "name": "pixels+digits-smoke-s0",
        "dataset": "digits",
        "data": {"checksum": "aa", "official": True},
        "layout": LAYOUT,
        "signal": built().spec,
        "facts": FACTS,
        "fitter": FITTER,
        "plugins": {"data": "x 1"},
        "versions": {},
        "commit": "old",
    }
    return making.finish(document, {"theta": np.full(1, 0.25, np.float32)}, {"train": [20, 20], "test": [12]})


@dataclass
class Ramp:
    """A field that is a ramp: values far below 0 and far above 1 too. It yields chunks of 3 rows."""

    theta: float = 0.0
    asked: list[list[int]] = field(default_factory=list)

    def load(self, shared: Arrays) -> None:
        self.theta = float(shared["theta"][0])

    def query(self, given: Representations, domain: Domain, run: Any) -> Iterator[Array]:
        assert isinstance(domain, Grid)
        self.asked.append(given.ids.tolist())
        values = ramp(given, domain, self.theta)
        for first in range(0, len(values), 3):
            yield values[first : first + 3]


def ramp(given: Representations, grid: Grid, theta: float = 0.25) -> Array:
    latent = np.asarray(given.arrays["latent"])
    return (theta + latent[:, None, None, :1] + grid.coords() @ latent[:, None, 1:, None]).astype(np.float32)


def querying(source: Artefact, size: str | None = None, **changes: Any) -> Querying:
    made = Querying(source, CELL, Ramp(), grid_of(size, source.domain), ("train", "test"), "cpu")  # type: ignore[arg-type]
    return replace(made, **changes)


def make(planned: Querying, folder: Path, stop: threading.Event | None = None) -> Artefact:
    where = ArtefactFolder(folder, planned.origin())
    return where.begin() or planned.make(where, CellRun(0, stop=stop))


# ------------------------------------------------------------------ what is written


@pytest.mark.parametrize(("size", "grid"), [(None, Grid.of(8, 8)), ("2x", Grid.of(16, 16)), ("5", Grid.of(5, 5))])
def test_every_row_is_one_of_its_fields_clamped_values_with_all_that_is_known_of_it(
    source: Artefact, tmp_path: Path, size: str | None, grid: Grid
) -> None:
    made = make(querying(source, size), tmp_path / "rendered")
    assert list(made.splits) == list(source.splits)
    for name, before in source.splits.items():
        split = made.splits[name]
        values = np.asarray(split.rows.arrays["values"])
        unclamped = ramp(before.rows, grid)
        assert unclamped.min() < 0.0
        assert unclamped.max() > 1.0
        np.testing.assert_array_equal(values, np.clip(unclamped, 0.0, 1.0))
        assert values.dtype == np.float32
        for column in ("ids", "copies", "labels", "mse", "unclamped", "estimate"):
            np.testing.assert_array_equal(getattr(split, column), getattr(before, column), err_msg=column)
    assert made.splits["test"].estimate is not None
    assert made.splits["train"].estimate is None
    assert made.shared == {}
    own = np.asarray(made.splits["train"].rows.arrays["values"])[:20].astype(np.float64)
    np.testing.assert_allclose(made.statistics["values/mean"], own.mean(axis=0), rtol=1e-12)  # without the copies


def test_they_are_laid_out_as_the_signals_themselves(source: Artefact, tmp_path: Path) -> None:
    made = make(querying(source), tmp_path / "rendered")
    samples = built()
    assert made.layout == samples.fitter.layout  # of the fitter `samples`
    assert made.signal == samples.spec
    larger = make(querying(source, "2x"), tmp_path / "larger")
    (part,) = larger.signal.parts
    spec = replace(samples.spec, parts=(replace(part, shape=(16, 16)),))
    assert larger.signal == spec
    assert larger.layout == Layout("samples", {"values": (16, 16, 1)})


def test_the_manifest_says_what_was_rendered(source: Artefact, tmp_path: Path) -> None:
    made = make(querying(source), tmp_path / "rendered")
    origin = made.manifest["origin"]
    rendered = {"name": source.name, "key": source.key, "kind": "latent", "grid": [8, 8], "data_grid": [8, 8]}
    assert origin["rendered"] == rendered
    assert {key: origin[key] for key in ("method", "dataset", "seed")} == {
        "method": "pixels",
        "dataset": "digits",
        "seed": 0,
    }
    assert origin["keys"].keys() == {"train", "fit", "query"}
    assert origin["keys"]["fit"] == "f"
    assert made.name == "pixels+digits-smoke-s0-rendered"
    assert make(querying(source, "9"), tmp_path / "nine").name == "pixels+digits-smoke-s0-rendered-9x9"
    assert made.manifest["facts"] == {**FACTS, "scope": "samples", "rendered": True}
    assert made.manifest["data"] == source.manifest["data"]
    assert made.cell().name == "pixels+digits-smoke-s0"
    assert Context(made, CellRun(0)).domain == Grid.of(8, 8)


def test_splits_are_chosen(source: Artefact, tmp_path: Path) -> None:
    planned = querying(source, splits=("test",))
    assert planned.rows == 12
    assert list(make(planned, tmp_path / "rendered").splits) == ["test"]


@pytest.mark.parametrize(
    ("size", "shape"),
    [(None, (8, 6)), ("1x", (8, 6)), ("3x", (24, 18)), ("32", (32, 32)), ("1", (1, 1)), ("512x", (4096, 3072))],
)
def test_a_size_is_pixels_a_side_or_times_the_datas(size: str | None, shape: tuple[int, ...]) -> None:
    assert grid_of(size, Grid.of(8, 6)) == Grid.of(*shape)


@pytest.mark.parametrize("size", ["0", "0x", "x", "", "-1", "2.5", "2xx", "4097", "513x", "8x8", "²"])
def test_another_size_is_refused(size: str) -> None:
    with pytest.raises(BadSetting, match=f"--size {size}: allowed are 1 to 4096 pixels a side, as in 32, or times"):
        grid_of(size, Grid.of(8, 6))


# ------------------------------------------------------------------ interrupted, wrong, without room


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inrbench.artefacts.querying.shard_rows", lambda *_: 10)


@pytest.mark.usefixtures("small_shards")
def test_what_was_interrupted_goes_on_behind_the_last_whole_shard_to_the_same_bytes(
    source: Artefact, tmp_path: Path
) -> None:
    whole = make(querying(source), tmp_path / "whole")
    stop, fitter = threading.Event(), Ramp()
    queried = fitter.query

    def stopping(given: Representations, *more: Any) -> Iterator[Array]:
        if given.ids[0] == 0 and len(fitter.asked) == 2:  # the copies' first shard
            stop.set()
        return queried(given, *more)

    fitter.query = stopping  # type: ignore[method-assign]
    said = r"stopped; 20 of 40 rows of train are in .*halves, and the same command goes on behind them"
    with pytest.raises(Interrupted, match=said):
        make(querying(source, fitter=fitter), tmp_path / "halves", stop)
    again = Ramp()
    made = make(querying(source, fitter=again), tmp_path / "halves")
    assert again.asked == [list(range(10)), list(range(10, 20)), list(range(1500, 1510)), [1510, 1511]]
    assert made.key == whole.key
    for path in whole.folder.iterdir():
        assert path.read_bytes() == (made.folder / path.name).read_bytes()
    assert {path.name for path in made.folder.iterdir()} == {path.name for path in whole.folder.iterdir()}
    last = Ramp()
    make(querying(source, fitter=last), tmp_path / "halves")
    assert last.asked == []


def test_a_folder_of_another_size_or_of_other_rows_is_refused(source: Artefact, tmp_path: Path) -> None:
    make(querying(source), tmp_path / "rendered")
    with pytest.raises(UsageError, match=r"with rendered\.grid=\[8, 8\], not \[16, 16\]; say -o DIR"):
        make(querying(source, "2x"), tmp_path / "rendered")
    with pytest.raises(UsageError, match=r"with rendered\.key="):
        make(querying(replace(source, key="other")), tmp_path / "rendered")


def test_values_that_are_not_finite_name_their_signal(source: Artefact, tmp_path: Path) -> None:
    class Torn(Ramp):
        def query(self, *arguments: Any) -> Iterator[Array]:
            for values in super().query(*arguments):
                values[min(1, len(values) - 1), 2, 2] = np.nan
                yield values

    with pytest.raises(NotFinite, match="the reconstruction of signal 1 is not finite"):
        make(querying(source, fitter=Torn()), tmp_path / "rendered")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values[..., 0], r"the fitter gave values \[3, 8, 8\] for 3 rows on 8 x 8"),
        (lambda values: values[:, ::2], r"the fitter gave values \[3, 4, 8, 1\] for 3 rows on 8 x 8"),
        (lambda values: values[:2], r"the fitter gave the values of 14 rows where 20 were asked for"),
        (lambda values: np.repeat(values, 2, axis=0), r"the fitter gave values \[6, 8, 8, 1\] for 2 rows on 8 x 8"),
    ],
)
@pytest.mark.usefixtures("small_shards")
def test_a_fitter_that_answers_something_else_is_said(
    source: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, message: str
) -> None:
    class Wrong(Ramp):
        def query(self, *arguments: Any) -> Iterator[Array]:
            return (change(values) for values in super().query(*arguments))

    monkeypatch.setattr("inrbench.artefacts.querying.shard_rows", lambda *_: 20)
    with pytest.raises(InrbenchError, match=message):
        make(querying(source, fitter=Wrong()), tmp_path / "rendered")


def test_a_disk_without_room_is_said_before_any_query(
    source: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = querying(source, "64")
    assert planned.needed_bytes == 52 * (4 * 64 * 64 + 48)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=52 * 4 * 64 * 64))
    with pytest.raises(
        UsageError, match=r"rendered needs 0\.00 GB and its disk has .* free; say -o DIR on another one$"
    ):
        make(planned, tmp_path / "rendered")
    assert planned.fitter.asked == []  # type: ignore[attr-defined]


# ------------------------------------------------------------------ refused


def test_what_cannot_be_queried_is_refused_in_one_line(source: Artefact, tmp_path: Path) -> None:
    def refusal(artefact: Artefact, *arguments: Any) -> str:
        with pytest.raises(UsageError) as caught:
            plan_query(artefact, *arguments)
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(str(tmp_path), "")

    def changed(artefact: Artefact, **changes: Any) -> Artefact:
        origin = {**artefact.manifest["origin"], **changes}
        return replace(artefact, manifest={**artefact.manifest, "origin": origin})

    assert "/latents holds rows of latent [3], but fitter 'samples' as it is installed" in refusal(source)
    imported = changed(source, settings=None, **{"from": "nefs.hdf5"})
    assert refusal(imported) == (
        "/latents was imported from nefs.hdf5: no cell made it, so nobody can say what values its rows have (`query`)"
    )
    points = replace(source, signal=replace(source.signal, parts=(PartSpec("points", (99,), 3, 1),)))
    assert refusal(points) == "/latents: its signals are not on one grid but on points"
    both = replace(source, signal=replace(source.signal, parts=2 * source.signal.parts))
    assert refusal(both) == "/latents: its signals are not on one grid but on grid, grid"
    assert "has no split 'tset'; did you mean 'test'?" in refusal(source, None, ["train", "tset"])
    assert "device 'cuda:0': this cell runs in NumPy" in refusal(source, None, (), "cuda:0")
    assert "--size big: allowed are" in refusal(source, "big")
    samples = replace(source, layout=built().fitter.layout)
    assert refusal(samples) == "/latents holds 'samples': the values themselves, which readers read as they are"
    rendered = make(querying(source), tmp_path / "rendered")
    said = "/rendered holds values that pixels+digits-smoke-s0 was queried for, and no field's rows"
    assert refusal(rendered) == said
    with pytest.raises(Refused, match="was queried for, and no field's rows"):
        rendered.fitter(CellRun(0))


# ------------------------------------------------------------------ read


def test_readings_of_rendered_values_are_controls_that_tables_tell_apart(source: Artefact, tmp_path: Path) -> None:
    folders = {size: make(querying(source, size), tmp_path / f"rendered{size}") for size in (None, "2x")}
    planned = [plan_reading("knn", one, records=tmp_path) for one in (source, *folders.values())]
    assert [one.name.removeprefix("pixels+digits-smoke-s0-") for one in planned] == [
        "read-by-knn",
        "read-by-knn-on-rendered-pixels",
        "read-by-knn-on-rendered-pixels-at-16-x-16",
    ]
    assert len({one.key for one in planned}) == 3
    run_readings(planned, tmp_path / "records", threads=1, keep=False)
    found = {record["label"]: record for record in read_records(tmp_path / "records")}
    assert all(record["status"] == "ok" for record in found.values()), found
    latents, rendered, larger = (found[f"read by knn{more}"] for more in ("", *LABELS))
    assert rendered["metrics"]["psnr_db"] == pytest.approx(10.0)  # of the errors that came along
    assert rendered["metrics"]["accuracy"] > 1 / 3
    assert {record["costs"]["adapted_values"] for record in found.values()} == {3.0}
    assert [one["costs"]["bytes_per_signal"] for one in (latents, rendered, larger)] == [12.0, 256.0, 1024.0]
    assert lane_of(latents) == "meta-learned, spatial, fit without labels, 2 copies"
    assert lane_of(rendered) == lane_of(larger) == "rendered samples, fit without labels, 2 copies"
    (table,) = tables(tmp_path / "records")
    assert {(row.name, rank) for row, rank in zip(table.rows, table.ranks, strict=True)} == {
        ("pixels, read by knn", 1),
        *((f"read by knn{label}", None) for label in LABELS),  # the method's name, pixels, is in it
    }
    facts = {**rendered["facts"], "labels_shape_fit": True, "copies": 1}
    assert lane_of({**rendered, "facts": facts}) == "rendered samples, labels in the fit"
    raw = {key: value for key, value in rendered["facts"].items() if key != "rendered"}
    assert lane_of({**rendered, "facts": raw}) == "raw samples"


LABELS = (" on rendered pixels", " on rendered pixels at 16 x 16")


def test_values_on_three_axes_are_no_pixels(source: Artefact, tmp_path: Path) -> None:
    made = make(querying(source), tmp_path / "rendered")
    grid = {"grid": [4, 4, 4], "data_grid": [4, 4, 4]}
    origin = {**made.manifest["origin"], "rendered": {**made.manifest["origin"]["rendered"], **grid}}
    voxels = replace(made, manifest={**made.manifest, "origin": origin})
    assert plan_reading("knn", voxels, records=tmp_path).label == "read by knn on rendered samples"


def test_a_methods_settings_are_for_its_representations(source: Artefact, tmp_path: Path) -> None:
    made, mlp = make(querying(source), tmp_path / "rendered"), registry().find("reader", "mlp")
    assert reader_settings(mlp, source, []).model_dump()["width"] == 32  # of pixels at profile smoke
    default = reader_settings(mlp, made, [])
    assert default == type(default)()
    assert reader_settings(mlp, made, [{"reader": {"width": 8}}]).model_dump()["width"] == 8


# ------------------------------------------------------------------ whole cells


def good(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, [*arguments, "--threads", "1"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.cells
def test_weights_are_fitted_queried_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    copies = ("--set", "data.copies.count=2", "--set", "data.copies.pad=1")
    good("fit", "wt-two-stage+digits", "-o", "weights", "--profile", "smoke", "--device", "cpu", *copies)
    result = good("query", "weights", "-o", "rendered", "--device", "cpu")
    assert "wt-two-stage+digits-smoke-s0-rendered: 160 rows of 64 values, about 48.6 kB in rendered" in result.stderr
    assert [line.split()[:4] for line in result.stdout.splitlines()[1:]] == [
        ["train", "64", "128", "64"],
        ["test", "32", "32", "64"],
    ]
    weights, rendered = open_artefact("weights"), open_artefact("rendered")
    run = CellRun(0)
    fitter = weights.fitter(run)
    for name, split in weights.splits.items():
        values = np.concatenate(list(fitter.query(split.rows, Grid.of(8, 8), run)))
        np.testing.assert_array_equal(rendered.splits[name].rows.arrays["values"], np.clip(values, 0.0, 1.0))
        np.testing.assert_array_equal(rendered.splits[name].ids, split.ids)
    test: Split = rendered.splits["test"]
    originals = Context(rendered, run).signals(test.rows).stacked()
    assert originals is not None
    _, stored, (scale, offset) = originals
    mse = np.square(np.asarray(test.rows.arrays["values"]) - (stored * scale + offset)).reshape(32, -1).mean(axis=1)
    np.testing.assert_allclose(mse, test.mse, rtol=1e-4)  # type: ignore[arg-type]
    assert "made before" in good("query", "weights", "-o", "rendered", "--device", "cpu").stderr
    good("read", "mlp", "rendered", "weights", "--set", "reader.train.steps=20", "--records", "records")
    found = {record["label"]: record for record in read_records(Path("records"))}
    assert found.keys() == {"read by mlp", "read by mlp on rendered pixels"}
    control = found["read by mlp on rendered pixels"]
    assert control["status"] == "ok"
    assert control["settings"]["reader"]["name"] == "mlp"
    assert control["costs"]["reader_parameters"] == 65 * 512 + 513 * 512 + 513 * 10
    assert control["metrics"]["psnr_db"] == found["read by mlp"]["metrics"]["psnr_db"]
    again = CliRunner().invoke(cli, ["query", "weights", "-o", "./weights"])
    assert (again.exit_code, again.stderr) == (2, "error: -o 'weights' is DIR itself; say another folder\n")
