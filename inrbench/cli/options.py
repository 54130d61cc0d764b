"""Options that several commands share, and what their values mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from inrbench.cli import suggestions

__all__ = [
    "DATA_ROOT",
    "EXECUTOR",
    "JSON",
    "PROFILE",
    "RECORDS",
    "SEEDS",
    "SET",
    "WITH",
    "assignments",
    "executor_tree",
    "records_folder",
]

MOST_SEEDS = 100_000
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
RECORDS = click.option(
    "--records",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="INRBENCH_RECORDS",
    default=Path("records"),
    show_default=True,
    help="Folder of records; $INRBENCH_RECORDS, where that is set.",
)
DATA_ROOT = click.option(
    "--data-root",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that holds one folder per data set; the default is $INRBENCH_DATA, else your user data folder.",
)
PROFILE = click.option(
    "--profile",
    metavar="paper|laptop|smoke",
    shell_complete=suggestions.profiles,
    help="How much work: as published (the default), minutes on two cores, or seconds.",
)
EXECUTOR = click.option(
    "--executor",
    default="local",
    show_default=True,
    metavar="NAME",
    shell_complete=suggestions.executors,
    help="What runs the cells: local, slurm, or a plugin's; `inrbench list executors`.",
)
WITH = click.option(
    "--with",
    "executor_settings",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=suggestions.executor_settings,
    help="A setting of the executor, as in --with gpus=1; `inrbench show slurm` lists them.",
)
SET = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=suggestions.settings,
    help="Change a setting, as in --set fitter.steps=4; `inrbench show METHOD+DATASET` lists them.",
)


def seeds(ctx: click.Context, param: click.Parameter, texts: Sequence[str]) -> list[int] | None:
    """``3``, ``0-4`` and ``0,1,2``, in order and each once; None where none was given."""
    found: list[int] = []
    for text in texts:
        if span := re.fullmatch(r"(\d+)-(\d+)", text):
            first, last = int(span[1]), int(span[2])
            if first > last:
                raise click.BadParameter(f"{text!r} counts down; say {last}-{first}", ctx, param)
            if last - first >= MOST_SEEDS:
                raise click.BadParameter(f"{text!r} is more than {MOST_SEEDS:,} seeds", ctx, param)
            found += range(first, last + 1)
        elif re.fullmatch(r"\d+(,\d+)*", text):
            found += [int(seed) for seed in text.split(",")]
        else:
            raise click.BadParameter(f"{text!r} is no seed; allowed are 3, 0-4 and 0,1,2", ctx, param)
    return list(dict.fromkeys(found)) or None


SEEDS = click.option(
    "--seed",
    "seeds",
    multiple=True,
    metavar="N",
    callback=seeds,
    help="A seed, 0-4 for five of them, or 0,1,2; can be given more than once.  [default: 0]",
)


def assignments(texts: Sequence[str]) -> list[dict[str, Any]]:
    """The trees of ``--set``, in order. Raises BadSetting."""
    from inrbench.assignments import parse_assignment

    return [parse_assignment(text) for text in texts]


def executor_tree(texts: Sequence[str]) -> dict[str, Any]:
    """The tree of ``--with``. Raises BadSetting."""
    from inrbench.errors import BadSetting
    from inrbench.trees import merge

    try:
        return merge(*assignments(texts))
    except BadSetting as error:
        said = str(error).replace("--set fitter.steps=4", "--with gpus=1").replace("--set", "--with", 1)
        raise BadSetting(said) from error


def records_folder(folder: Path) -> Path:
    """``folder``, which must exist. Raises UsageError where it does not."""
    if not folder.is_dir():
        from inrbench.errors import UsageError

        raise UsageError(
            f"there is no folder of records at {str(folder)!r}; `inrbench run METHOD+DATASET` makes one, "
            "--records DIR or INRBENCH_RECORDS names another"
        )
    return folder
