"""What an analysis is given of a neural data set on disk, and what is refused before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inrbench import draws
from inrbench.analysis import Context, analyse, check_takes, settings_of
from inrbench.artefact import Artefact, Split
from inrbench.cell_run import CellRun
from inrbench.data import open_dataset
from inrbench.domains import Grid
from inrbench.errors import BadData, BadSetting, InrbenchError, Refused, UsageError
from inrbench.interfaces import Findings
from inrbench.plugin import Plugin
from inrbench.representations import Layout, Representations
from inrbench.settings import Settings, setting
from inrbench.signals import PartSpec, SignalSpec

IDS = np.array([1500, 3, 1700, 41, 42])


def rows_of(ids: Sequence[int] | np.ndarray, copies: int = 0) -> Representations:
    """Rows of ``samples`` of digits: each signal, then its copies."""
    whole = np.repeat(np.asarray(ids), copies + 1)
    layout = Layout("samples", {"values": (8, 8, 1)})
    values = np.broadcast_to(whole[:, None, None, None] / 2000.0, (len(whole), 8, 8, 1)).astype(np.float32)
    return Representations(layout, {"values": values}, whole, np.tile(np.arange(copies + 1), len(ids)))


@pytest.fixture(scope="module")
def digits_checksum() -> str:
    from inrbench.cells import build_dataset, resolve

    cell = resolve("pixels", "digits", profile="smoke")
    data = cell.plugins["data"]
    assert data is not None
    return open_dataset("digits", build_dataset(data, "digits", cell.data_settings), None, unofficial=False).checksum


@pytest.fixture
def artefact(digits_checksum: str) -> Artefact:
    """A neural data set of `pixels+digits`, two copies of each training signal."""
    splits = {name: Split(rows, None, None, None, None) for name, rows in _splits().items()}
    origin = {"method": "pixels", "dataset": "digits", "profile": "smoke", "seed": 0, "settings": {}}
    manifest = {"name": "pixels+digits-smoke-s0", "origin": origin, "data": {"checksum": digits_checksum}}
    signal = SignalSpec((PartSpec("grid", (8, 8), 2, 1),), 10)
    return Artefact(Path("digits-samples"), manifest, rows_of([1]).layout, signal, {}, splits, {}, "aa")


def _splits() -> dict[str, Representations]:
    return {"train": rows_of(np.arange(100, 105), copies=2), "test": rows_of(IDS)}


def context_of(artefact: Artefact, **changes: Any) -> Context:
    return Context(artefact, CellRun(0), **changes)


def test_copies_are_left_out(artefact: Artefact) -> None:
    context = context_of(artefact, split="train")
    assert context.num_signals("train") == 5
    (shard,) = context.shards("train")
    assert list(shard.ids) == list(context.sample(9).ids) == [100, 101, 102, 103, 104]
    assert not shard.copies.any()


def test_shards_hold_all_signals_in_order_some_at_a_time(artefact: Artefact) -> None:
    long = replace(artefact, splits={"test": Split(rows_of(np.arange(2500)), None, None, None, None)})
    shards = list(context_of(long).shards("test"))
    assert [len(shard) for shard in shards] == [1024, 1024, 452]
    assert np.array_equal(np.concatenate([shard.ids for shard in shards]), np.arange(2500))
    wide = replace(long, layout=Layout("samples", {"values": (2**12, 8, 8)}))
    assert len(next(context_of(wide).shards("test"))) == 16  # 2^22 numbers


def test_a_sample_is_drawn_over_the_split_and_the_same_each_time(artefact: Artefact) -> None:
    long = replace(artefact, splits={"test": Split(rows_of(np.arange(1000)), None, None, None, None)})
    ids = context_of(long).sample(20).ids
    assert np.array_equal(ids, context_of(long).sample(20).ids)
    assert np.array_equal(ids, np.unique(ids))
    assert ids.min() < 200
    assert ids.max() > 800


def test_signals_are_those_of_the_rows_in_their_order(artefact: Artefact) -> None:
    context = context_of(artefact)
    with pytest.raises(BadData, match=r"not all signals of its split 'test' are in its data set"):
        context.signals(rows_of([0, 1797]))
    for ids in ([7, 1796, 8], [55, 9]):  # of digits' split train, and of test
        signals = context.signals(rows_of(ids))
        assert list(signals.ids) == ids
    from sklearn.datasets import load_digits

    stacked = signals.stacked()
    assert stacked is not None
    assert stacked[0] == context.domain == Grid.of(8, 8)
    wanted = load_digits().images[[55, 9]]
    np.testing.assert_array_equal(stacked[1][..., 0] * stacked[2][0] * 16, wanted)


def test_data_that_changed_is_not_taken_for_what_the_rows_stand_for(artefact: Artefact) -> None:
    changed = replace(artefact, manifest={**artefact.manifest, "data": {"checksum": "0" * 64}})
    with pytest.raises(BadData, match=r"digits-samples was made of digits with checksum 00000000, but what lies there"):
        context_of(changed).signals(rows_of([3]))


def test_the_fitter_is_the_cells_and_answers(artefact: Artefact) -> None:
    context = context_of(artefact)
    rows = context.sample(2)
    (values,) = context.fitter.query(rows, context.domain, context.run)
    np.testing.assert_array_equal(values, rows.arrays["values"])


def test_signals_that_are_on_no_grid_have_no_domain(artefact: Artefact) -> None:
    points = replace(artefact, signal=SignalSpec((PartSpec("points", (99,), 3, 1),)))
    with pytest.raises(Refused, match="digits-samples: its signals are not on one grid but on points"):
        _ = context_of(points).domain


def test_a_split_that_is_not_there_is_refused_with_those_that_are(artefact: Artefact) -> None:
    with pytest.raises(UsageError, match="digits-samples has no split 'tests'; did you mean 'test'"):
        context_of(artefact, split="tests")
    with pytest.raises(UsageError, match="has no split 'validation'"):
        next(context_of(artefact).shards("validation"))


# ------------------------------------------------------------------ the plugin's record


class WaveSettings(Settings):
    signals: int = setting(8, "signals", ge=1)


class Waves:
    def __init__(self, settings: WaveSettings) -> None:
        self.settings = settings

    def run(self, context: Any) -> Findings:
        ids = context.sample(self.settings.signals).ids
        return Findings({"ids": [{"id": int(one)} for one in ids if one < 1600]}, "All of them.")


def waves(*takes: str) -> Plugin:
    module = __name__
    return Plugin(
        kind="analysis",
        name="waves",
        summary="",
        api_version=1,
        target=f"{module}:Waves",
        settings=f"{module}:WaveSettings",
        takes=takes,
    )


@dataclass
class Known:
    analyses: list[Plugin]

    def all(self, kind: str) -> list[Plugin]:
        assert kind == "analysis"
        return self.analyses


def test_a_kind_that_it_does_not_take_is_refused_with_what_would_fit() -> None:
    known: Any = Known([waves("tokens"), replace(waves("*"), name="any"), replace(waves("latent"), name="other")])
    check_takes(waves("latent", "tokens"), "tokens", "DIR", known)
    check_takes(waves("*"), "tokens", "DIR", known)
    line = "analysis 'waves' takes latent, weights, but DIR holds 'tokens'; analyses of 'tokens': waves, any"
    with pytest.raises(Refused, match=line):
        check_takes(waves("latent", "weights"), "tokens", "DIR", known)


def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes above under the name that the record has."""
    import sys

    monkeypatch.setitem(sys.modules, __name__, type(sys)(__name__))
    vars(sys.modules[__name__]).update(Waves=Waves, WaveSettings=WaveSettings)


