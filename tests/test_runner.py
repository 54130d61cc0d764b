"""The runner: every cell ends in a record, and what has a good one is not run again."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from inrbench import cells, facts, keys
from inrbench.cells import Cell
from inrbench.errors import BadData, OutOfMemory, UsageError
from inrbench.execution import cell as execution_of_a_cell
from inrbench.records import read_records, vectors_of
from inrbench.registry import Registry
from inrbench.runner import Options, num_threads, plan, run_cells
from inrbench.settings import Augmentation, SignalTrainingSettings

NAME = "fake_inrbench_runner"
HOOKS = """
from inrbench.plugin import Method, Plugin, hookimpl

def plugin(kind, name, target, **more):
    module = "fake_inrbench_runner.code"
    return Plugin(api_version=1, kind=kind, name=name, summary="", target=f"{module}:{target}",
                  settings=f"{module}:{target}Settings", **more)

@hookimpl
def inrbench_fitters():
    return [plugin("fitter", "mean", "Mean", takes=("grid",), gives=("latent",))]

@hookimpl
def inrbench_readers():
    return [plugin("reader", "sign", "Sign", takes=("*",))]

@hookimpl
def inrbench_datasets():
    return [plugin("dataset", "dots", "Dots", gives=("grid",))]

@hookimpl
def inrbench_methods():
    parts = [("mean", None), ("sign", "sign")]
    return [Method(api_version=1, name=name, summary="", fitter="mean", reader=reader) for name, reader in parts]

STARTED, LOGGED, FINISHED = [], [], []

@hookimpl
def inrbench_cell_started(cell):
    STARTED.append(cell["cell"])

@hookimpl
def inrbench_cell_logged(cell, points):
    LOGGED.append((cell["key"], len(FINISHED), [(point["stage"], point["values"]["loss"]) for point in points]))

@hookimpl
def inrbench_cell_finished(record):
    FINISHED.append(record["status"])
"""
CODE = """
import numpy as np
from inrbench.errors import NotFinite, Refused
from inrbench.interfaces import FitterFacts, ReaderFacts, Trained
from inrbench.representations import Layout, Representations
from inrbench.settings import DataSettings, Settings, setting
from inrbench.signals import GridSignals, PartSpec, SignalSpec

CALLS = []

class MeanSettings(Settings):
    fails: str = setting("", "how training fails")

class SignSettings(Settings):
    pass

class DotsSettings(DataSettings):
    missing: bool = setting(False, "as if it could not be read")

FAILURES = {
    "memory": MemoryError("too large"),
    "crash": RuntimeError("a bug in line 7"),
    "value": ValueError("odd"),
    "interrupt": KeyboardInterrupt(),
    "not-finite": NotFinite("the loss is nan at step 3 of 5"),
    "refused": Refused("not like this"),
}

class Mean:
    layout = Layout("latent", {"mean": (1,)})
    def __init__(self, settings, spec, inr):
        self.settings = settings
        if settings.fails == "build":
            raise ValueError("these settings do not go together")
        if settings.fails == "build-memory":
            raise MemoryError("far too large")
    def train(self, train, validation, run, heads=()):
        CALLS.append("train")
        run.log(0, loss=0.5)
        if self.settings.fails in FAILURES:
            raise FAILURES[self.settings.fails]
        if self.settings.fails == "stop":
            for step in run.steps("train", 5, lambda: {"x": np.zeros(1)}, lambda arrays: None):
                run.stop.set()
        return Trained({"offset": np.zeros(1)})
    def load(self, shared): pass
    def fit(self, signals, run):
        means = signals.values.mean(axis=(1, 2, 3), keepdims=False)[:, None] / 255
        yield Representations(self.layout, {"mean": means}, signals.ids, np.zeros(len(means)))
    def query(self, rows, domain, run):
        yield np.broadcast_to(rows.arrays["mean"][:, :, None, None], (len(rows), *domain.shape, 1)).astype("float32")
    def facts(self):
        return FitterFacts(1, 1, "shared", "global")

