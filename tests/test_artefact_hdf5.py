"""HDF5 of fit-a-nef and neural-field-arena: there and back, other people's files, and what is refused."""

from __future__ import annotations

import json
import pickle
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from inrbench.artefact import Artefact, open_artefact
from inrbench.artefacts.folder import ArtefactFolder
from inrbench.cell_run import CellRun
from inrbench.cli import cli
from inrbench.domains import Array, Grid
from inrbench.errors import Refused
from inrbench.representations import Layout, Representations
from inrbench.signals import PartSpec, SignalSpec

h5py = pytest.importorskip("h5py")

#: fit-a-nef's SIREN with two inputs, width 4, three layers and one output: biases before kernels, kernels [in, out].
NEF = [
    ("kernel_net_0.linear.bias", (4,)),
    ("kernel_net_0.linear.kernel", (2, 4)),
    ("kernel_net_1.linear.bias", (4,)),
    ("kernel_net_1.linear.kernel", (4, 4)),
    ("output_linear.bias", (1,)),
    ("output_linear.kernel", (4, 1)),
]
NEF_VALUES = 4 + 8 + 4 + 16 + 1 + 4


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INRBENCH_RECORDS", str(tmp_path / "records"))
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def good(*arguments: str) -> Result:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments: str, status: int = 2) -> str:
    result = invoke(*arguments)
    assert result.exit_code == status, result.output
    assert result.stderr.count("\n") == 1
    return result.stderr


def nef(path: str, rows: int = 10, first: int = 0, config: Any = NEF, **columns: Any) -> Array:
    """A file as fit-a-nef saves one: params, param_config as one string of JSON, and what was passed along."""
    count = sum(int(np.prod(shape)) for _, shape in config)
    params = np.random.default_rng(first).normal(size=(rows, count)).astype(np.float32)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("params", data=params)
        text = file.create_dataset("param_config", (1,), dtype=h5py.special_dtype(vlen=str))
        text[0] = json.dumps(config)
        file.create_dataset("labels", data=columns.pop("labels", np.arange(rows) % 3))
        for name, values in columns.items():
            file.create_dataset(name, data=values)
    return params


def make(relative: bool = False, copies: int = 2, shards: Sequence[int] = (3, 4)) -> Artefact:
    """A neural data set of `shards` signals with copies, and four test signals, whose arrays are not in file order."""
    layout = Layout("weights", {"w": (2, 3), "b": (3,), "a": ()}, "shared" if relative else None, {"omega_0": 9.0})
    signal = SignalSpec((PartSpec("grid", (4, 4), 2, 3),), 5, (), {"train": sum(shards), "test": 4})
    origin = {"method": "made-up", "dataset": "d", "profile": "smoke", "seed": 4, "settings": {"fitter": {"k": 1}}}
    folder = ArtefactFolder(Path("made"), origin)
    folder.begin()
    rng, counts, first = np.random.default_rng(0), [], 100

    def write(split: str, number: int, start: int, count: int, copy: int) -> None:
        shapes = layout.shapes.items()
        arrays = {name: rng.normal(size=(count, *shape)).astype(np.float32) for name, shape in shapes}
        ids = np.arange(start, start + count)
        rows = Representations(layout, arrays, ids, np.full(count, copy))
        mse = np.where(copy == 0, rng.random(count), np.nan)
        folder.write(split, number, rows, {"labels": ids % 5, "mse": mse, "mse_unclamped": 3 * mse})

    for copy in range(copies):
        start = first
        for count in shards:
            write("train", len(counts), start, count, copy)
            counts.append(count)
            start += count
    write("test", 0, 7, 4, 0)
    theta = {f"theta/{name}": np.full(shape, 0.5, np.float32) for name, shape in layout.shapes.items()}
    facts = {"copies": copies, "scored_checksum": "c", "initialisation": "shared"}
    more = {"layout": layout, "signal": signal, "facts": facts, "fitter": {"parameters": 3}, "plugins": {}}
    document = {"name": "made-up+d", "dataset": "d", "data": {"checksum": "k", "official": True}, **more}
    return folder.finish({**document, "versions": {}, "commit": "x"}, theta, {"train": counts, "test": [4]})


# ------------------------------------------------------------------ there and back


