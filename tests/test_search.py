"""Searches: keyed trials, chosen on validation, every one a record; the best is scored on the test split."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from inrbench.cells import Cell
from inrbench.cli import cli
from inrbench.errors import BadSetting, Refused, UsageError
from inrbench.pipeline import Outcome
from inrbench.requests import cells_of, requested
from inrbench.search import Search, run_requested, run_search

TEXT = """
profile: smoke
seeds: [0, 1]
set: {data.validation: 0.25, data.scored: validation}
cells:
  - run: siren+digits
    set: {inr.depth: 2}
    search:
      trials: 12
      choose: psnr_db
      space:
        fitter.lr: {low: 1e-4, high: 1e-2, log: true}
        inr.width: {low: 4, high: 12, step: 4}
        reader: {choices: [null, mlp]}
"""


@pytest.fixture
def search_of(tmp_path: Path) -> Callable[..., Search]:
    def make(text: str = TEXT, **asked: Any) -> Search:
        path = tmp_path / "sweep.yaml"
        path.write_text(text)
        (search,) = requested([str(path)], **asked).searches
        return search

    return make


class Bench:
    """Runs nothing: a cell's metric is a function of its settings. Counts what is asked for."""

    def __init__(self, metric: Callable[[Cell], float | str] | None = None) -> None:
        self.metric = metric or (
            lambda cell: cell.tree()["inr"]["width"] - abs(math.log10(cell.tree()["fitter"]["lr"]) + 3)
        )
        self.calls: list[list[Cell]] = []

    def __call__(self, cells: Sequence[Cell]) -> list[dict[str, Any]]:
        self.calls.append(list(cells))
        records = []
        for cell in cells:
            value = self.metric(cell)
            status = value if isinstance(value, str) else "ok"
            metrics = {"psnr_db": value} if status == "ok" else {}
            records.append(
                {"cell": cell.name, "label": cell.label, "seed": cell.seed, "status": status, "metrics": metrics}
            )
            if status == "interrupted":
                break
        return records


def asked_for(bench: Bench) -> list[tuple[Any, ...]]:
    trees = [(cell.tree(), cell.label, cell.seed) for call in bench.calls for cell in call]
    return [(tree["fitter"]["lr"], tree["inr"]["width"], tree["reader"], label, seed) for tree, label, seed in trees]


# ------------------------------------------------------------------ trials


def test_every_trial_is_a_cell_of_every_seed_and_the_best_is_scored_once_on_the_test_split(search_of: Any) -> None:
    bench, lines = Bench(), []
    records = run_search(search_of(), bench, lines.append)
    assert [(one["label"], one["seed"]) for one in records] == [
        *((f"trial {number}", seed) for number in range(12) for seed in (0, 1)),
        ("best of 12 trials", 0),
        ("best of 12 trials", 1),
    ]
    *trials, best = bench.calls
    assert all(cell.data_settings.scored == "validation" for call in trials for cell in call)
    assert [(cell.data_settings.scored, cell.data_settings.validation) for cell in best] == [("test", 0.25)] * 2
    values = [bench.metric(call[0]) for call in trials]
    chosen = trials[values.index(max(values))][0]
    assert {**best[0].tree(), "data": None} == {**chosen.tree(), "data": None}
    assert best[0].tree()["inr"]["depth"] == 2
    assert len(lines) == 13
    assert lines[-1].startswith(f"sweep.yaml.cells.0: trial {values.index(max(values))} is the best, psnr_db ")
    assert "on validation, mean of 2 seeds; it is now scored on the test split" in lines[-1]


def test_values_are_in_their_space(search_of: Any) -> None:
    found = asked_for(bench := Bench())
    run_search(search_of(TEXT.replace("trials: 12", "trials: 40")), bench)
    found = asked_for(bench)[:-2]
    assert all(1e-4 <= lr <= 1e-2 for lr, *_ in found)
    assert min(lr for lr, *_ in found) < 1e-3 < max(lr for lr, *_ in found)
    assert {width for _, width, *_ in found} == {4, 8, 12}
    assert {reader and reader["name"] for _, _, reader, *_ in found} == {None, "mlp"}


