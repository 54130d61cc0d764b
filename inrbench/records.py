"""Records: what a cell leaves, as one JSON document and the vectors of its scored signals.

``<records>/<cell>-<key>.json`` is the record. It names the file of its vectors by their digest, and is written last
and atomically: a record is there whole, with its vectors, or it is not there.
"""

from __future__ import annotations

import datetime
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

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SCHEMA", "file_stem", "load_records", "now", "read_record", "read_records", "vectors_of", "write_record"]

#: The version of the document's layout; a reader refuses a newer one.
SCHEMA = 1
#: What every document holds.
FIELDS: dict[str, type] = {
    **dict.fromkeys(("schema", "seed"), int),
    **dict.fromkeys(("cell", "key", "method", "dataset", "profile", "status"), str),
    **dict.fromkeys(("metrics", "costs", "settings"), dict),
}
#: What a good record holds besides; tables and pictures need it.
GOOD: dict[str, type] = {"facts": dict, "data": dict, "keys": dict, "label": str, "finished": str}
#: What a document holds where there is something to say.
SOME: dict[str, type] = {"published": dict}


def write_record(folder: Path, record: Mapping[str, Any], vectors: Mapping[str, Array] | None = None) -> Path:
    """Write a record and its vectors; returns the path of the document.

    A failure never replaces a record of the same cell that is ``ok``: it stands beside it as ``....failed.json``.
    Raises RecordError where the disk refuses; whatever was there before is then still there.
    """
    stem = file_stem(str(record["cell"]), str(record["key"]))
    path = folder / f"{stem}.json"
    document = dict(record)
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
        text = json.dumps(_plain(document), indent=2, sort_keys=True, allow_nan=False)
        write_atomically(path, (text + "\n").encode())
    except OSError as error:
        raise RecordError(
            f"cannot write the record {path}: {error.strerror or error}; finished stages are kept, so free some space "
            "(or say --records DIR) and give the same command again"
        ) from error
    for old in folder.glob(f"{stem}.*.safetensors"):
        if old.name != document.get("vectors", {}).get("file") and document["status"] == "ok":
            old.unlink(missing_ok=True)
    if document["status"] == "ok":
        (folder / f"{stem}.failed.json").unlink(missing_ok=True)
    return path


def read_record(path: Path) -> dict[str, Any]:
    """The record at ``path``. Raises RecordError where it is damaged or of a newer schema."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # not UTF-8 and no JSON are ValueErrors
        raise RecordError(f"record {path} cannot be read: {error}") from error
    schema = record.get("schema") if isinstance(record, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise RecordError(f"record {path} has schema {schema}, this inrbench reads up to {SCHEMA}: update it")
    fields = FIELDS | (GOOD if isinstance(record, dict) and record.get("status") == "ok" else {})
    missing = [key for key in fields if not isinstance(record, dict) or key not in record]
    if missing:
        raise RecordError(f"record {path} is damaged: it has no {', '.join(missing)}")
    fields = fields | {key: kind for key, kind in SOME.items() if key in record}
    wrong = [key for key, kind in fields.items() if not isinstance(record[key], kind)]
    if wrong:
        raise RecordError(f"record {path} is damaged: {wrong[0]} holds what does not belong there")
    return dict(record)


def read_records(folder: Path) -> Iterator[dict[str, Any]]:
    """All records in ``folder``, by name. A damaged one raises RecordError that names it."""
    for path in sorted(folder.glob("*.json")):
        yield read_record(path)


def vectors_of(folder: Path, record: Mapping[str, Any]) -> dict[str, Array]:
    """The vectors of a record: ids, mse, and where it classifies logits, labels and correct."""
    if "vectors" not in record:
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
    """A DataFrame with one row a record; nested values have dotted columns, as ``metrics.accuracy``."""
    import pandas as pd

    from inrbench.settings import flatten

    if not Path(folder).is_dir():
        raise RecordError(f"there is no folder of records at {str(folder)!r}")
    rows = [dict(flatten({k: v for k, v in record.items() if k != "log"})) for record in read_records(Path(folder))]
    return pd.DataFrame(rows)


def file_stem(cell: str, key: str) -> str:
    """The record's file name without its ending: the cell's name and the first of its key."""
    return f"{re.sub(r'[^A-Za-z0-9+~._-]+', '_', cell)}-{key[:8]}"


def now() -> str:
    """The time, in UTC, as ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


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