class Sign:
    stages = ("logits",)
    def __init__(self, settings, layout, spec):
        self.num_classes = spec.num_classes
    def refuses(self, layout):
        return None
    def train(self, data, run):
        CALLS.append("read")
        run.log(3, loss=0.25)
        return {}
    def load(self, state): pass
    def facts(self):
        return ReaderFacts(0)
    def predict(self, rows, run, *, tap=(), edit={}):
        mean = rows.arrays["mean"]
        return {"logits": np.concatenate([0.5 - mean, mean - 0.5], axis=1)}

class Dots:
    files = ()
    def __init__(self, settings, rest):
        self.settings = settings
    def spec(self):
        return SignalSpec((PartSpec("grid", (2, 2), 2, 1),), 2, ("dark", "bright"), {"train": 6, "test": 4})
    def load(self, folder):
        if self.settings.missing:
            from inrbench.errors import BadData
            raise BadData("dots: the file is damaged")
        values = np.zeros((6, 2, 2, 1), dtype=np.uint8)
        values[1::2] = 200
        labels = np.arange(6) % 2
        return {"train": GridSignals(values, labels), "test": GridSignals(values[:4], labels[:4], np.arange(6, 10))}
"""


class _Point:
    name, value, dist = "plugin", NAME, None

    def load(self) -> ModuleType:
        return importlib.import_module(NAME)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("plugins")
    (folder / NAME).mkdir()
    (folder / NAME / "__init__.py").write_text(HOOKS)
    (folder / NAME / "code.py").write_text(CODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield Registry([_Point()])  # type: ignore[list-item]
    for name in (NAME, f"{NAME}.code"):
        sys.modules.pop(name, None)


@pytest.fixture
def world(package: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The fake plugins and an empty cache; returns the module that notes what was called."""
    for module in (cells, keys, execution_of_a_cell):
        monkeypatch.setattr(module, "registry", lambda: package)
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))
    code = importlib.import_module(f"{NAME}.code")
    hooks = importlib.import_module(NAME)
    for calls in (code.CALLS, hooks.STARTED, hooks.LOGGED, hooks.FINISHED):
        calls.clear()
    return code


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(tmp_path / "records", isolate=False, device="cpu", threads=1)


def cell(fails: str = "", method: str = "mean", seed: int = 0, **data: Any) -> Cell:
    return cells.resolve(
        method, "dots", profile="smoke", seed=seed, overrides=[{"fitter": {"fails": fails}, "data": data}]
    )


def go(options: Options, *wanted: Cell, report: Callable[[str], None] = lambda line: None) -> list[dict[str, Any]]:
    return run_cells(plan(wanted, options), options, report)


# ------------------------------------------------------------------ good cells


def test_a_good_cell_leaves_a_record_that_repeats_it(world: ModuleType, options: Options) -> None:
    (found,) = go(options, cell(method="sign"))
    assert found["status"] == "ok"
    assert found["metrics"]["accuracy"] == 1.0
    assert found["metrics"]["psnr_db"] == 100.0
    assert found["settings"]["fitter"] == {"name": "mean", "backend": "numpy", "fails": ""}
    assert found["keys"].keys() == found["ingredients"].keys() == {"train", "fit", "read", "score"}
    assert found["key"] == found["keys"]["score"]
    assert (found["machine"]["threads"], found["machine"]["device"]) == (1, "cpu")
    assert found["facts"]["scored_signals"] == 4
    assert found["log"] == [{"step": 0.0, "loss": 0.5}, {"step": 3.0, "loss": 0.25}]
    assert found["started"] <= found["finished"]
    assert list(read_records(options.records)) == [found]
    assert vectors_of(options.records, found)["correct"].all()


def test_a_cell_with_a_good_record_is_not_run_again(world: ModuleType, options: Options) -> None:
    lines: list[str] = []
    first = go(options, cell())
    assert go(options, cell(), report=lines.append) == first
    assert world.CALLS == ["train"]
    assert lines == ["[1/1] mean+dots-smoke-s0: done before"]