@pytest.mark.parametrize("relative", [False, True])
def test_what_is_exported_and_imported_is_the_same(relative: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inrbench.artefacts.hdf5.ROWS", 5)  # several pieces
    monkeypatch.setattr("inrbench.artefacts.importing.shard_rows", lambda *_: 6)
    before = make(relative)
    result = good("export", "made", "made.h5")
    assert "made.h5: 18 rows of 10 values; train 0 to 14, test 14 to 18" in result.stdout
    assert ("rows are relative to θ" in result.stderr) == relative
    good("import", "made.h5", "-o", "back")
    after = open_artefact(Path("back"))
    assert after.layout == before.layout
    assert list(after.layout.shapes) == ["w", "b", "a"]
    assert after.signal == before.signal
    for name, split in before.splits.items():
        other = after.splits[name]
        for key, array in split.rows.arrays.items():
            np.testing.assert_array_equal(np.asarray(other.rows.arrays[key]), np.asarray(array), err_msg=key)
        for key in ("ids", "copies", "labels", "mse", "unclamped"):
            np.testing.assert_array_equal(getattr(other, key), getattr(split, key), err_msg=key)
    assert after.shared.keys() == before.shared.keys()
    for kept in ("name", "dataset", "data", "facts", "fitter"):
        assert after.manifest[kept] == before.manifest[kept]
    assert after.manifest["origin"]["settings"] == {"fitter": {"k": 1}}
    np.testing.assert_allclose(after.statistics["w/std"], before.statistics["w/std"], rtol=1e-12)
    assert [shard["rows"] for shard in after.manifest["splits"]["train"]["shards"]] == [6, 6, 2]


def test_the_file_is_what_peers_read() -> None:
    before = make()
    good("export", "made", "nefs_0-18.hdf5")
    with h5py.File("nefs_0-18.hdf5") as file:
        config = json.loads(file["param_config"][0])
        assert config == [["w", [2, 3]], ["b", [3]], ["a", []]]
        assert file["params"].shape == (18, 10)
        assert file["params"].dtype == np.float32
        params, labels = file["params"][:], file["labels"][:]
    train, test = before.splits["train"], before.splits["test"]
    row = [np.asarray(train.rows.arrays[name][9]).reshape(-1) for name, _ in config]
    np.testing.assert_array_equal(params[9], np.concatenate(row))
    np.testing.assert_array_equal(params[14:, :6], np.asarray(test.rows.arrays["w"]).reshape(4, 6))
    assert train.labels is not None
    assert test.labels is not None
    np.testing.assert_array_equal(labels, [*train.labels, *test.labels])


def test_one_split_can_be_exported_alone() -> None:
    make()
    assert "4 rows of 10 values; test 0 to 4" in good("export", "made", "test.h5", "--splits", "test").stdout
    assert "no split 'tset'; did you mean 'test'?" in refused("export", "made", "x.h5", "--splits", "tset")
    assert not Path("x.h5").exists()


def test_absolute_rows_are_the_fields_own_weights_and_no_longer_those_of_the_cell() -> None:
    before = make(relative=True)
    good("export", "made", "made.h5", "--absolute")
    good("import", "made.h5", "-o", "back")
    after = open_artefact(Path("back"))
    assert after.layout.relative_to is None
    moved = np.asarray(after.splits["train"].rows.arrays["w"]) - 0.5
    np.testing.assert_allclose(moved, np.asarray(before.splits["train"].rows.arrays["w"]), atol=1e-6)
    with pytest.raises(Refused, match=r"was imported from made-up\+d, with theta added: no cell made it"):
        after.cell()


# ------------------------------------------------------------------ other people's files


def test_a_folder_of_fit_a_nef_is_cut_into_splits_in_the_order_of_its_numbers() -> None:
    late, early = nef("nefs/nefs_10-20.hdf5", first=10), nef("nefs/nefs_2-10.hdf5")
    good("import", "nefs", "-o", "made", "--splits", "13,4,2", "--dataset", "mnist", "--convention", "omega_0=9")
    made = open_artefact(Path("made"))
    assert {name: len(split) for name, split in made.splits.items()} == {"train": 13, "validation": 4, "test": 2}
    names = ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias", "output.weight", "output.bias"]
    assert list(made.layout.shapes) == names
    assert [made.layout.shapes[name] for name in names] == [(4, 2), (4,), (4, 4), (4,), (1, 4), (1,)]  # [out, in]
    params = np.concatenate([early, late])
    whole = np.concatenate([np.asarray(made.splits[name].rows.arrays["layers.0.weight"]) for name in made.splits])
    np.testing.assert_array_equal(whole, params[:19, 4:12].reshape(19, 2, 4).transpose(0, 2, 1))
    np.testing.assert_array_equal(made.splits["test"].rows.arrays["output.bias"], params[17:19, 32:33])
    np.testing.assert_array_equal(made.splits["test"].labels, [7 % 3, 8 % 3])  # type: ignore[arg-type]
    assert not np.intersect1d(made.splits["train"].ids, made.splits["test"].ids).size
    assert made.manifest["dataset"].startswith("mnist~")  # nobody checked that it is
    assert not made.manifest["data"]["official"]
    assert made.layout.convention == {"omega_0": 9}
    assert (made.signal.num_classes, made.signal.coord_dim, made.signal.channels) == (3, 2, 1)
    assert made.splits["train"].mse is None


def test_test_rows_may_be_in_a_file_of_their_own_and_labels_in_a_column() -> None:
    nef("train.h5", 12, labels=np.arange(12)[:, None] % 2)
    nef("test.h5", 5, first=1)
    assert "say --test FILE, or --splits 55000,5000,10000" in refused("import", "train.h5", "-o", "made")
    good("import", "train.h5", "--test", "test.h5", "-o", "made")
    made = open_artefact(Path("made"))
    np.testing.assert_array_equal(made.splits["train"].labels, np.arange(12) % 2)  # type: ignore[arg-type]
    np.testing.assert_array_equal(made.splits["test"].ids, np.arange(12, 17))
    assert made.manifest["dataset"].startswith("train~")


def test_names_that_are_no_chain_of_layers_stay_as_they_are() -> None:
    config = [("mixer.kernel", (2, 4)), ("phase", (3,))]
    params = nef("train.h5", config=config)
    nef("test.h5", config=config)
    good("import", "train.h5", "--test", "test.h5", "-o", "made", "--kind", "latent")
    made = open_artefact(Path("made"))
    assert made.layout.kind == "latent"
    assert dict(made.layout.shapes) == {"mixer.kernel": (2, 4), "phase": (3,)}
    np.testing.assert_array_equal(made.splits["train"].rows.arrays["phase"], params[:, 8:])


def test_imported_rows_are_read_and_stand_in_the_tables_as_unofficial() -> None:
    labels = np.arange(60) % 2
    nef("train.h5", 60, labels=labels)
    nef("test.h5", 30, labels=labels[:30])
    for name in ("train.h5", "test.h5"):
        with h5py.File(name, "a") as file:
            file["params"][:, 3] = 9.0 * file["labels"][:]  # what tells the classes
    good("import", "train.h5", "--test", "test.h5", "-o", "made", "--dataset", "mnist")
    result = good("read", "linear-probe", "made", "--threads", "1")
    assert "accuracy 100.0 %" in result.stdout
    table = good("leaderboard").stdout
    assert "imported, read by linear-probe" in table
    assert "unknown, global, fit without labels" in table
    assert "mnist~" in table


def test_fields_whose_convention_is_told_can_be_queried() -> None:
    field = (
        "--set",
        "inr.width=4",
        "--set",
        "inr.depth=1",
        "--set",
        "inr.omega_0=7.0",
        "--set",
        "inr.output_scale=null",
    )
    for name in ("train.h5", "test.h5"):
        nef(name)
    plain = ("import", "train.h5", "--test", "test.h5", "-o")
    good(*plain, "unknown")
    with pytest.raises(Refused, match="nobody can say what values its rows have"):
        open_artefact(Path("unknown")).fitter(CellRun(0))
    message = refused(*plain, "made", "--as", "siren+digits", *field, "--set", "inr.depth=2")
    assert "holds no fields of siren+digits: 'layers.2.weight' is missing there and [4, 4] here" in message
    assert "relative to what its training learned" in refused(*plain, "made", "--as", "wt-two-stage+digits")
    assert not Path("made").exists()
    good(*plain, "made", "--as", "siren+digits", *field)
    made = open_artefact(Path("made"))
    assert made.layout.convention["omega_0"] == 7.0
    rows = made.splits["test"].rows
    (values,) = made.fitter(CellRun(0)).query(rows.take(np.array([2])), Grid.of(3, 3), CellRun(0))
    arrays = {name: np.asarray(array[2], dtype=np.float64) for name, array in rows.arrays.items()}
    convention = made.layout.convention
    hidden = Grid.of(3, 3).coords().astype(np.float64)
    if convention["coordinates"] == "corners":
        hidden = np.stack(np.meshgrid(*[np.linspace(-1, 1, 3)] * 2, indexing="ij"), axis=-1)
    for i, omega in enumerate((convention["omega_0"], convention["omega_hidden"])):
        hidden = np.sin(omega * (hidden @ arrays[f"layers.{i}.weight"].T + arrays[f"layers.{i}.bias"]))
    scale, offset = convention["to_unit"]
    expected = (hidden @ arrays["output.weight"].T + arrays["output.bias"]) * scale + offset
    np.testing.assert_allclose(values[0], expected, rtol=1e-3, atol=1e-4)


# ------------------------------------------------------------------ refused


class _Evil:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("evil"),)


