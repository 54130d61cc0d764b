"""What a run would do: stages that are kept or shared, sizes, and times from what was measured before."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inrbench import keys
from inrbench.arrays import save_arrays
from inrbench.cells import Cell
from inrbench.errors import BadSetting, OutOfMemory
from inrbench.expected import Expected, expected
from inrbench.planning import Counts, Foreseen, foresee
from inrbench.provenance import cpu_model
from inrbench.records import write_record
from inrbench.requests import cells_of
from inrbench.runner import Options, plan
from inrbench.selection import select
from inrbench.settings import DataSettings
from inrbench.signals import GridSignals

SMOKE: dict[str, Any] = {"profile": "smoke"}


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Options:
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))
    return Options(tmp_path / "records", device="cpu", threads=1)


def seen(options: Options, *wanted: str, **asked: Any) -> list[Foreseen]:
    return foresee(cells_of(wanted, **(SMOKE | asked)), options)


def keep(tmp_path: Path, one: Foreseen, stage: str, file: str = "trained.safetensors", seconds: float = 4.0) -> None:
    """What a finished stage leaves."""
    assert one.planned is not None
    metadata = {"seconds": json.dumps({"train": seconds}), "steps": "20"}
    save_arrays(tmp_path / "cache" / "stages" / one.planned.keys[stage] / file, {"a": np.zeros(1)}, metadata)


def record(
    options: Options, one: Foreseen, *, key: str = "", machine: dict[str, Any] | None = None, **changes: Any
) -> None:
    """A good record of the cell, of other code unless ``key`` is its own."""
    assert one.planned is not None
    cell: Cell = one.cell
    costs = {
        "train_s": 8.0, "fit_train_s": 2.0, "read_train_s": 4.0, "fit_s": 1.0, "query_s": 0.5, "read_s": 0.25,
        "total_s": 17.0, "train_flops_per_signal": one.size.train_flops, "fit_flops_per_signal": one.size.fit_flops,
        "read_flops_per_signal": one.size.reader_flops, "peak_memory_bytes": 3 * 2**30,
    }  # fmt: skip
    document = {
        "schema": 1, "cell": one.name, "key": key or "0123456789abcdef", "keys": dict(one.planned.keys), "status": "ok",
        "method": cell.method.name, "dataset": one.planned.data.name, "profile": cell.profile, "seed": cell.seed,
        "label": cell.label, "settings": cell.tree(), "metrics": {}, "data": {}, "finished": "2026-01-01",
        "facts": {"train_signals": 64, "scored_signals": 32},
        "machine": {"device": "cpu", "threads": 1, "cpu": cpu_model()} | (machine or {}), "costs": costs,
    }  # fmt: skip
    write_record(options.records, document | changes)


def guess(options: Options, found: list[Foreseen]) -> list[Expected]:
    return expected(found, options.records)


# ------------------------------------------------------------------ counts and stages


@pytest.mark.parametrize(
    ("settings", "counts"),
    [
        ({}, Counts(1437, 0, 360)),
        ({"validation": 0.2, "scored": "validation"}, Counts(1150, 287, 287)),
        ({"validation": 0.2, "train_size": 100, "test_size": 50}, Counts(100, 287, 50)),
        ({"validation": 0.2, "train_size": 100, "test_size": 50, "scored": "validation"}, Counts(100, 287, 50)),
    ],
)
def test_counts_are_those_of_the_selection(settings: dict[str, Any], counts: Counts) -> None:
    splits = {
        "train": GridSignals(np.zeros((1437, 1, 1, 1)), ids=np.arange(1437)),
        "test": GridSignals(np.zeros((360, 1, 1, 1)), ids=np.arange(2000, 2360)),
    }
    found = select(splits, model := DataSettings(**settings), 0)
    assert Counts(len(found.train), len(found.validation), len(found.scored)) == counts
    assert Counts.of({"train": 1437, "test": 360}, model) == counts


def test_counts_of_a_single_clip_and_of_what_is_not_known() -> None:
    assert Counts.of({"test": 1}, DataSettings()) == Counts(0, 0, 1)
    assert Counts.of({}, DataSettings()) is None


def test_a_reader_that_trains_with_the_fitter_has_no_stage_of_its_own(options: Options) -> None:
    found = {one.cell.method.name: one.stages for one in seen(options, "mwt,wt-two-stage,siren+digits")}
    assert {name: tuple(stages) for name, stages in found.items()} == {
        "mwt": ("train", "score"),
        "wt-two-stage": ("train", "read", "score"),
        "siren": ("train", "score"),
    }
    assert {state for stages in found.values() for state in stages.values()} == {"to do"}


def test_stages_are_kept_shared_or_begun(options: Options, tmp_path: Path) -> None:
    wanted = ("wt-two-stage+digits",)
    first, second = seen(options, *wanted)[0], seen(options, *wanted, overrides=[{"reader": {"lr": 0.5}}])[0]
    both = foresee([first.cell, second.cell], options)
    assert [one.stages["train"] for one in both] == ["to do", "shared"]
    assert both[1].left == ("read", "score")

    keep(tmp_path, first, "train")
    keep(tmp_path, first, "fit", "train-fit.checkpoint.safetensors")
    both = foresee([first.cell, second.cell], options)
    assert both[0].stages == {"train": "kept", "read": "interrupted", "score": "to do"}
    assert both[1].stages["train"] == "shared"

    keep(tmp_path, first, "read")
    keep(tmp_path, first, "score", "fit.checkpoint.safetensors")
    assert seen(options, *wanted)[0].stages == {"train": "kept", "read": "kept", "score": "interrupted"}
    again = foresee([first.cell, second.cell], Options(options.records, device="cpu", threads=1, rerun=True))
    assert [one.stages["train"] for one in again] == ["to do", "to do"]  # the second one does it again too


def test_a_cell_with_a_good_record_is_done_and_shares_nothing(options: Options) -> None:
    (one,) = seen(options, "mwt+digits")
    assert one.planned is not None
    record(options, one, key=one.planned.key)
    (same,) = seen(options, "mwt+digits")
    assert (same.done, same.left, same.kept_bytes, same.passing_bytes) == (True, (), 0, 0)
    (fewer,) = cells_of(["mwt+digits"], **SMOKE, overrides=[{"data": {"test_size": 8}}])
    _, other = foresee([one.cell, fewer], options)  # the training that the record is of may be gone
    assert other.stages["train"] == "to do"
    assert guess(options, [same]) == [Expected(0.0, (), None, "done before")]


def test_every_part_is_constructed_before_the_first_look_at_data(options: Options) -> None:
    (few,) = cells_of(["mwt+digits"], **SMOKE, overrides=[{"data": {"train_size": 5000}}])
    (wide,) = cells_of(["mwt+digits"], **SMOKE, overrides=[{"inr": {"width": 10**15}}])
    with pytest.raises(OutOfMemory, match="its parts do not fit into memory"):
        foresee([few, wide], options)
    with pytest.raises(BadSetting, match="there are only 1437 signals"):
        foresee([few], options)


def test_representations_that_memory_does_not_hold_are_foreseen(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = seen(options, "wt-two-stage+digits", overrides=[{"data": {"validation": 0.1}}])
    assert one.passing_bytes == 0
    monkeypatch.setattr("inrbench.planning.IN_MEMORY_BYTES", 1000)
    assert one.passing_bytes == 4 * 592 * (64 + 144)
    assert seen(options, "mwt+digits")[0].passing_bytes == 0


# ------------------------------------------------------------------ times


def test_what_was_never_measured_is_unknown(options: Options) -> None:
    (one,) = guess(options, seen(options, "mwt+digits"))
    assert (one.seconds, one.unknown, one.memory_bytes, one.known) == (None, ("train", "score"), None, False)
    # 20 steps of 16 signals at 1505280 FLOPs
    assert one.source == "no record of mwt+digits at profile smoke on cpu; its training is 4.8e+08 FLOPs"


def test_a_record_of_these_settings_tells_what_another_seed_takes(options: Options) -> None:
    zero, one = seen(options, "wt-two-stage+digits", seeds=[0, 1])
    record(options, zero)
    (found,) = guess(options, [one])
    assert found == Expected(17.0, (), 3 * 2**30, "from wt-two-stage+digits-smoke-s0")


@pytest.mark.parametrize(
    ("overrides", "seconds"),
    [
        ({"fitter": {"train": {"steps": 40}}}, 17.0 + 8.0),
        ({"fitter": {"train": {"batch_size": 8}}}, 17.0 - 4.0),
        ({"data": {"test_size": 64}}, 17.0 + 1.75),
        ({"data": {"train_size": 128}}, 17.0 + 2.0),
        ({"data": {"copies": {"count": 3, "flip": True}}}, 17.0 + 4.0),
        ({"reader": {"train": {"steps": 5}}}, 17.0 - 3.0),
        ({"reader": {"lr": 0.5}}, 17.0),
    ],
)
def test_times_are_scaled_by_the_work(options: Options, overrides: dict[str, Any], seconds: float) -> None:
    record(options, seen(options, "wt-two-stage+digits")[0])
    (found,) = guess(options, seen(options, "wt-two-stage+digits", overrides=[overrides]))
    assert found.seconds == pytest.approx(seconds)
    assert found.source == "from wt-two-stage+digits-smoke-s0, of other settings"


def test_a_larger_network_takes_as_much_longer_as_it_has_flops(options: Options) -> None:
    (small,), (large,) = (seen(options, "mwt+digits", overrides=[{"inr": {"width": width}}]) for width in (16, 32))
    record(options, small)
    (found,) = guess(options, [large])
    train, fit = (one.size.train_flops for one in (large, small)), (one.size.fit_flops for one in (large, small))
    ratio = [a / b for a, b in (train, fit)]
    reader = large.size.reader_flops / small.size.reader_flops  # type: ignore[operator]
    # beside its stages the record has 17 - 15.75 s; nothing was trained after the fitter
    assert found.seconds == pytest.approx(1.25 + 8.0 * ratio[0] + 1.0 * ratio[1] + 0.5 + 0.25 * reader)


def test_stages_that_are_kept_take_no_time(options: Options, tmp_path: Path) -> None:
    (one,) = seen(options, "wt-two-stage+digits")
    record(options, one)
    keep(tmp_path, one, "train")
    assert guess(options, seen(options, "wt-two-stage+digits"))[0].seconds == pytest.approx(9.0)
    keep(tmp_path, one, "read")
    assert guess(options, seen(options, "wt-two-stage+digits"))[0].seconds == pytest.approx(3.0)


def test_records_of_these_settings_come_before_newer_ones_of_others_and_of_this_machine_before_another_s(
    options: Options,
) -> None:
    zero, one = seen(options, "mwt+digits", seeds=[0, 1])
    (other,) = seen(options, "mwt+digits", overrides=[{"reader": {"lr": 0.5}}], seeds=[2])
    record(options, zero, finished="2026-01-01")
    record(options, other, finished="2026-02-01")
    assert guess(options, [one])[0].source == "from mwt+digits-smoke-s0"
    (third,) = seen(options, "mwt+digits", seeds=[3])
    record(options, third, finished="2026-03-01", machine={"threads": 8, "cpu": "another"})
    assert guess(options, [one])[0].source == "from mwt+digits-smoke-s0"
    (new,) = seen(options, "mwt+digits", overrides=[{"reader": {"lr": 0.7}}])
    assert guess(options, [new])[0].source == "from mwt+digits-smoke-s2, of other settings"


def test_a_measure_of_elsewhere_says_so(options: Options) -> None:
    zero, one = seen(options, "mwt+digits", seeds=[0, 1])
    record(options, zero, machine={"threads": 8, "cpu": "another"})
    assert guess(options, [one])[0].source == "from mwt+digits-smoke-s0, on another processor, with 8 threads"


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "crash"},
        {"profile": "laptop"},
        {"method": "wt"},
        {"artefact": {}},
        {"machine": {"device": "cuda:0"}},
        {"costs": {}},
    ],
)
def test_what_measures_something_else_is_not_used(options: Options, changes: dict[str, Any]) -> None:
    zero, one = seen(options, "mwt+digits", seeds=[0, 1])
    record(options, zero, **changes)
    assert not guess(options, [one])[0].known


def test_a_damaged_record_is_passed_over(options: Options) -> None:
    zero, one = seen(options, "mwt+digits", seeds=[0, 1])
    record(options, zero)
    (options.records / "mwt+digits-smoke-s7-01234567.json").write_text("{")
    assert guess(options, [one])[0].known


def test_without_a_record_a_training_that_is_kept_tells_of_others(options: Options, tmp_path: Path) -> None:
    two_steps: Callable[[int], dict[str, Any]] = lambda steps: {"fitter": {"train": {"steps": steps}}}  # noqa: E731
    (short,) = seen(options, "mwt+digits", overrides=[two_steps(10)])
    keep(tmp_path, short, "train", seconds=4.0)
    found = foresee([short.cell, *cells_of(["mwt+digits"], **SMOKE)], options)
    kept, other = guess(options, found)
    assert (kept.seconds, kept.unknown) == (None, ("score",))
    assert other.seconds == pytest.approx(8.0)
    assert other.unknown == ("score",)
    assert other.source.startswith("training from that of mwt+digits-smoke-s0; no record of mwt+digits")


# ------------------------------------------------------------------ many cells


@pytest.mark.parametrize("planning", ["run", "plan"])
def test_parts_are_constructed_once_for_all_seeds_and_data_is_looked_at_once(
    options: Options, monkeypatch: pytest.MonkeyPatch, planning: str
) -> None:
    calls: Counter[str] = Counter()

    def counted(name: str, function: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            calls[name] += 1
            return function(*given, **named)

        return call

    monkeypatch.setattr(Cell, "build", counted("build", Cell.build))
    monkeypatch.setattr(keys, "fingerprint", counted("fingerprint", keys.fingerprint))
    for module in ("planning", "runner"):
        monkeypatch.setattr(f"inrbench.{module}.select", counted("select", select))
    cells = cells_of(["siren+digits"], **SMOKE, seeds=range(5))
    cells += cells_of(["siren+digits"], **SMOKE, seeds=range(5), overrides=[{"fitter": {"lr": 0.5}}])
    found = foresee(cells, options) if planning == "plan" else plan(cells, replace(options, isolate=False))
    assert len(found) == 10
    assert calls == {"build": 2, "select": 1, "fingerprint": 1}