def test_published_values_of_a_cell_are_in_its_record_and_in_one_made_before(
    world: ModuleType, options: Options
) -> None:
    values = {"table": "paper.table1", "metrics": {"psnr_db": 30.0}}
    published = dataclasses.replace(cell(), published=values)
    (without,) = go(options, cell())
    assert "published" not in without
    assert go(options, published) == [{**without, "published": values}]
    assert go(options, cell()) == list(read_records(options.records)) == [{**without, "published": values}]
    assert vectors_of(options.records, without)["mse"].shape == (4,)
    assert world.CALLS == ["train"]
    (made,) = go(Options(options.records, isolate=False, device="cpu", threads=1, rerun=True), published)
    assert made["published"] == values


@pytest.mark.parametrize(
    ("augmentation", "augmented"),
    [({}, False), ({"crop": "centre"}, False)]
    + [({key: value}, True) for key, value in (("pad", 4), ("rotate", 30.0), ("resized_crop", 0.8), ("flip", True))]
    + [({"scale": 0.1}, True), ({"jitter": 0.01}, True)],
)
def test_a_record_says_whether_training_saw_augmented_copies(augmentation: dict[str, Any], augmented: bool) -> None:
    train = SignalTrainingSettings(augmentation=Augmentation(**augmentation))
    settings = {"fitter": SimpleNamespace(train=train)}
    assert facts._augmented(SimpleNamespace(settings=settings)) is augmented  # type: ignore[arg-type]


def test_rerun_does_the_cell_and_all_its_stages_again(world: ModuleType, options: Options) -> None:
    go(options, cell())
    go(Options(options.records, isolate=False, device="cpu", threads=1, rerun=True), cell())
    assert world.CALLS == ["train", "train"]


def test_a_kept_stage_is_not_done_again_for_another_record(world: ModuleType, options: Options, tmp_path: Path) -> None:
    go(options, cell())
    go(Options(tmp_path / "elsewhere", isolate=False, device="cpu", threads=1), cell())
    go(options, cell(method="sign"), cell(test_size=2))
    assert world.CALLS == ["train", "read"]


