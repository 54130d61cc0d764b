"""The manifest of a neural data set: what the folder holds, in JSON that is one text for one content."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inrbench.arrays import write_atomically
from inrbench.data.check import digests
from inrbench.errors import BadData
from inrbench.progress import Progress
from inrbench.representations import Layout
from inrbench.signals import PartSpec, SignalSpec

__all__ = [
    "BEGUN",
    "FIELDS",
    "MANIFEST",
    "SCHEMA",
    "SHARED",
    "SPLITS",
    "STATISTICS",
    "check_files",
    "content_key",
    "layout_of",
    "plain",
    "read_manifest",
    "signal_of",
    "write_manifest",
]

#: The version of the manifest's layout; a newer one is refused.
SCHEMA = 1
MANIFEST, SHARED, STATISTICS = "manifest.json", "shared.safetensors", "statistics.safetensors"
#: What says whose folder it is until the manifest does.
BEGUN = "unfinished.json"
SPLITS = ("train", "validation", "test")
FIELDS: dict[str, type] = {
    **dict.fromkeys(("name", "kind", "dataset", "commit"), str),
    **dict.fromkeys(("layout", "origin", "data", "signal", "facts", "splits", "files", "versions", "plugins"), dict),
}
#: Files that take longer to read than somebody would wait for without a word.
LARGE_BYTES = 1 << 28


def write_manifest(folder: Path, document: Mapping[str, Any]) -> None:
    """Write ``document`` with its digest, atomically. Raises OSError where the disk refuses."""
    write_atomically(folder / MANIFEST, _text({**plain(document), "schema": SCHEMA}))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest in ``folder``. Raises BadData where any byte of it is not what was written."""
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
        document = json.loads(content)
    except FileNotFoundError:
        if (folder / BEGUN).exists():
            raise BadData(f"{folder} is unfinished; the command that began it goes on with it") from None
        raise BadData(f"{folder} holds no neural data set: it has no {MANIFEST}") from None
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise BadData(f"{path} is damaged: {error}") from error
    if isinstance(document, dict) and isinstance(document.get("schema"), int) and document["schema"] > SCHEMA:
        raise BadData(f"{path} has schema {document['schema']}, this inrbench reads up to {SCHEMA}: update it")
    if not isinstance(document, dict) or _text({k: v for k, v in document.items() if k != "digest"}) != content:
        raise BadData(f"{path} is damaged: its content does not match its digest")
    for key, kind in FIELDS.items():
        if not isinstance(document.get(key), kind):
            raise BadData(f"{path} is damaged: {key!r} holds what does not belong there")
    return document


def _text(document: Mapping[str, Any]) -> bytes:
    """The one text of ``document``: sorted keys, its digest among them."""
    whole = json.dumps(document, sort_keys=True, allow_nan=False)
    digest = hashlib.sha256(whole.encode()).hexdigest()
    return (json.dumps({**document, "digest": digest}, sort_keys=True, allow_nan=False, indent=1) + "\n").encode()


def check_files(folder: Path, document: Mapping[str, Any], progress: Progress | None = None) -> None:
    """Compare every file with its checksum; what was compared once and did not change is remembered in the cache.

    Raises BadData that names the first file that is missing or damaged.
    """
    files = dict(document["files"])
    for split in document["splits"].values():
        files |= {shard["file"]: shard["sha256"] for shard in split["shards"]}
    for name in files:
        if Path(name).name != name:
            raise BadData(f"{folder / MANIFEST} is damaged: {name!r} is no file's name")
    there = [name for name in files if (folder / name).is_file()]
    if missing := [name for name in files if name not in there]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BadData(f"{folder / missing[0]}{more} is missing, which {MANIFEST} lists")
    size = sum((folder / name).stat().st_size for name in files)
    shown = progress or Progress(quiet=size < LARGE_BYTES)
    with shown.task(f"check {folder.name}", len(files)) as task:
        for name, published in files.items():
            found = digests(folder / name).content["sha256"]
            if found != published:
                raise BadData(f"{folder / name} is damaged: its SHA-256 is {found[:16]}..., not {published[:16]}...")
            task.advance()


def content_key(document: Mapping[str, Any]) -> str:
    """A hash of what a reader is given: layout, kind of signal, and the content of every file."""
    whole = {key: document[key] for key in ("layout", "signal", "splits", "files")}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:32]


def layout_of(document: Mapping[str, Any]) -> Layout:
    """The layout that a manifest describes."""
    said = document["layout"]
    shapes = {name: tuple(said["shapes"][name]) for name in said["order"]}
    return Layout(said["kind"], shapes, said["relative_to"], said["convention"])


def signal_of(document: Mapping[str, Any]) -> SignalSpec:
    """What the manifest says of the signals."""
    said = document["signal"]
    parts = tuple(PartSpec(**{**part, "shape": tuple(part["shape"])}) for part in said["parts"])
    return SignalSpec(parts, said["num_classes"], tuple(said["class_names"]), dict(said["sizes"]))


def plain(value: Any) -> Any:
    """``value`` as JSON has it: lists for tuples, numbers for NumPy's, null for what is not finite."""
    if isinstance(value, Layout):
        return plain(asdict(value) | {"order": list(value.shapes)})  # JSON is sorted here, and arrays have an order
    if isinstance(value, SignalSpec):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
