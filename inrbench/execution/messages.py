"""What a supervisor, its keepers and their cells tell each other: JSON documents, one a line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inrbench.cells import Cell
    from inrbench.runner import Options

__all__ = ["Job", "Lines", "as_line", "cell_of", "document_of", "options_of", "request_of"]


@dataclass(frozen=True)
class Job:
    """What a cell's process needs to know: which cell, and how it runs; or which cells to ``check``, and no more."""

    number: int
    request: dict[str, Any]  # see `request_of`
    options: dict[str, Any]  # of `inrbench.runner.Options`, paths as strings
    device: str
    threads: int
    log: str  # the file that takes what it prints
    cpus: list[int] = field(default_factory=list)  # the cores that it may use; all if empty
    environment: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)  # under which it was planned
    ingredients: dict[str, Any] = field(default_factory=dict)  # of these keys
    checksum: str = ""  # of the data that it was planned with
    planned: float = 0.0  # when the code was read for the keys
    check: list[dict[str, Any]] = field(default_factory=list)  # requests whose parts are constructed

    def document(self) -> dict[str, Any]:
        """As a message."""
        return {"job": asdict(self)}


def request_of(cell: Cell) -> dict[str, Any]:
    """A cell as the arguments of `inrbench.cells.resolve`, and what it carries beside them."""
    return {
        "method": cell.method.name,
        "dataset": cell.dataset,
        "profile": cell.profile,
        "seed": cell.seed,
        "overrides": [cell.tree()],
        "label": cell.label,
        "published": cell.published,
    }


def cell_of(request: Mapping[str, Any]) -> Cell:
    """The inverse of `request_of`."""
    from dataclasses import replace

    from inrbench.cells import resolve

    given = dict(request)
    published = given.pop("published")
    return replace(resolve(given.pop("method"), given.pop("dataset"), **given), published=published)


def document_of(options: Options) -> dict[str, Any]:
    """Options as a document, with whole paths. What was asked of failures before is not for whoever runs the cell."""
    root = options.data_root
    whole = {"records": str(options.records.resolve()), "data_root": None if root is None else str(root.resolve())}
    return {**asdict(options), **whole, "retry": None}


def options_of(document: Mapping[str, Any]) -> Options:
    """The inverse of `document_of`."""
    from inrbench.runner import Options

    given = dict(document)
    root = given.pop("data_root")
    return Options(Path(given.pop("records")), None if root is None else Path(root), **given)


def as_line(document: Mapping[str, Any]) -> bytes:
    """``document`` as it travels."""
    return json.dumps(document).encode() + b"\n"


class Lines:
    """Documents out of a file descriptor that gives bytes as they come. ``ended`` once the other side has closed."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.rest = b""
        self.ended = False
        self.dry = False  # nothing more has arrived for now

    def read(self) -> Iterator[dict[str, Any]]:
        """What has arrived; call it when there is something to read. Lines that are no JSON are left out."""
        self.dry = False
        try:
            some = os.read(self.descriptor, 2**16)
        except BlockingIOError:
            self.dry = True
            return
        except ConnectionResetError:
            some = b""
        self.ended = not some
        *lines, self.rest = (self.rest + some).split(b"\n")
        for line in lines:
            try:
                document = json.loads(line)
            except ValueError:
                continue
            if isinstance(document, dict):
                yield document
