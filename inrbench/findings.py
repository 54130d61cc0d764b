"""What an analysis found, as files: a Markdown page with its tables, the same as CSV and JSON, and its pictures."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inrbench.arrays import write_atomically
from inrbench.errors import InrbenchError
from inrbench.interfaces import Findings

__all__ = ["cell_text", "document_of", "write_findings"]


def cell_text(value: Any) -> str:
    """A value of a table for people: 4 digits of what is measured, counts whole, a dash for what was not."""
    if isinstance(value, bool) or value is None:
        return "–" if value is None else str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}"
    return str(value)


def document_of(findings: Findings, about: Mapping[str, Any]) -> dict[str, Any]:
    """``about`` (what was analysed, and how) and the findings as plain JSON; what was not measured is null."""
    tables = {name: [_plain(row) for row in rows] for name, rows in findings.tables.items()}
    return {**about, "note": findings.note, "tables": tables}


def write_findings(findings: Findings, about: Mapping[str, Any], folder: Path, name: str) -> list[Path]:
    """Write ``name``.md, .json, .csv and .png into ``folder``; further tables and pictures are ``name-THEIRS``.

    Returns the paths. Raises InrbenchError where the folder cannot be written.
    """
    files = dict(_files(findings, about, name))
    try:
        for file, content in files.items():
            write_atomically(folder / file, content)
    except OSError as error:
        raise InrbenchError(f"cannot write to {str(folder)!r}: {error.strerror or error}") from error
    return [folder / file for file in files]


def _files(findings: Findings, about: Mapping[str, Any], name: str) -> Iterator[tuple[str, bytes]]:
    pictures = _named(findings.pictures, name, "png")
    yield f"{name}.md", _markdown(findings, about, name, pictures).encode()
    yield f"{name}.json", (json.dumps(document_of(findings, about), indent=2, allow_nan=False) + "\n").encode()
    for table, file in _named(findings.tables, name, "csv").items():
        yield file, _csv(findings.tables[table]).encode()
    for picture, file in pictures.items():
        yield file, findings.pictures[picture]


def _named(things: Mapping[str, Any], name: str, suffix: str) -> dict[str, str]:
    """The file of each thing; the first is called as the analysis."""
    return {
        thing: f"{name}{f'-{thing}' if number else ''}.{suffix}".replace(" ", "-")
        for number, thing in enumerate(things)
    }


def _markdown(findings: Findings, about: Mapping[str, Any], name: str, pictures: Mapping[str, str]) -> str:
    said = ", ".join(f"{key} {_shown(value)}" for key, value in about.items() if not isinstance(value, Mapping))
    settings = ", ".join(f"{key}={_shown(value)}" for key, value in about.get("settings", {}).items())
    lines = [f"# {name}", "", said, "", *([f"Settings: {settings}.", ""] if settings else []), findings.note, ""]
    for table, rows in findings.tables.items():
        if not rows:
            continue
        headers = list(rows[0])
        lines += [f"## {table}", "", _line(headers), _line(["---"] * len(headers))]
        lines += [*(_line([cell_text(value) for value in row.values()]) for row in rows), ""]
    lines += [f"![{picture}]({file})\n" for picture, file in pictures.items()]
    return "\n".join(lines).rstrip("\n") + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(_plain(row) for row in rows)
    return text.getvalue()


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