def test_settings_are_validated(monkeypatch: pytest.MonkeyPatch) -> None:
    here(monkeypatch)
    assert settings_of(waves("*"), []) == WaveSettings()
    assert settings_of(waves("*"), [{"analysis": {"signals": 3}}, {"analysis": {"signals": 4}}]).model_dump() == {
        "signals": 4
    }
    with pytest.raises(BadSetting, match=r"no setting 'analysis.signal'; did you mean 'analysis.signals'"):
        settings_of(waves("*"), [{"analysis": {"signal": 3}}])
    with pytest.raises(BadSetting, match="no setting 'reader'; known: analysis"):
        settings_of(waves("*"), [{"reader": {"width": 3}}])
    with pytest.raises(BadSetting, match="'analysis' holds settings, as `inrbench show waves` lists them; given: 3"):
        settings_of(waves("*"), [{"analysis": 3}])


def test_an_analysis_runs_on_what_it_takes_and_must_find_something(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(monkeypatch)
    found = analyse(waves("samples"), WaveSettings(), context_of(artefact))
    assert found.tables == {"ids": [{"id": 1500}, {"id": 3}, {"id": 41}, {"id": 42}]}
    with pytest.raises(
        Refused, match=r"takes latent, but digits-samples holds 'samples'; analyses of 'samples': .*qua"
    ):
        analyse(waves("latent"), WaveSettings(), context_of(artefact))
    alone = replace(artefact, splits={"test": Split(rows_of([1700]), None, None, None, None)})
    with pytest.raises(InrbenchError, match="analysis 'waves' left no table of digits-samples"):
        analyse(waves("samples"), WaveSettings(), context_of(alone))


def test_the_draw_of_a_sample_is_no_cells(artefact: Artefact) -> None:
    long = replace(artefact, splits={"test": Split(rows_of(np.arange(300)), None, None, None, None)})
    one, other = (Context(long, CellRun(seed)).sample(9).ids for seed in (0, 1))
    assert np.array_equal(one, other)  # paired over seeds
    assert not np.array_equal(one, np.sort(draws.generator(0, "analysis", 300).choice(300, 9, replace=False)))
