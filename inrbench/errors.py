"""Errors that a user can cause, each with the word its record carries and the exit status it ends with.

The message says what was wrong, what was given and what is allowed, in one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BadData",
    "BadSetting",
    "BrokenPlugin",
    "InrbenchError",
    "Interrupted",
    "NotFinite",
    "OutOfMemory",
    "RecordError",
    "Refused",
    "UnknownName",
    "UsageError",
    "nearest",
]


class InrbenchError(Exception):
    """Base of all errors that are reported as one line, without a traceback."""

    status: str = "failed"
    exit_code: int = 1


class UsageError(InrbenchError):
    """Something in the request itself is wrong; found before any work starts."""

    status = "refused"
    exit_code = 2


class UnknownName(UsageError):
    """A name that nothing installed answers to."""


class BadSetting(UsageError):
    """A setting that does not exist, or has the wrong type or range."""


class Refused(UsageError):
    """Parts that do not fit together, or a device that is not there."""


class BrokenPlugin(UsageError):
    """The request needs a plugin that could not be loaded, or a name that two plugins claim."""


class BadData(InrbenchError):
    """Data that is missing, damaged or not what its publisher published."""

    status = "bad-data"


class NotFinite(InrbenchError):
    """A loss or a value became NaN or infinite."""

    status = "not-finite"


class OutOfMemory(InrbenchError):
    """The host's or the device's memory did not suffice."""

    status = "out-of-memory"


class Interrupted(InrbenchError):
    """Ctrl-C or SIGTERM; a checkpoint was written where the stage keeps one."""

    status = "interrupted"
    exit_code = 130


class RecordError(InrbenchError):
    """A record that cannot be read or written."""


def nearest(name: str, known: Iterable[str]) -> str:
    """``did you mean 'functa'? Allowed: functa, maml`` for an unknown ``name`` among ``known``."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    if not names:
        return hint + "there are none"
    return f"{hint}known: {', '.join(names)}"
