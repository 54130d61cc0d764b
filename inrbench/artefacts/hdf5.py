"""HDF5 as fit-a-nef and neural-field-arena write and read it: to neural data sets of ours, and from them.

A file holds ``params`` [N, P], a row being one field's arrays flattened and joined; ``param_config`` [1], JSON text of
the list of (name, shape) in that order; and what else was saved of the N signals, as ``labels`` [N]. (Papa et al.,
2024, How to Train Neural Field Representations, arXiv 2312.10531.) Kernels are [in, out] there, as in Flax. Several
files ``NAME_START-END.hdf5`` in a folder are one data set; which rows are for training is told beside it.

A file of ours holds more, which others do not look at: ``ids``, ``copies``, ``split``, errors, the fitter's shared
arrays in the group ``shared``, and as attribute ``inrbench`` the manifest. So what is exported here can be imported
here without a loss.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np

from inrbench.artefacts.manifest import FIELDS, SPLITS
from inrbench.artefacts.opened import Artefact
from inrbench.domains import Array
from inrbench.errors import BadData, InrbenchError, Refused, UsageError, nearest
from inrbench.representations import Layout

__all__ = ["Foreign", "export_hdf5", "files_of", "open_hdf5", "refuse_pickle", "require_h5py"]

#: Columns of a row's signal that are carried along.
COLUMNS = ("labels", "ids", "copies", "mse", "mse_unclamped", "mse_estimate")
#: Rows that are copied at a time.
ROWS = 4096
#: How fit-a-nef calls the layers of its SIREN: kernel_net_0.linear.kernel, ..., output_linear.bias.
_LAYER = re.compile(r"(?:[A-Za-z_]*?_(?P<number>\d+)(?:\.linear)?|(?P<output>output_linear))\.(?P<part>kernel|bias)")
#: How the first bytes of pickles look: of protocols 2 to 5, and of what numpy.load would unpickle from a zip.
_PICKLE = re.compile(rb"\x80[\x02-\x05]")


def require_h5py() -> Any:
    """The package h5py. Raises Refused where it is not installed."""
    try:
        import h5py
    except ImportError as error:
        raise Refused(f"HDF5 needs h5py: pip install 'inrbench[hdf5]' ({error})") from error
    return h5py


def refuse_pickle(path: Path) -> None:
    """Raise BadData where ``path`` is a pickle, whatever it is called: reading one can run any code."""
    with path.open("rb") as file:
        start = file.read(8)
    if _PICKLE.match(start) or (start[:1] in (b"(", b"]", b"}", b"c") and path.suffix in (".pkl", ".pickle", ".npz")):
        raise BadData(
            f"{path} is a pickle (functa's modulations are one, whatever their name says): reading it could run any "
            "code that it holds, so it is refused; load it where you trust it, and save params, param_config and "
            "labels as HDF5"
        )


def export_hdf5(artefact: Artefact, out: Path, splits: Sequence[str] = (), *, absolute: bool = False) -> dict[str, int]:
    """Write the rows of ``splits`` (all, in the order train, validation, test, if none is named) to ``out``.

    ``absolute`` adds θ to rows that are relative to it, so that they are the fields' own weights. Returns the rows by
    split. Raises UsageError for a split that is not there, Refused without h5py, InrbenchError where the disk refuses.
    """
    h5py = require_h5py()
    names = list(splits) or list(artefact.splits)
    for name in names:
        if name not in artefact.splits:
            raise UsageError(f"{artefact.folder} has no split {name!r}; {nearest(name, artefact.splits)}")
    layout = artefact.layout
    theta = _theta(artefact) if absolute and layout.relative_to else {}
    counts = {name: len(artefact.splits[name]) for name in names}
    config = json.dumps([[name, list(shape)] for name, shape in layout.shapes.items()])
    part = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(part, "w") as file:
            shape = (sum(counts.values()), layout.num_values)
            file.create_dataset("params", shape, np.float32, chunks=True, fletcher32=True)  # damage shows when read
            file.create_dataset("param_config", (1,), h5py.string_dtype())[0] = config
            start = 0
            for name, count in counts.items():
                for first in range(0, count, ROWS):
                    rows = artefact.splits[name].rows.take(slice(first, first + ROWS)).arrays
                    flat = [(rows[n] + theta.get(n, 0.0)).reshape(len(rows[n]), -1) for n in layout.shapes]
                    file["params"][start + first : start + first + len(flat[0])] = np.concatenate(flat, axis=1)
                start += count
            for column, values in _columns(artefact, names).items():
                file.create_dataset(column, data=values)
            split = np.repeat([SPLITS.index(name) for name in counts], list(counts.values())).astype(np.uint8)
            file.create_dataset("split", data=split)
            for name, array in artefact.shared.items():
                file.create_dataset(f"shared/{name}", data=array)
            kept = {k: v for k, v in artefact.manifest.items() if k not in ("splits", "files", "digest")}
            if theta:
                kept["layout"] = {**kept["layout"], "relative_to": None}
                kept["origin"] = {**kept["origin"], "settings": None, "from": f"{artefact.name}, with theta added"}
            file.attrs["inrbench"] = json.dumps(kept)
        part.replace(out)
    except OSError as error:
        raise InrbenchError(f"cannot write {out}: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return counts


def _theta(artefact: Artefact) -> dict[str, Array]:
    """What rows relative to the shared arrays are relative to."""
    theta = {}
    for name, shape in artefact.layout.shapes.items():
        array = artefact.shared.get(f"theta/{name}", artefact.shared.get(name))
        if array is None or array.shape != shape:
            raise Refused(f"{artefact.folder}: its shared arrays do not say what {name!r} is relative to")
        theta[name] = array
    return theta


def _columns(artefact: Artefact, names: Sequence[str]) -> dict[str, Array]:
    """The columns that every one of the splits has."""
    found: dict[str, Array] = {}
    splits = [artefact.splits[name] for name in names]
    said = {"mse_unclamped": "unclamped", "mse_estimate": "estimate"}
    for column in COLUMNS:
        values = [getattr(split, said.get(column, column)) for split in splits]
        if all(value is not None for value in values):
            found[column] = np.concatenate(values)
    return found


@dataclass(frozen=True)
class Foreign:
    """One file, opened: what it says, and its rows on demand."""

    path: Path
    layout: Layout
    rows: int
    columns: Mapping[str, Array]  # by name, [rows]
    shared: Mapping[str, Array] = field(default_factory=dict)
    manifest: Mapping[str, Any] | None = None  # of a file of ours
    transposed: frozenset[str] = frozenset()  # arrays that are [in, out] in the file
    config: tuple[tuple[str, tuple[int, ...]], ...] = ()  # ours for the file's arrays, in its order, shapes as there

    def arrays(self, first: int, last: int) -> dict[str, Array]:
        """The arrays of the rows from ``first`` to ``last``."""
        with _opened(self.path) as file:
            try:
                flat = np.asarray(file["params"][first:last], dtype=np.float32)
            except OSError as error:
                raise BadData(f"{self.path} is damaged: {error}") from error
        if not np.isfinite(flat).all():
            row = int(np.isfinite(flat).all(axis=1).argmin())
            raise BadData(f"{self.path}: row {first + row} is not finite")
        found, start = {}, 0
        for name, shape in self.config:
            array = flat[:, start : start + prod(shape)].reshape(len(flat), *shape)
            found[name] = np.ascontiguousarray(np.swapaxes(array, 1, 2)) if name in self.transposed else array
            start += prod(shape)
        return {name: found[name] for name in self.layout.shapes}


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The HDF5 files of ``paths``; of a folder all, by the number that their names begin with behind the ``_``.

    Raises UsageError where there is none, BadData for a pickle.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [one for suffix in ("hdf5", "h5") for one in path.glob(f"*.{suffix}")]
            if not inside:
                raise UsageError(f"{str(path)!r} holds no file NAME_START-END.hdf5")
            found += sorted(inside, key=lambda one: (_start(one), one.name))
        elif path.is_file():
            refuse_pickle(path)
            found.append(path)
        else:
            raise UsageError(f"there is no file {str(path)!r}")
    return found


def _start(path: Path) -> int:
    match = re.search(r"_(\d+)-\d+$", path.stem)
    return int(match[1]) if match else 0


class _opened:  # noqa: N801
    """An HDF5 file for reading. Raises BadData where it is none."""

    def __init__(self, path: Path) -> None:
        try:
            self.file = require_h5py().File(path, "r")
        except OSError as error:
            raise BadData(f"{path} is no HDF5 file, or a damaged one: {error}") from error

    def __enter__(self) -> Any:
        return self.file

    def __exit__(self, *_: object) -> None:
        self.file.close()


def open_hdf5(path: Path, kind: str) -> Foreign:
    """The file ``path``; its rows are of ``kind`` if it does not say. Raises BadData where something is missing."""
    with _opened(path) as file:
        try:
            shape = file["params"].shape
            text = file["param_config"][()]
            config = [(str(name), tuple(int(n) for n in one)) for name, one in json.loads(_text(text))]
            columns = {
                name: _column(path, name, file[name], shape[0])
                for name in (*COLUMNS, "split")
                if name in file and hasattr(file[name], "shape")
            }
            shared: dict[str, Array] = {}
            if "shared" in file:
                file["shared"].visititems(lambda name, one: shared.update(_dataset(name, one)))
            manifest = json.loads(file.attrs["inrbench"]) if "inrbench" in file.attrs else None
        except KeyError as error:
            raise BadData(
                f"{path} is no neural data set of fit-a-nef: it needs params and param_config; {error.args[0]}"
            ) from error
        except (ValueError, TypeError, IndexError) as error:
            raise BadData(
                f"{path} is no neural data set of fit-a-nef: param_config is no list of (name, shape)"
            ) from error
    values = sum(prod(one) for _, one in config)
    if len(shape) != 2 or shape[1] != values or len(dict(config)) != len(config):
        raise BadData(f"{path}: params has shape {list(shape)}, but param_config tells of {values} values a row")
    if manifest is not None:
        said = _said(path, manifest)
        layout = Layout(said["kind"], dict(config), said["relative_to"], said["convention"])
        return Foreign(path, layout, shape[0], columns, shared, manifest, config=tuple(config))
    named, transposed = _named(config)
    shapes = {
        name: tuple(reversed(one)) if name in transposed else one
        for name, one in sorted(named, key=lambda item: _place(item[0]))
    }
    return Foreign(path, Layout(kind, shapes), shape[0], columns, {}, None, transposed, tuple(named))


def _said(path: Path, manifest: Any) -> Mapping[str, Any]:
    """The layout in the manifest of a file of ours. Raises BadData where the manifest is none."""
    fields = {key: kind for key, kind in FIELDS.items() if key not in ("splits", "files")}
    if not isinstance(manifest, dict) or not all(isinstance(manifest.get(key), kind) for key, kind in fields.items()):
        raise BadData(f"{path} is damaged: its attribute `inrbench` holds no manifest")
    if missing := {"kind", "relative_to", "convention"} - manifest["layout"].keys():
        raise BadData(f"{path} is damaged: the layout in its attribute `inrbench` has no {min(missing)}")
    return cast("Mapping[str, Any]", manifest["layout"])


def _text(value: Any) -> str:
    first = value if isinstance(value, bytes | str) else np.asarray(value).reshape(-1)[0]
    return first.decode() if isinstance(first, bytes) else str(first)


def _column(path: Path, name: str, dataset: Any, rows: int) -> Array:
    values = np.asarray(dataset)
    if values.size != rows:
        raise BadData(f"{path}: {name} has shape {list(values.shape)} for {rows} rows")
    return values.reshape(-1)


def _dataset(name: str, one: Any) -> dict[str, Array]:
    return {name: np.asarray(one)} if hasattr(one, "shape") else {}


def _named(config: Sequence[tuple[str, tuple[int, ...]]]) -> tuple[list[tuple[str, tuple[int, ...]]], frozenset[str]]:
    """Our names for fit-a-nef's, where all arrays are those of a chain of layers; and which are [in, out]."""
    named, transposed = [], set()
    for name, shape in config:
        match = _LAYER.fullmatch(name)
        if match is None or len(shape) != (2 if match["part"] == "kernel" else 1):
            return list(config), frozenset()
        layer = "output" if match["output"] else f"layers.{int(match['number'])}"
        ours = f"{layer}.{'weight' if match['part'] == 'kernel' else 'bias'}"
        named.append((ours, shape))
        if match["part"] == "kernel":
            transposed.add(ours)
    return named, frozenset(transposed)


def _place(name: str) -> tuple[int, int, bool]:
    """Layers in order, the output last, weights before biases; other names stay where they are."""
    match = re.fullmatch(r"(?:layers\.(\d+)|output)\.(weight|bias)", name)
    if match is None:
        return 0, 0, False
    return int(match[1] is None), int(match[1] or 0), match[2] == "bias"
