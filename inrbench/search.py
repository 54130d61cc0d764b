"""A search: trials of settings, each a cell for every seed, chosen on validation; the best is scored on the test split.

Nothing is kept but the records. The sampler's draws are keyed, so the same trials are asked for again, and those that
have a record are told from it: a search that was stopped goes on where it was, and one that is longer begins alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from inrbench import draws
from inrbench.assignments import tree_of
from inrbench.cells import Cell, resolve
from inrbench.errors import BadSetting, Interrupted, UsageError
from inrbench.sweeps import Axis, SearchLine
from inrbench.trees import flatten, merge

if TYPE_CHECKING:
    import optuna

__all__ = ["Requested", "Run", "Search", "run_requested", "run_search"]

#: Runs cells and returns a record of each, in order; fewer where it was interrupted.
Run = Callable[[Sequence[Cell]], list[dict[str, Any]]]
ON_TEST = {"data": {"scored": "test"}}


@dataclass(frozen=True)
class Search:
    """A search of a method on a data set: a line of a sweep, resolved."""

    where: str  # sweep.yaml.cells.3
    method: str
    dataset: str
    profile: str
    seeds: Sequence[int]
    settings: Sequence[Mapping[str, Any]]  # trees, those of the sweep first
    line: SearchLine
    label: str = ""  # of the line

    @property
    def name(self) -> str:
        """``mwt+digits, best of 20 trials``."""
        return f"{self.method}+{self.dataset}, {self.best_label(self.line, self.label)}"

    @property
    def num_cells(self) -> int:
        """Trials and the best, over all seeds."""
        return (self.line.trials + 1) * len(self.seeds)

    @staticmethod
    def best_label(line: SearchLine, label: str) -> str:
        """The label of the cell that is scored on the test split."""
        return ", ".join([*([label] if label else []), f"best of {line.trials} trials"])

    def trial(self, number: int, values: Mapping[str, Any]) -> list[Cell]:
        """The cells of trial ``number``, one a seed. Raises UsageError where ``values`` do not go together."""
        return self._cells(values, ", ".join([*([self.label] if self.label else []), f"trial {number}"]))

    def best(self, values: Mapping[str, Any]) -> list[Cell]:
        """The cells of the chosen ``values``, scored on the test split; what was held out still is."""
        return self._cells(values, self.best_label(self.line, self.label), ON_TEST)

    def first_values(self) -> dict[str, Any]:
        """The smallest or first value of each setting: a trial that stands for others."""
        return {key: axis.choices[0] if axis.choices else axis.low for key, axis in self.line.space.items()}

    def check(self, above: Sequence[Mapping[str, Any]] = ()) -> None:
        """Raises UsageError where validation is not what is scored, or a setting cannot be what it would be set to.

        ``above`` are the settings that were asked for beside the file.
        """
        for key, _ in flatten(merge(*above)):
            for searched in self.line.space:
                if f"{searched}.".startswith(f"{key}.") or key.startswith(f"{searched}."):
                    raise BadSetting(f"--set {key}: the search sets {searched!r} itself")
        first = self.first_values()
        for key, axis in self.line.space.items():
            for value in axis.choices or [axis.low, axis.high]:
                cell = self.trial(0, {**first, key: value})[0]
                if cell.data_settings.scored != "validation" or not cell.data_settings.validation:
                    raise BadSetting(
                        "a search chooses on validation: set data.validation above 0 and data.scored to validation; "
                        "the best is then scored on the test split"
                    )
                if self.line.choose == "accuracy" and cell.plugins["reader"] is None:
                    raise BadSetting("search.choose=accuracy: there is no reader that tells classes; set reader")

    def _cells(self, values: Mapping[str, Any], label: str, *above: Mapping[str, Any]) -> list[Cell]:
        chosen = merge(*(tree_of(key, value) for key, value in values.items()))
        overrides = [*self.settings, chosen, *above]
        first = resolve(
            self.method, self.dataset, profile=self.profile, seed=min(self.seeds), overrides=overrides, label=label
        )
        return [replace(first, seed=seed) for seed in self.seeds]


@dataclass(frozen=True)
class Requested:
    """What is to be run: cells that are known, and searches, each of which chooses its own."""

    cells: list[Cell]
    searches: list[Search]


def run_requested(
    asked: Requested, run: Run, report: Callable[[str], None] = lambda line: None
) -> list[dict[str, Any]]:
    """The records of all cells, then those of each search; what comes behind an interrupted one is left undone.

    Raises UsageError before any work where a search needs optuna, which is not installed.
    """
    if asked.searches:
        _optuna()
    records = run(asked.cells) if asked.cells else []
    for search in asked.searches:
        if any(map(_interrupted, records)):
            break
        records = records + run_search(search, run, report)
    return records


def run_search(search: Search, run: Run, report: Callable[[str], None] = lambda line: None) -> list[dict[str, Any]]:
    """The records of all trials, then of the best on the test split; without that where the run was interrupted.

    A trial that fails, or is refused, is out of the choice. Raises UsageError where optuna is not installed, or where
    no record has the metric.
    """
    study, distributions = _study(search.line)
    batch = search.line.trials if search.line.sampler == "random" else search.line.at_once
    records: list[dict[str, Any]] = []
    results: list[tuple[float, Mapping[str, Any], int]] = []
    for start in range(0, search.line.trials, batch):
        asked = [study.ask(distributions) for _ in range(start, min(start + batch, search.line.trials))]
        trials = {one.number: _values(search.line, one.params) for one in asked}
        made = _made(search, trials, run, report)
        for one in asked:
            found = made.get(one.number, [])
            records += found
            if one.number in made and (len(found) < len(search.seeds) or any(map(_interrupted, found))):
                report(f"{search.where}: stopped in trial {one.number}; the same command goes on from there")
                return records
            value = _value(search, found)
            report(f"{search.where}: trial {one.number}, {_shown(trials[one.number])}: {_said(search, value)}")
            if value is None:
                study.tell(one, state=_failed())
            else:
                study.tell(one, value)
                results.append((value, trials[one.number], one.number))
    if not results:
        report(f"{search.where}: no trial has a result, so none is chosen")
        return records
    value, best, number = max(results, key=lambda result: (result[0], -result[2]))
    report(f"{search.where}: trial {number} is the best, {_said(search, value)}; it is now scored on the test split")
    return records + run(search.best(best))


def _made(
    search: Search, trials: Mapping[int, Mapping[str, Any]], run: Run, report: Callable[[str], None]
) -> dict[int, list[dict[str, Any]]]:
    """The records of ``trials`` by number, in the order of the seeds; one that is refused is left out."""
    try:
        cells = {number: search.trial(number, values) for number, values in trials.items()}
        found = {(one["label"], one["seed"]): one for one in run([cell for some in cells.values() for cell in some])}
    except UsageError as error:
        if len(trials) == 1:
            report(f"{search.where}: trial {next(iter(trials))} is refused: {error}")
            return {}
    else:
        return {
            number: [found[cell.label, cell.seed] for cell in some if (cell.label, cell.seed) in found]
            for number, some in cells.items()
        }
    return {
        number: records for one in trials for number, records in _made(search, {one: trials[one]}, run, report).items()
    }


def _value(search: Search, records: Sequence[Mapping[str, Any]]) -> float | None:
    """The mean of the metric over the seeds; None where one of them has no good record."""
    if not records or any(record["status"] != "ok" for record in records):
        return None
    for record in records:
        if search.line.choose not in record["metrics"]:
            raise UsageError(
                f"{search.where}: search.choose={search.line.choose}: record {record['cell']} has no such metric; "
                f"it has {', '.join(sorted(record['metrics']))}"
            )
    values = [record["metrics"][search.line.choose] for record in records]
    return None if None in values else float(np.mean(values))


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UsageError("a search needs optuna: pip install 'inrbench[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _study(line: SearchLine) -> tuple[optuna.Study, dict[str, optuna.distributions.BaseDistribution]]:
    samplers = _optuna().samplers
    seed = int(draws.generator(line.seed, "search").integers(2**32))
    sampler = samplers.TPESampler(seed=seed) if line.sampler == "tpe" else samplers.RandomSampler(seed=seed)
    study: optuna.Study = _optuna().create_study(direction="maximize", sampler=sampler)
    return study, {key: _distribution(axis) for key, axis in line.space.items()}


def _distribution(axis: Axis) -> optuna.distributions.BaseDistribution:
    from optuna import distributions

    if axis.choices is not None:  # by place: a value may be a mapping
        return distributions.CategoricalDistribution(range(len(axis.choices)))
    assert axis.low is not None
    assert axis.high is not None
    low, high, step = axis.low, axis.high, axis.step
    if step is not None:  # the last that the steps reach
        high = low + step * int((high - low) / step + 1e-9)
    if axis.whole:
        return distributions.IntDistribution(int(low), int(high), log=axis.log, step=int(step or 1))
    return distributions.FloatDistribution(float(low), float(high), log=axis.log, step=step)


def _values(line: SearchLine, params: Mapping[str, Any]) -> dict[str, Any]:
    values = {}
    for key, axis in line.space.items():
        values[key] = params[key] if axis.choices is None else axis.choices[params[key]]
    return values


def _interrupted(record: Mapping[str, Any]) -> bool:
    return bool(record["status"] == Interrupted.status)


def _failed() -> optuna.trial.TrialState:
    from optuna.trial import TrialState

    return TrialState.FAIL


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()
    )


def _said(search: Search, value: float | None) -> str:
    if value is None:
        return "no result"
    seeds = f", mean of {len(search.seeds)} seeds" if len(search.seeds) > 1 else ""
    return f"{search.line.choose} {value:.4g} on validation{seeds}"