def test_without_keeping_every_stage_is_done_again(world: ModuleType, options: Options, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        go(Options(tmp_path / folder, isolate=False, device="cpu", threads=1, keep=False), cell())
    assert world.CALLS == ["train", "train"]
    assert not (tmp_path / "cache" / "stages").exists()


def test_a_damaged_record_is_made_again(world: ModuleType, options: Options) -> None:
    go(options, cell())
    (path,) = options.records.glob("*.json")
    path.write_text("{")
    assert go(options, cell())[0]["status"] == "ok"
    assert next(read_records(options.records))["status"] == "ok"


def test_hooks_are_called_around_each_cell(world: ModuleType, options: Options) -> None:
    go(options, cell(), cell("crash"))
    hooks = importlib.import_module(NAME)
    assert hooks.STARTED == ["mean+dots-smoke-s0"] * 2
    assert hooks.FINISHED == ["ok", "crash"]


def test_what_a_cell_logs_is_told_before_its_end(world: ModuleType, options: Options) -> None:
    records = go(options, cell("crash"), cell(method="sign"))
    hooks = importlib.import_module(NAME)
    crashed, good = (record["key"] for record in records)
    told = [(crashed, 0, [("train", 0.5)]), (good, 1, [("train", 0.5)]), (good, 1, [("read", 0.25)])]
    assert told == hooks.LOGGED


# ------------------------------------------------------------------ failures


@pytest.mark.parametrize(
    ("fails", "status", "reason"),
    [
        ("memory", "out-of-memory", "MemoryError: too large"),
        ("crash", "crash", "RuntimeError: a bug in line 7"),
        ("value", "crash", "ValueError: odd"),
        ("interrupt", "interrupted", "stopped at once; the last checkpoint is kept"),
        ("stop", "interrupted", "stopped while doing train; step 1 of 5 is kept: the same command goes on from there"),
        ("not-finite", "not-finite", "the loss is nan at step 3 of 5"),
        ("refused", "refused", "not like this"),
    ],
)
def test_every_failure_is_a_record_with_its_reason(
    world: ModuleType, options: Options, fails: str, status: str, reason: str
) -> None:
    (found,) = go(options, cell(fails))
    assert (found["status"], found["reason"]) == (status, reason)
    assert (found["metrics"], "facts" in found) == ({}, False)
    assert found["costs"]["total_s"] >= 0.0
    assert list(read_records(options.records)) == [found]


def test_a_crash_keeps_its_traceback_and_what_the_user_caused_does_not(world: ModuleType, options: Options) -> None:
    crash, refused = go(options, cell("crash"), cell("refused"))
    assert "RuntimeError: a bug in line 7" in crash["traceback"]
    assert "in train" in crash["traceback"]
    assert "traceback" not in refused


def test_the_run_goes_on_behind_a_failure(world: ModuleType, options: Options) -> None:
    lines: list[str] = []
    found = go(options, cell("crash"), cell("memory"), cell(), report=lines.append)
    assert [record["status"] for record in found] == ["crash", "out-of-memory", "ok"]
    assert lines[0] == "[1/3] mean+dots-smoke-s0"
    assert lines[1].startswith("  crash after 0 s: RuntimeError: a bug in line 7")
    assert lines[5] == "  PSNR 100.00 dB, in 0 s"


def test_an_interruption_leaves_the_rest_undone(world: ModuleType, options: Options) -> None:
    found = go(options, cell("stop"), cell())
    assert [record["status"] for record in found] == ["interrupted"]


def test_a_failed_cell_is_run_again(world: ModuleType, options: Options) -> None:
    go(options, cell("crash"))
    go(options, cell("crash"))
    assert world.CALLS == ["train", "train"]


# ------------------------------------------------------------------ before anything runs


def test_a_part_that_refuses_its_settings_stops_everything_before_it_runs(world: ModuleType, options: Options) -> None:
    with pytest.raises(UsageError) as caught:
        plan([cell(), cell("build")], options)
    message = "mean+dots-smoke-s0: a part refuses its settings: these settings do not go together"
    assert str(caught.value) == message
    with pytest.raises(OutOfMemory, match=r"mean.dots-smoke-s0: its parts do not fit into memory: far too large"):
        plan([cell("build-memory")], options)
    assert world.CALLS == []


def test_too_many_signals_stop_everything_before_it_runs(world: ModuleType, options: Options) -> None:
    with pytest.raises(UsageError, match=r"setting data.test_size=5: there are only 4 signals"):
        plan([cell(), cell(test_size=5)], options)


def test_damaged_data_stops_everything_before_it_runs(world: ModuleType, options: Options) -> None:
    with pytest.raises(BadData, match="dots: the file is damaged"):
        plan([cell(), cell(missing=True)], options)


def test_a_device_that_is_not_there_is_refused(world: ModuleType, options: Options) -> None:
    with pytest.raises(UsageError, match="device 'cuda': this cell runs in NumPy, on the cpu alone"):
        plan([cell()], Options(options.records, isolate=False, device="cuda"))


def test_records_that_cannot_be_written_are_one_line_before_anything_runs(world: ModuleType, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    with pytest.raises(UsageError) as caught:
        plan([cell()], Options(blocked, isolate=False))
    assert str(caught.value) == f"records cannot be written to {str(blocked)!r} (File exists); say --records DIR"
    assert world.CALLS == []


def test_planning_writes_no_file(world: ModuleType, options: Options) -> None:
    (planned,) = plan([cell()], options)
    assert (planned.record, planned.name) == (None, "mean+dots-smoke-s0")
    assert list(options.records.iterdir()) == []


def test_the_threads_are_those_asked_for_or_this_processs_cores() -> None:
    assert num_threads(3) == 3
    assert num_threads() >= 1