def test_a_pickle_is_refused_whatever_its_name_and_never_run() -> None:
    for protocol in (0, 2, 4, 5):
        Path("modulations.npz").write_bytes(pickle.dumps({"train": [_Evil()]}, protocol=protocol))
        message = refused("import", "modulations.npz", "-o", "made", status=1)
        assert "modulations.npz is a pickle (functa's modulations are one, whatever their name says)" in message
        assert "it could run any code that it holds, so it is refused" in message
    assert not Path("evil").exists()
    assert not Path("made").exists()


def test_what_is_no_hdf5_or_not_fit_a_nefs_is_refused_by_name() -> None:
    with zipfile.ZipFile("real.npz", "w") as file:
        file.writestr("a.npy", b"")
    assert "real.npz is no HDF5 file" in refused("import", "real.npz", "-o", "made", status=1)
    with h5py.File("other.h5", "w") as file:
        file["params"] = np.zeros((2, 3))
    assert "it needs params and param_config" in refused("import", "other.h5", "-o", "made", status=1)
    nef("short.h5")
    with h5py.File("short.h5", "a") as file:
        del file["params"]
        file["params"] = np.zeros((10, NEF_VALUES - 1))
    message = refused("import", "short.h5", "-o", "made", "--splits", "5,5", status=1)
    assert f"params has shape [10, {NEF_VALUES - 1}], but param_config tells of {NEF_VALUES} values a row" in message
    assert "there is no file 'none.h5'" in refused("import", "none.h5", "-o", "made")
    nef("one.h5")
    assert "there are 10 and given are 9,2" in refused("import", "one.h5", "-o", "made", "--splits", "9,2")
    assert not Path("made").exists()