def test_the_same_trials_are_asked_for_again_and_a_longer_search_begins_alike(search_of: Any) -> None:
    first, again, longer, other = Bench(), Bench(), Bench(), Bench()
    run_search(search_of(), first)
    run_search(search_of(), again)
    run_search(search_of(TEXT.replace("trials: 12", "trials: 14")), longer)
    run_search(search_of(TEXT.replace("trials: 12", "trials: 12\n      seed: 1")), other)
    assert asked_for(first) == asked_for(again)
    assert asked_for(longer)[:24] == asked_for(first)[:24]
    assert asked_for(other)[:2] != asked_for(first)[:2]


def test_tpe_learns_from_what_it_is_told_and_random_does_not(search_of: Any) -> None:
    for sampler, same in (("tpe", False), ("random", True)):
        text = TEXT.replace("trials: 12", f"trials: 16\n      sampler: {sampler}")
        one, other = Bench(), Bench(lambda cell: -cell.tree()["fitter"]["lr"])
        run_search(search_of(text), one)
        run_search(search_of(text), other)
        assert (asked_for(one)[:-2] == asked_for(other)[:-2]) == same


def test_random_trials_run_at_once_and_those_of_tpe_as_many_as_are_asked_for(search_of: Any) -> None:
    for more, sizes in (
        ("", [2] * 13),
        ("sampler: random", [24, 2]),
        ("at_once: 5", [10, 10, 4, 2]),
    ):
        run_search(search_of(TEXT.replace("trials: 12", f"trials: 12\n      {more}")), bench := Bench())
        assert [len(call) for call in bench.calls] == sizes


def test_a_trial_with_a_failed_seed_is_out_of_the_choice_and_still_reported(search_of: Any) -> None:
    def metric(cell: Cell) -> float | str:
        wide = cell.tree()["inr"]["width"] == 12
        return "not-finite" if wide and cell.seed == 1 else float(cell.tree()["inr"]["width"])

    lines: list[str] = []
    records = run_search(search_of(), bench := Bench(metric), lines.append)
    assert len(records) == 26
    assert "not-finite" in {one["status"] for one in records}
    assert bench.calls[-1][0].tree()["inr"]["width"] == 8
    assert any(line.endswith("no result") for line in lines)


def test_without_a_result_nothing_is_chosen(search_of: Any) -> None:
    lines: list[str] = []
    records = run_search(search_of(), Bench(lambda cell: "crash"), lines.append)
    assert len(records) == 24
    assert lines[-1] == "sweep.yaml.cells.0: no trial has a result, so none is chosen"


def test_a_trial_that_is_refused_is_said_and_the_others_go_on(search_of: Any) -> None:
    class Refusing(Bench):
        def __call__(self, cells: Sequence[Cell]) -> list[dict[str, Any]]:
            if any(cell.tree()["inr"]["width"] == 8 for cell in cells):
                raise Refused("width 8 is odd")
            return super().__call__(cells)

    for more in ("", "sampler: random"):
        lines: list[str] = []
        bench = Refusing()
        records = run_search(search_of(TEXT.replace("trials: 12", f"trials: 12\n      {more}")), bench, lines.append)
        refused = [line for line in lines if "is refused: width 8 is odd" in line]
        assert 0 < len(refused) < 12
        assert len(records) == 2 * (12 - len(refused)) + 2


@pytest.mark.parametrize("more", ["", "sampler: random"])
def test_an_interrupted_trial_ends_the_search(search_of: Any, more: str) -> None:
    seen: list[str] = []

    def metric(cell: Cell) -> float | str:
        seen.append(cell.label)
        return "interrupted" if cell.label == "trial 3" else 1.0

    for seeds in ([0], [0, 1]):
        search = search_of(TEXT.replace("trials: 12", f"trials: 12\n      {more}"), seeds=seeds)
        records = run_search(search, Bench(metric))
        assert seen[-1] == "trial 3"
        assert [one["label"] for one in records][-2:] == ["trial 2", "trial 3"]


def test_a_metric_that_no_record_has_is_named_with_those_there_are(search_of: Any) -> None:
    search = search_of(TEXT.replace("choose: psnr_db", "choose: psnr_estimate_db"))
    with pytest.raises(
        UsageError, match=r"search.choose=psnr_estimate_db: record siren.* has no such metric; it has ps"
    ):
        run_search(search, Bench())


