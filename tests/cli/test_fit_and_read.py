"""Neural data sets from the command line: made, taken up again, read, and refused where something does not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from inrbench.artefact import open_artefact
from inrbench.artefacts.fitting import Fitting
from inrbench.cell_run import CellRun
from inrbench.cli import cli
from inrbench.records import read_records, vectors_of

SMOKE = ("--profile", "smoke", "--threads", "1")


@pytest.fixture(autouse=True)
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INRBENCH_RECORDS", str(tmp_path / "records"))
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "records"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def good(*arguments: str) -> Result:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ------------------------------------------------------------------ fit


def test_the_samples_of_digits_as_a_neural_data_set() -> None:
    result = good("fit", "pixels+digits", "-o", "samples", *SMOKE)
    assert "pixels+digits-smoke-s0: 96 rows of 64 values, about 29.2 kB in samples" in result.stderr
    assert "`inrbench read mlp samples` reads it" in result.stderr
    assert [line.split()[:4] for line in result.stdout.splitlines()[1:]] == [
        ["train", "64", "64", "64"],
        ["test", "32", "32", "64"],
    ]
    made = open_artefact(Path("samples"))
    assert made.layout.kind == "samples"
    assert made.splits["test"].mse is None  # samples have no reconstruction
    assert made.cell().name == "pixels+digits-smoke-s0"
    assert made.manifest["data"]["official"]
    np.testing.assert_array_equal(made.fitter(CellRun(0)).layout.shapes["values"], (8, 8, 1))
    assert "made before" in good("fit", "pixels+digits", "-o", "samples", *SMOKE).stderr


def test_splits_are_chosen_and_held_out_ones_are_there() -> None:
    held_out = ("--set", "data.validation=0.2")
    good("fit", "pixels+digits", "-o", "all", *SMOKE, *held_out)
    made = open_artefact(Path("all"))
    assert {name: len(split) for name, split in made.splits.items()} == {"train": 64, "validation": 287, "test": 32}
    assert not np.intersect1d(made.splits["train"].ids, made.splits["validation"].ids).size
    good("fit", "pixels+digits", "-o", "some", *SMOKE, *held_out, "--splits", "test,train")
    assert list(open_artefact(Path("some")).splits) == ["train", "test"]


def test_copies_are_rows_behind_the_signals_with_their_ids_and_labels() -> None:
    good("fit", "pixels+digits", "-o", "copies", *SMOKE, "--copies", "4", "--set", "data.copies.pad=2")
    made = open_artefact(Path("copies"))
    train = made.splits["train"]
    values = np.asarray(train.rows.arrays["values"]).reshape(4, 64, 8, 8)
    assert len(made.splits["test"]) == 32
    np.testing.assert_array_equal(train.copies, np.repeat(np.arange(4), 64))
    np.testing.assert_array_equal(train.ids, np.tile(train.ids[:64], 4))
    np.testing.assert_array_equal(train.labels, np.tile(train.labels[:64], 4))  # type: ignore[index]
    good("fit", "pixels+digits", "-o", "plain", *SMOKE)
    plain = open_artefact(Path("plain")).splits["train"]
    np.testing.assert_array_equal(values[0], np.asarray(plain.rows.arrays["values"])[..., 0])
    for copy in values[1:]:
        assert 0 < sum(not np.array_equal(*pair) for pair in zip(copy, values[0], strict=True)) <= 64
    assert made.manifest["facts"]["copies"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("pixels+digits,mnist", "-o", "x"),
            "a neural data set is of one METHOD+DATASET; given: 'pixels",
        ),
        (("pixels+digits", "-o", "x", "--splits", "tset"), "no split 'tset'; known: train, validation, test"),
        (
            ("pixels+digits", "-o", "x", "--splits", "validation"),
            "no signals in its split 'validation'; --set data",
        ),
        (("pixels+digits", "-o", "x", "--copies", "3"), "with count=3 copies need pad or flip"),
        (
            ("pixels+digits", "-o", "x", "--set", "data.scored=validation", "--set", "data.validation=0.2"),
            "setting data.scored=validation: a neural data set holds all splits",
        ),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    result = invoke("fit", *arguments, *SMOKE)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not Path("x").exists()


def test_a_folder_of_other_settings_is_refused() -> None:
    good("fit", "pixels+digits", "-o", "samples", *SMOKE)
    result = invoke("fit", "pixels+digits", "-o", "samples", *SMOKE, "--set", "data.train_size=65")
    assert result.exit_code == 2
    assert "'samples' holds a neural data set with data.train_size=64, not 65; say -o DIR" in result.stderr


def test_what_was_interrupted_goes_on_behind_the_last_whole_shard_to_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("inrbench.artefacts.fitting.shard_rows", lambda *_: 10)
    good("fit", "pixels+digits", "-o", "whole", *SMOKE)
    fitted: list[tuple[str, int]] = []
    original = Fitting._fitted

    def stopping(self: Fitting, split: str, piece: Any, run: CellRun) -> Any:
        fitted.append((split, piece.number))
        if fitted == [("train", number) for number in range(4)]:
            run.stop.set()
        return original(self, split, piece, run)

    monkeypatch.setattr(Fitting, "_fitted", stopping)
    result = invoke("fit", "pixels+digits", "-o", "halves", *SMOKE)
    assert result.exit_code == 130
    assert "stopped; 30 of 64 rows of train are in halves, and the same command goes on behind them" in result.stderr
    assert "halves is unfinished; the command that began it goes on" in invoke("read", "knn", "halves").stderr
    fitted.clear()
    Path("halves/.train-00003.safetensors.99.part").write_bytes(b"what a killed process left")
    good("fit", "pixels+digits", "-o", "halves", *SMOKE)
    assert fitted[0] == ("train", 3)
    assert len(fitted) == 4 + 4
    assert files(Path("halves")) == files(Path("whole"))
    assert len(open_artefact(Path("halves")).splits["train"]) == 64


# ------------------------------------------------------------------ read


def test_readers_by_neural_data_sets_are_a_grid_of_records(records: Path) -> None:
    for seed in "01":
        good("fit", "pixels+digits", "-o", f"samples{seed}", *SMOKE, "--seed", seed)
    first = good("read", "knn,linear-probe", "samples0", "samples1", "--threads", "1")
    assert "[4/4] pixels+digits-smoke-s1-read-by-linear-probe" in first.stdout
    found = list(read_records(records))
    assert {(record["seed"], record["label"]) for record in found} == {
        (seed, f"read by {reader}") for seed in (0, 1) for reader in ("knn", "linear-probe")
    }
    assert all(record["status"] == "ok" and record["method"] == "pixels" for record in found)
    assert {record["facts"]["scored_signals"] for record in found} == {32}
    assert all(0.5 < record["metrics"]["accuracy"] <= 1 for record in found)
    again = good("read", "knn,linear-probe", "samples0", "samples1", "--threads", "1", "--json")
    assert again.stderr.count("done before") == 4
    assert len(json.loads(again.stdout)) == 4
    table = good("leaderboard").stdout
    assert "pixels, read by knn" in table
    assert "pixels, read by linear-probe" in table


def test_seeds_that_are_given_are_the_readers_and_the_fits_is_said(records: Path) -> None:
    good("fit", "pixels+digits", "-o", "samples", *SMOKE, "--seed", "3")
    good("read", "knn", "samples", "--seed", "0-1", "--threads", "1")
    found = {record["seed"]: record["label"] for record in read_records(records)}
    assert found == dict.fromkeys((0, 1), "read by knn, fit with seed 3")


def test_scoring_on_held_out_signals_leaves_the_test_split_alone(records: Path) -> None:
    good("fit", "pixels+digits", "-o", "samples", *SMOKE, "--set", "data.validation=0.2")
    made = open_artefact(Path("samples"))
    good("read", "knn", "samples", "--scored", "validation", "--threads", "1")
    (record,) = read_records(records)
    assert (record["facts"]["scored_split"], record["facts"]["scored_signals"]) == ("validation", 287)
    assert record["facts"]["scored_checksum"] == made.manifest["facts"]["validation_checksum"]
    vectors = vectors_of(records, record)
    np.testing.assert_array_equal(vectors["ids"], made.splits["validation"].ids)
    good("read", "knn", "samples", "--threads", "1")
    assert {one["facts"]["scored_split"] for one in read_records(records)} == {"test", "validation"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("nfn-np", "samples"),
            "reader 'nfn-np' reads weights, but samples holds 'samples'; readers of 'samples' that tell",
        ),
        (("mlpp", "samples"), "no reader named 'mlpp'; did you mean 'mlp'?"),
        (("knn", "samples", "--set", "reader.kk=3"), "no setting 'reader.kk'; did you mean 'reader.k'?"),
        (("knn", "samples", "--set", "fitter.steps=3"), "setting 'fitter': a neural data set is made"),
        (("knn", "samples", "--scored", "validation"), "samples has no split 'validation'"),
        (("knn", "nowhere"), "there is no neural data set at 'nowhere'"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(arguments: tuple[str, ...], message: str, records: Path) -> None:
    good("fit", "pixels+digits", "-o", "samples", *SMOKE)
    result = invoke("read", *arguments, "--threads", "1")
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(read_records(records)) == []


def test_the_settings_of_a_reader_are_the_methods_for_its_own_and_the_defaults_for_others() -> None:
    from inrbench.artefacts.recorded import reader_settings
    from inrbench.registry import registry

    good("fit", "pixels+digits", "-o", "samples", *SMOKE)
    made, known = open_artefact(Path("samples")), registry()
    own = reader_settings(known.find("reader", "mlp"), made, []).model_dump()
    assert (own["width"], own["depth"], own["train"]["steps"]) == (32, 3, 20)  # of pixels at profile smoke
    assert own["train"]["weight_decay"] == 1e-2  # of pixels
    set_ = [{"reader": {"width": 8, "train": {"steps": 5}}}]
    changed = reader_settings(known.find("reader", "mlp"), made, set_).model_dump()
    assert (changed["width"], changed["train"]["steps"], changed["depth"]) == (8, 5, 3)
    probe = known.find("reader", "linear-probe")
    assert reader_settings(probe, made, []) == type(reader_settings(probe, made, []))()


def test_a_damaged_neural_data_set_is_not_read() -> None:
    good("fit", "pixels+digits", "-o", "samples", *SMOKE)
    path = Path("samples/test-00000.safetensors")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    result = invoke("read", "knn", "samples")
    assert result.exit_code == 1
    assert "samples/test-00000.safetensors is damaged" in result.stderr


def test_a_dry_run_says_what_is_to_do_and_does_nothing(records: Path) -> None:
    good("fit", "pixels+digits", "-o", "samples", *SMOKE)
    assert good("read", "knn", "samples", "--dry-run").stdout == "pixels+digits-smoke-s0-read-by-knn: to do\n"
    assert list(read_records(records)) == []
    good("read", "knn", "samples")
    assert good("read", "knn", "samples", "--dry-run").stdout == "pixels+digits-smoke-s0-read-by-knn: done before\n"


# ------------------------------------------------------------------ against whole cells


@pytest.mark.cells
@pytest.mark.parametrize("copies", [(), ("--set", "data.copies.count=3", "--set", "data.copies.pad=1")])
def test_a_method_that_is_fitted_and_read_gives_what_its_cell_gives(records: Path, copies: tuple[str, ...]) -> None:
    good("run", "wt-two-stage+digits", *SMOKE, *copies)
    kept = {path: path.stat().st_mtime_ns for path in Path("cache/stages").rglob("trained.safetensors")}
    good("fit", "wt-two-stage+digits", "-o", "weights", *SMOKE, *copies)
    assert {path: path.stat().st_mtime_ns for path in Path("cache/stages").rglob("trained.safetensors")} == kept
    good("read", "weight-transformer", "weights", "--threads", "1")
    cell, reading = sorted(read_records(records), key=lambda record: record["label"])
    assert cell["facts"] == reading["facts"]
    assert cell["facts"]["copies"] == (3 if copies else 1)
    ours, theirs = vectors_of(records, reading), vectors_of(records, cell)
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)
    assert {k: v for k, v in reading["metrics"].items() if k in cell["metrics"]} == cell["metrics"]
    same = ("adapted_values", "reader_parameters", "fitter_parameters", "bytes_per_signal", "read_flops_per_signal")
    assert {name: reading["costs"][name] for name in same} == {name: cell["costs"][name] for name in same}


@pytest.mark.cells
def test_the_fitter_of_a_neural_data_set_answers_query_as_it_was_scored() -> None:
    from inrbench.cells import build_dataset
    from inrbench.data import open_dataset
    from inrbench.metrics import squared_error

    good("fit", "mwt+digits", "-o", "weights", *SMOKE)
    made = open_artefact(Path("weights"))
    assert made.manifest["facts"]["labels_shape_fit"]
    run = CellRun(0)
    fitter = made.fitter(run)
    cell = made.cell()
    assert cell.plugins["data"] is not None
    dataset = build_dataset(cell.plugins["data"], cell.dataset, cell.data_settings)
    whole = open_dataset("digits", dataset, None, unofficial=False).splits["test"]
    split = made.splits["test"]
    signals = whole.take(np.searchsorted(whole.ids, split.ids))
    domain, values, (scale, offset) = signals.stacked()  # type: ignore[misc]
    predicted = np.concatenate(list(fitter.query(split.rows, domain, run)))
    np.testing.assert_allclose(squared_error(predicted, values * scale + offset), split.mse, rtol=1e-4)  # type: ignore[arg-type]


@pytest.mark.cells
def test_copies_start_apart_from_their_signal() -> None:
    """With steps that are nearly none what is written is what a fit starts from."""
    few = (*SMOKE, "--set", "data.train_size=3", "--set", "data.test_size=2", "--set", "fitter.steps=1")
    few = (*few, "--set", "fitter.lr=1e-12", "--set", "data.copies.pad=1")
    good("fit", "siren+digits", "-o", "copied", "--copies", "2", *few)
    rows = open_artefact(Path("copied")).splits["train"].rows
    assert rows.ids[:3].tolist() == rows.ids[3:].tolist()
    name = next(iter(rows.arrays))
    first, second = np.asarray(rows.arrays[name][:3]), np.asarray(rows.arrays[name][3:])
    assert not np.isclose(first, second).all()


@pytest.mark.cells
def test_a_fit_by_gradient_descent_goes_on_within_a_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each signal's own descent checkpoints in the folder, and the folder keeps nothing of it once it is done."""
    few = (*SMOKE, "--set", "data.train_size=6", "--set", "data.test_size=4", "--set", "fitter.steps=30")
    good("fit", "siren+digits", "-o", "whole", *few)
    steps = CellRun.steps

    def stopping(self: CellRun, *arguments: Any) -> Any:
        for step in steps(self, *arguments):
            if step == 17:
                self.stop.set()
            yield step

    with monkeypatch.context() as patch:
        patch.setattr(CellRun, "steps", stopping)
        assert invoke("fit", "siren+digits", "-o", "halves", *few).exit_code == 130
    assert list(Path("halves/checkpoints").glob("train-00000-*"))
    shutil.rmtree("cache")
    good("fit", "siren+digits", "-o", "halves", *few)
    assert files(Path("halves")) == files(Path("whole"))


def test_joint_training_has_no_fixed_copies() -> None:
    result = invoke("run", "mwt+digits", *SMOKE, "--set", "data.copies.count=2", "--set", "data.copies.pad=1")
    assert result.exit_code == 2
    assert "setting data.copies.count=2: allowed is 1 where fitter and reader train together" in result.stderr
