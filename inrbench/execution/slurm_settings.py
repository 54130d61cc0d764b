"""The settings of the executor `slurm`. Loads nothing of Slurm."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, model_validator
from pydantic_core import PydanticCustomError

from inrbench.errors import Refused
from inrbench.execution.executors import ExecutorSettings
from inrbench.quantities import num_bytes, seconds
from inrbench.settings import setting

if TYPE_CHECKING:
    from inrbench.cells import Cell

__all__ = ["SlurmSettings"]


def _text(value: Any) -> Any:
    """An account that is a number is text all the same."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _time(value: Any) -> Any:
    """YAML reads 2:00:00 as a number, and what a bare number counts is not plain."""
    if not isinstance(value, str) or value.strip().isdigit():
        raise PydanticCustomError("time", "a time is 90s, 10m, 2h or 1d")
    return _checked(value, seconds)


def _size(value: str) -> str:
    return _checked(value, num_bytes)


def _checked(text: str, read: Callable[[str], object]) -> str:
    try:
        read(text)
    except ValueError as error:
        raise PydanticCustomError("quantity", "{said}", {"said": str(error)}) from error
    return text


Word = Annotated[str, BeforeValidator(_text)]
Time = Annotated[str, BeforeValidator(_time)]
Size = Annotated[str, BeforeValidator(_text), AfterValidator(_size)]
#: At least and at most; a tenth of the time limit between them.
DELAY_S = (20, 120)
#: What sbatch is told by other settings, or what would break how jobs are found and ended.
TAKEN = {
    "partition": "partition",
    "account": "account",
    "gpus-per-node": "gpus",
    "time": "time",
    "mem": "memory",
    "requeue": "requeue",
    "no-requeue": "requeue",
    "cpus-per-task": "--threads and --jobs",
    "array": "array",
    "output": "",
    "error": "",
    "job-name": "",
    "signal": "",
    "open-mode": "",
    "ntasks": "",
    "ntasks-per-node": "",
    "nodes": "",
}


class SlurmSettings(ExecutorSettings):
    """What `slurm` asks of the cluster for each job."""

    partition: Word | None = setting(None, "the cluster's default if empty")
    account: Word | None = setting(None, "what the job is billed to; the cluster's default if empty")
    gpus: int = setting(0, "GPUs of a job; cells compute on a GPU where there is one, unless --device says cpu", ge=0)
    time: Time | None = setting(None, "limit of a job, as 90m or 2h, in whole minutes; the partition's if empty")
    memory: Size | None = setting(None, "main memory of a job, as 16G; the partition's if empty")
    cells: int | None = setting(None, "cells that a job runs, --jobs of them at once; as many as --jobs if empty", ge=1)
    array: int | None = setting(None, "jobs at work at once; as many as the cluster likes if empty", ge=1)
    requeue: bool = setting(True, "a job that is preempted, or whose node fails, is queued again and goes on")
    setup: list[str] = setting([], "lines of shell before the job starts, as [module load cuda]")
    sbatch: dict[str, Word | bool] = setting({}, "more options of sbatch, as --with sbatch.constraint=a100")

    @model_validator(mode="after")
    def _no_option_twice(self) -> SlurmSettings:
        for key in self.sbatch:
            name = key.lstrip("-").replace("_", "-")
            if name in TAKEN:
                raise ValueError(
                    f"sbatch.{key}: inrbench sets it{f' by the setting {TAKEN[name]}' if TAKEN[name] else ' itself'}"
                )
        return self

    @property
    def seconds(self) -> float | None:
        """The time limit."""
        return None if self.time is None else 60.0 * self.minutes

    @property
    def minutes(self) -> int:
        """The time limit as Slurm counts, rounded up."""
        return 0 if self.time is None else math.ceil(seconds(self.time) / 60.0)

    @property
    def delay_s(self) -> int:
        """How long before the time limit a job is told of it, to checkpoint."""
        return DELAY_S[1] if self.time is None else int(min(max(6.0 * self.minutes, DELAY_S[0]), DELAY_S[1]))

    @property
    def megabytes(self) -> int | None:
        """The memory as Slurm counts: MiB, rounded up."""
        return None if self.memory is None else math.ceil(num_bytes(self.memory) / 2**20)

    def device(self, cell: Cell, asked: str) -> str:
        """On a node that nobody has seen: a GPU where the job has one and the cell a framework for it."""
        if not cell.backends:
            return cell.engine().resolve_device(asked)
        match = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", asked)
        if match is None:
            raise Refused(f"device {asked!r}: allowed are auto, cpu, cuda and cuda:0, cuda:1, ...")
        own = any("gres" in key or "gpu" in key for key in self.sbatch)
        if asked == "cpu" or (asked == "auto" and not self.gpus and not own):
            return "cpu"
        index = int(match[1] or 0)
        if not own and index >= self.gpus:
            there = f"cuda:0 to cuda:{self.gpus - 1}" if self.gpus else "none"
            raise Refused(f"device {asked!r}: GPUs of a job: {there}; --with gpus={index + 1} asks for as many")
        return f"cuda:{index}"
