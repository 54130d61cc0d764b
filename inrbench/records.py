"""Records: what a cell leaves, as one JSON document and the vectors of its scored signals.

``<records>/<cell>-<key>.json`` is the record. It names the file of its vectors by their digest, and is written last
and atomically: a record is there whole, with its vectors, or it is not there. A digest of its own tells damage from
another result.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inrbench.arrays import digest_of, load_arrays, save_arrays, write_atomically
from inrbench.domains import Array
from inrbench.errors import RecordError
from inrbench.migrations import FAILURE, SCHEMA, migrated
from inrbench.record_schema import damage_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "SCHEMA",
    "file_stem",
    "load_records",
    "now",
    "parse_record",
    "read_record",
    "read_records",
    "record_text",
    "vectors_of",
    "write_record",
]

#: What stands for the digest of a document where that is computed.
NO_DIGEST = 32 * "0"
#: What a document holds that is no column of a table: courses over steps, lines of a log, hashes of code.
NO_COLUMNS = ("log", "log_tail", "ingredients")
#: The columns that a table has though it has no rows.
COLUMNS = ("cell", "key", "method", "dataset", "profile", "seed", "status")


def write_record(folder: Path, record: Mapping[str, Any], vectors: Mapping[str, Array] | None = None) -> Path:
    """Write a record and its vectors; returns the path of the document.

    A failure never replaces a record of the same cell that is ``ok``: it stands beside it as ``....failed.json``.
    Raises RecordError where the disk refuses; whatever was there before is then still there.
    """
    stem = file_stem(str(record["cell"]), str(record["key"]))
    path = folder / f"{stem}.json"
    document = _plain(record if record["status"] == "ok" else {**FAILURE, **record})
    if document["status"] != "ok" and path.exists():
        try:
            if read_record(path)["status"] == "ok":
                path = folder / f"{stem}.failed.json"
        except RecordError:
            pass  # a damaged record is replaced
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if vectors:
            digest = digest_of(vectors)
            document["vectors"] = {"file": f"{stem}.{digest[:8]}.safetensors", "digest": digest}
            save_arrays(folder / document["vectors"]["file"], vectors)
        write_atomically(path, record_text(document))
    except OSError as error:
        raise RecordError(
            f"cannot write the record {path}: {error.strerror or error}; finished stages are kept, so free some space "
            "(or say --records DIR) and give the same command again"
        ) from error
    for old in folder.glob(f"{stem}.*.safetensors"):
        if old.name != (document.get("vectors") or {}).get("file") and document["status"] == "ok":
            old.unlink(missing_ok=True)
    if document["status"] == "ok":
        (folder / f"{stem}.failed.json").unlink(missing_ok=True)
    return path


def record_text(document: Mapping[str, Any]) -> bytes:
    """The text of a record with the layout of today's schema: its digest is in it, and any other byte is damage."""
    text = json.dumps({**document, "digest": NO_DIGEST}, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n"
    return text.replace(_line(NO_DIGEST), _line(_digest(text, NO_DIGEST)))


def read_record(path: Path) -> dict[str, Any]:
    """The record at ``path``, with the layout of today's schema and without its digest, which is checked here.

    Raises RecordError where it is damaged or of a newer schema.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"record {path} cannot be read: {error}") from error
    return parse_record(content, path)


def parse_record(content: bytes, path: Path) -> dict[str, Any]:
    """As `read_record`, of what was read from ``path``."""
    try:
        document = json.loads(content.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # not UTF-8 and no JSON are ValueErrors
        raise RecordError(f"record {path} cannot be read: {error}") from error
    whole = document if isinstance(document, dict) else {}
    schema = whole.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise RecordError(f"record {path} has schema {schema}, this inrbench reads up to {SCHEMA}: update it")
    record = migrated(whole)
    if reason := damage_of(record):
        raise RecordError(f"record {path} is damaged: {reason}")
    digest = record.pop("digest", None)
    if digest is None and schema != 1:  # of schema 1 there are records from before there was a digest
        raise RecordError(f"record {path} is damaged: it has no digest")
    if digest is not None and digest != _digest(content.replace(b"\r\n", b"\n"), digest):
        raise RecordError(f"record {path} is damaged: its content does not match its digest")
    return record


def read_records(folder: Path) -> Iterator[dict[str, Any]]:
    """All records in ``folder``, by name; nothing below it. A damaged one raises RecordError that names it."""
    for path in sorted(folder.glob("*.json")):
        yield read_record(path)


def vectors_of(folder: Path, record: Mapping[str, Any]) -> dict[str, Array]:
    """The vectors of a record: ids, mse, and where it classifies logits, labels and correct; by entry.

    ``mse`` is [entries, views] where these are scored on views.
    """
    if record.get("vectors") is None:
        return {}
    if not isinstance(record["vectors"], dict) or not {"file", "digest"} <= record["vectors"].keys():
        raise RecordError(f"record {record['cell']} is damaged: its vectors are not named")
    path = folder / record["vectors"]["file"]
    if not path.exists():
        raise RecordError(f"the vectors {path} of record {record['cell']} are missing")
    arrays, _ = load_arrays(path)
    if digest_of(arrays) != record["vectors"]["digest"]:
        raise RecordError(f"the vectors {path} are not those of record {record['cell']}")
    return arrays


def load_records(folder: str | Path = "records") -> pd.DataFrame:
    """A DataFrame with one row a record, failures too; nested values have dotted columns, as ``metrics.accuracy``.

    A folder without records gives no rows, with the columns that every record has. Raises RecordError where there is
    no such folder, and for a damaged record, which it names.
    """
    import pandas as pd

    from inrbench.trees import flatten

    if not Path(folder).is_dir():
        raise RecordError(f"there is no folder of records at {str(folder)!r}")
    rows = [
        dict(flatten({key: value for key, value in record.items() if key not in NO_COLUMNS}))
        for record in read_records(Path(folder))
    ]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(COLUMNS))


def file_stem(cell: str, key: str) -> str:
    """The record's file name without its ending: the cell's name and the first of its key."""
    return f"{re.sub(r'[^A-Za-z0-9+~._-]+', '_', cell)}-{key[:8]}"


def now() -> str:
    """The time, in UTC, as ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _digest(text: bytes, said: str) -> str:
    """The digest of ``text``, which says ``said``: of the text with zeros in its place."""
    return hashlib.blake2b(text.replace(_line(said), _line(NO_DIGEST)), digest_size=16).hexdigest()


def _line(digest: str) -> bytes:
    """The line of a record's own digest; what is nested deeper begins with more spaces."""
    return f'\n  "digest": {json.dumps(digest)}'.encode()


def _plain(value: Any) -> Any:
    """``value`` as JSON can hold it: no NumPy, and no NaN (null)."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON")