# ------------------------------------------------------------------ requests


def test_a_search_holds_for_each_method_and_data_set_and_for_the_seeds_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(TEXT.replace("siren+digits", "siren,siren+digits") + "  - run: siren+digits\n    label: alone\n")
    asked = requested([str(path)], seeds=[7], overrides=[{"fitter": {"steps": 3}}], profile="laptop")
    assert [cell.label for cell in asked.cells] == ["alone"]
    assert [(one.name, list(one.seeds), one.num_cells) for one in asked.searches] == [
        ("siren+digits, best of 12 trials", [7], 13)
    ] * 2
    (cell,) = asked.searches[0].best({"inr.width": 8})
    assert (cell.profile, cell.seed, cell.tree()["fitter"]["steps"]) == ("laptop", 7, 3)


def test_cells_come_first_and_an_interruption_there_leaves_the_search_undone(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(TEXT + "  - run: siren+digits\n")
    asked = requested([str(path)])
    assert [one["label"] for one in run_requested(asked, Bench())][:3] == ["", "", "trial 0"]
    stopped = run_requested(asked, Bench(lambda cell: "interrupted"))
    assert [one["cell"] for one in stopped] == ["siren+digits-smoke-s0"]


def test_who_wants_cells_alone_is_told_of_a_search(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(TEXT)
    with pytest.raises(UsageError, match=r"^sweep.yaml.cells.0: a search chooses its cells as it goes: `inrbench run`"):
        cells_of([str(path)])


def test_without_optuna_nothing_is_run(search_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    search_of()
    asked = requested([str(tmp_path / "sweep.yaml"), "pixels+digits"])
    with pytest.raises(UsageError, match=r"^a search needs optuna: pip install 'inrbench\[search\]'$"):
        run_requested(asked, bench := Bench())
    assert bench.calls == []


SPACE = "fitter.lr: {low: 1e-4, high: 1e-2, log: true}"
MORE = "reader: {choices: [null, mlp]}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "data.scored: validation",
            "data.scored: test",
            "sweep.yaml.cells.0: a search chooses on validation: set data.v",
        ),
        (
            "data.validation: 0.25, ",
            "",
            "sweep.yaml.cells.0: a search chooses on validation: set data.validation above",
        ),
        ("fitter.lr:", "fitter.ler:", "sweep.yaml.cells.0: no setting 'fitter.ler'; did you mean 'fitter.lr'? known: "),
        (
            "low: 1e-4, high",
            "low: -1, high",
            "settings of 'sweep.yaml.cells.0.search.space.fitter.lr': a logarithm needs",
        ),
        (
            SPACE,
            "fitter.lr: {low: -1.0, high: 1}",
            "sweep.yaml.cells.0: setting fitter.lr=-1.0: input should be greater than 0",
        ),
        (
            "high: 1e-2, ",
            "",
            "settings of 'sweep.yaml.cells.0.search.space.fitter.lr': it takes `low` and `high`, or `ch",
        ),
        ("high: 1e-2", "high: x", "setting sweep.yaml.cells.0.search.space.fitter.lr.high"),
        (
            "high: 1e-2",
            "high: 1e-5",
            "settings of 'sweep.yaml.cells.0.search.space.fitter.lr': low=0.0001 is not below h",
        ),
        (
            "log: true",
            "log: true, step: 0.1",
            "settings of 'sweep.yaml.cells.0.search.space.fitter.lr': `log` and `step`",
        ),
        (
            "step: 4",
            "step: 0.5",
            "settings of 'sweep.yaml.cells.0.search.space.inr.width': step=0.5 is not whole, as low",
        ),
        ("[null, mlp]", "[]", "setting sweep.yaml.cells.0.search.space.reader.choices=[]: list should have at least 1"),
        (
            "[null, mlp]",
            "[mlp], low: 1",
            "settings of 'sweep.yaml.cells.0.search.space.reader': `choices` stands alone",
        ),
        ("[null, mlp]", "[mlp, mpl]", "sweep.yaml.cells.0: no reader named 'mpl'; did you mean 'mlp'? known: "),
        (
            "trials: 12",
            "trials: 0",
            "setting sweep.yaml.cells.0.search.trials=0: input should be greater than or equal",
        ),
        ("psnr_db", "loss", "setting sweep.yaml.cells.0.search.choose='loss': input should be 'accuracy', 'psnr_db'"),
        ("psnr_db", "accuracy", "sweep.yaml.cells.0: search.choose=accuracy: there is no reader that tells classes"),
        (
            "set: {inr.depth: 2}",
            "grid: {inr.depth: [2]}",
            "settings of 'sweep.yaml.cells.0': `search` and `grid` do not",
        ),
        (
            "inr.depth: 2",
            "inr.width: 8",
            "sweep.yaml.cells.0: 'inr.width' stands more than once in `set`, `grid`, `zip` ",
        ),
    ],
)
def test_a_search_that_cannot_be_is_refused_in_one_line(search_of: Any, old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(UsageError) as caught:
        search_of(TEXT.replace(old, new))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_what_a_search_sets_cannot_be_set_beside_it(search_of: Any) -> None:
    for tree, key in (({"fitter": {"lr": 0.1}}, "fitter.lr"), ({"reader": "mlp"}, "reader.name")):
        with pytest.raises(BadSetting, match=rf"^sweep.yaml.cells.0: --set {key}: the search sets '\S+' itself$"):
            search_of(overrides=[tree])
    assert search_of(overrides=[{"fitter": {"steps": 3}}])


def test_the_command_line_runs_a_search_and_says_what_was_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("inrbench.execution.cell.run_cell", lambda *_: Outcome({"psnr_db": 20.0}, {}))
    Path("sweep.yaml").write_text(TEXT.replace("trials: 12", "trials: 3"))
    arguments = ["run", "sweep.yaml", "--in-process", "--device", "cpu", "--threads", "1", "--seed", "0"]
    first = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert first.exit_code == 0, first.output
    assert (
        "sweep.yaml.cells.0: trial 0 is the best, psnr_db 20 on validation; it is now scored on the test"
        in first.output
    )
    assert first.output.count("siren+digits-smoke-s0-trial-2 (trial 2)") == 2  # when it is run, and in the table
    again = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert again.output.count(": done before") == 4
    assert len(list(Path("records").glob("*.json"))) == 4


@pytest.mark.cells
def test_a_search_runs_and_goes_on_from_its_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import inrbench
    from inrbench.records import read_records

    monkeypatch.setattr("inrbench.runner.num_threads", lambda asked=None: 1)
    path, records = tmp_path / "sweep.yaml", tmp_path / "records"
    path.write_text(
        TEXT.replace("trials: 12", "trials: 4").replace(
            "data.scored: v", "data.test_size: 2, fitter.steps: 2, data.scored: v"
        )
    )
    first = inrbench.run(path, records=records, device="cpu", seeds=[0], quiet=True)
    assert first["status"].tolist() == ["ok"] * 5
    assert first["label"].tolist() == ["trial 0", "trial 1", "trial 2", "trial 3", "best of 4 trials"]
    assert first["facts.scored_split"].tolist() == ["validation"] * 4 + ["test"]
    chosen = first.loc[first["metrics.psnr_db"].head(4).idxmax()]
    assert first["settings.fitter.lr"].iloc[-1] == chosen["settings.fitter.lr"]

    before = {one["label"]: (one["finished"], one["metrics"]) for one in read_records(records)}
    (gone,) = records.glob("*trial-2-*.json")
    gone.unlink()
    again = inrbench.run(path, records=records, device="cpu", seeds=[0], quiet=True)
    assert again["metrics.psnr_db"].tolist() == first["metrics.psnr_db"].tolist()
    after = {one["label"]: (one["finished"], one["metrics"]) for one in read_records(records)}
    assert {label: metrics for label, (_, metrics) in before.items()} == {
        k: metrics for k, (_, metrics) in after.items()
    }
    assert {label for label in before if before[label][0] != after[label][0]} <= {"trial 2"}
    assert len(list(records.glob("*.json"))) == 5