def test_rows_that_are_not_finite_and_labels_that_are_no_classes_are_refused() -> None:
    nef("one.h5")
    with h5py.File("one.h5", "a") as file:
        file["params"][6, 2] = np.nan
    message = refused("import", "one.h5", "-o", "made", "--splits", "5,5", status=1)
    assert "one.h5: row 6 is not finite" in message
    nef("two.h5", labels=np.arange(10) - 1)
    assert "labels are class numbers from 0 on; given: [-1, 0" in refused(
        "import", "two.h5", "-o", "other", "--splits", "5,5", status=1
    )


def test_damage_to_an_exported_file_is_found() -> None:
    make()
    good("export", "made", "made.h5")
    content = bytearray(Path("made.h5").read_bytes())
    value = np.asarray(open_artefact(Path("made")).splits["train"].rows.arrays["w"])[0, 0, :2].tobytes()
    content[content.index(value)] ^= 1
    Path("made.h5").write_bytes(content)
    assert "made.h5 is damaged" in refused("import", "made.h5", "-o", "back", status=1)


def test_without_h5py_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    make()
    nef("one.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    for arguments in (("export", "made", "made.h5"), ("import", "one.h5", "-o", "back")):
        assert "HDF5 needs h5py: pip install 'inrbench[hdf5]'" in refused(*arguments)
