"""Sweep files: YAML that spans cells.

::

    title: "MWT, Table 4: ablations"
    profile: paper
    seeds: [0, 1, 2]
    set: {data.validation: 0.2, data.scored: validation}  # on every line
    published: mwt.table4                                 # of published.yaml beside this file
    cells:
      - run: mwt,pixels+cifar10
      - run: mwt+cifar10
        label: "w_cls {joint.share}"
        grid: {joint.share: [0, 0.001, 0.01]}             # every combination; `zip` takes one value of each list
        published: {axis: w_cls, value: "{joint.share}"}  # the one row of the table that has these values
      - run: mwt+cifar10
        search:                                           # in place of a grid: trials, and the best on the test split
          trials: 20
          choose: accuracy
          space: {fitter.lr: {low: 1.0e-4, high: 1.0e-2, log: true}, reader.depth: {choices: [2, 4]}}
    exclude:
      - {method: pixels, seed: [1, 2]}                    # no cell that is all of this
    baselines:
      no gradient: {label: w_cls 0}                       # the row that tables compare every other one with

In a label, in what selects a published row and in its columns, ``{key}`` stands for what the line says the cell's
setting is, whatever ``--set`` makes of it; ``{method}`` and ``{dataset}`` for their names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from inrbench.assignments import number
from inrbench.errors import UsageError
from inrbench.plain_yaml import LARGEST_BYTES, NotPlain, read_plain
from inrbench.settings import Settings, setting, validated

__all__ = ["Axis", "Columns", "SearchLine", "Sweep", "SweepCell", "load_sweep", "schema"]

Values = Annotated[list[Any], Field(min_length=1)]
Number = Annotated[int | float, BeforeValidator(number)]
Step = Annotated[Annotated[int, Field(gt=0)] | Annotated[float, Field(gt=0)], BeforeValidator(number)]
#: What a record holds of a split and what is better the larger it is.
Chosen = Literal["accuracy", "psnr_db", "psnr_estimate_db", "psnr_median_db", "psnr_global_db", "iou"]


class Columns(Settings):
    """Columns of a published table."""

    accuracy: str | None = setting(None, "the column of the accuracy, in %; the one called `accuracy` if empty")
    psnr_db: str | None = setting(None, "the column of the PSNR, in dB; the one called `psnr_db` if empty")
    psnr_estimate_db: str | None = setting(None, "the column of a PSNR that was estimated on unseen points, in dB")
    psnr_video_db: str | None = setting(None, "the column of the PSNR of a film's picture, in dB")
    psnr_audio_db: str | None = setting(None, "the column of the PSNR of a film's sound, in dB")
    iou: str | None = setting(None, "the column of the intersection over union, in [0, 1]")
    fit_psnr_db: str | None = setting(None, "the column of the training signals' PSNR where training ends, in dB")


class Axis(Settings):
    """What a search may set a setting to: a span of numbers, whole ones where both ends are, or one of some values."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["low", "high"]}, {"required": ["choices"]}]})

    low: Number | None = setting(None, "the smallest number")
    high: Number | None = setting(None, "the largest number, included")
    log: bool = setting(False, "draw evenly in the logarithm")
    step: Step | None = setting(None, "the distance between two numbers; any number in the span if empty")
    choices: list[Any] | None = setting(None, "the values, in place of a span", min_length=1)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.choices is not None:
            if self.model_fields_set - {"choices"}:
                raise ValueError("`choices` stands alone, without `low`, `high`, `log` and `step`")
            return self
        if self.low is None or self.high is None:
            raise ValueError("it takes `low` and `high`, or `choices`")
        if not self.low < self.high:
            raise ValueError(f"low={self.low} is not below high={self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithm needs low above 0; given: {self.low}")
        if self.log and self.step is not None:
            raise ValueError("`log` and `step` do not go together")
        if self.step is not None and isinstance(self.step, float) and self.whole:
            raise ValueError(f"step={self.step} is not whole, as low={self.low} and high={self.high} are")
        return self

    @property
    def whole(self) -> bool:
        """Whether it spans whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)


class SearchLine(Settings):
    """Trials that are chosen among on validation; every one is a record. The best is then scored on the test split."""

    trials: int = setting(doc="how many", ge=1)
    choose: Chosen = setting(doc="the metric, on the validation split; the largest mean over the seeds is chosen")
    space: dict[str, Axis] = setting(doc="settings, each with what it may be", min_length=1)
    sampler: Literal["tpe", "random"] = setting(
        "tpe", "tpe: tree-structured Parzen estimator, which learns from the trials before"
    )
    at_once: int = setting(1, "trials that tpe asks for before it hears how they went", ge=1)
    seed: int = setting(0, "of the sampler; not the cells'", ge=0)


class SweepCell(Settings):
    """One line of a sweep: methods and data sets, what is set for them, and what was published of them."""

    run: str = setting(doc="METHOD+DATASET, each a list with commas")
    label: str = setting("", "the row's name in tables; what varies, else the method, if empty")
    set: dict[str, Any] = setting({}, "settings, as --set: dotted keys or trees")
    grid: dict[str, Values] = setting({}, "settings, each with its values: a row for every combination")
    zip: dict[str, Values] = setting({}, "settings, each with as many values: a row for the first of each, and so on")
    search: SearchLine | None = setting(None, "in place of grid and zip: trials of settings, chosen on validation")
    published: dict[str, Any] = setting({}, "columns and values that select one row of the published table")
    columns: Columns | None = setting(None, "the published table's columns, where not those of the sweep")

    @model_validator(mode="after")
    def _search_stands_alone(self) -> Self:
        for name in ("grid", "zip", "published"):
            if self.search is not None and getattr(self, name):
                raise ValueError(f"`search` and `{name}` do not go together: make it two lines")
        return self


class Sweep(Settings):
    """A YAML file that spans cells."""

    title: str = setting("", "the table's title")
    profile: str = setting("paper", "paper, laptop or smoke")
    seeds: list[Annotated[int, Field(ge=0)]] = setting([0], "seeds; paired over methods", min_length=1)
    set: dict[str, Any] = setting({}, "settings of every line, below its own")
    published: str = setting("", "PAPER.TABLE of the published.yaml beside the file")
    columns: Columns = setting(Columns(), "the published table's columns")
    published_only: list[dict[str, Any]] = setting([], "published rows without cells, as a line's `published`")
    exclude: list[Annotated[dict[str, Any], Field(min_length=1)]] = setting(
        [], "cells that are left out: those with all of method, dataset, seed, label and settings; lists allow several"
    )
    baselines: dict[str, Annotated[dict[str, Any], Field(min_length=1)]] = setting(
        {}, "names and, as in `exclude`, the rows that tables compare every other row of the same data set with"
    )
    cells: list[SweepCell] = setting(doc="the lines", min_length=1)


def load_sweep(path: Path) -> Sweep:
    """The sweep in ``path``. Raises UsageError with one line where it is none."""
    shown = repr(str(path))
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_BYTES + 1).decode()
        tree = read_plain(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"sweep file {shown} cannot be read: {error}") from error
    except NotPlain as error:
        raise UsageError(f"sweep file {shown}: {error}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"sweep file {shown} is not YAML: {error}") from error
    except ValueError as error:  # a path that no file can have
        raise UsageError(f"sweep file {shown} cannot be read: {error}") from error
    if not isinstance(tree, Mapping):
        raise UsageError(f"sweep file {shown} must hold a mapping with `cells:`")
    return validated(Sweep, tree, path.name)


def schema() -> str:
    """The JSON Schema of a sweep file, for editors."""
    tree = Sweep.model_json_schema()
    named = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "An inrbench sweep"}
    return json.dumps({**named, **{key: value for key, value in tree.items() if key != "title"}}, indent=2) + "\n"
