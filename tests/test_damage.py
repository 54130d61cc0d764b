"""Any damage to the bytes of what lies on a disk is found and named: hypothesis looks for some that is not.

A damage is another byte, a file cut short, bytes behind its end, a block of zeros, a block lost or written twice. Of a
record and of a neural data set every byte counts. Arrays that are read in spite of a damage must be, to the last bit,
those that were written: a space between two words of a header is no harm.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from inrbench.arrays import load_arrays, save_arrays
from inrbench.artefact import open_artefact
from inrbench.artefacts.folder import ArtefactFolder
from inrbench.artefacts.manifest import MANIFEST
from inrbench.cell_run import CellRun
from inrbench.errors import BadData, Interrupted, RecordError
from inrbench.interfaces import Trained
from inrbench.records import read_record, vectors_of, write_record
from inrbench.representations import Layout, Representations
from inrbench.signals import GridSignals, PartSpec, SignalSpec
from inrbench.stages import Stages

Damage = Callable[[bytes], bytes]
LAYOUT = Layout("latent", {"latent": (3, 2)}, None, {"omega_0": 30.0})
ORIGIN = {"method": "imported", "dataset": "made-up", "profile": "imported", "seed": 0, "settings": None}
KEYS = {"train": "k1", "fit": "k2", "read": "k3", "score": "k4"}
RECORD: dict[str, Any] = {
    "schema": 2,
    "cell": "mwt+digits-smoke-s0",
    "key": "0123456789abcdef",
    "method": "mwt",
    "dataset": "digits",
    "profile": "smoke",
    "seed": 0,
    "status": "ok",
    "label": "ω = 30",
    "finished": "2026-01-01T00:00:00+00:00",
    "metrics": {"psnr_db": 27.571741087751928, "accuracy": 1e-05, "accuracy_low": None},
    "costs": {"train_s": 1.5, "train_steps": 100},
    "settings": {"fitter": {"steps": 4, "rates": [0.1, 1e20]}, "reader": None, "compile": False},
    "facts": {"scope": "global"},
    "data": {"checksum": "37612b10", "official": True},
    "keys": KEYS,
}


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """A damage to any file: its places are shares of the length."""
    kind = draw(st.sampled_from(["byte", "byte", "byte", "cut", "append", "zeros", "lose", "repeat"]))
    place, length = draw(st.floats(0, 1, exclude_max=True)), draw(st.integers(1, 64))
    other, more = draw(st.integers(1, 255)), draw(st.binary(min_size=1, max_size=64))

    def damage(whole: bytes) -> bytes:
        at = int(place * len(whole))
        if kind == "byte":
            return whole[:at] + bytes([whole[at] ^ other]) + whole[at + 1 :]
        if kind == "cut":
            return whole[:at]
        if kind == "append":
            return whole + more
        block = whole[at : at + length]
        return whole[:at] + {"zeros": bytes(len(block)), "lose": b"", "repeat": 2 * block}[kind] + whole[at + length :]

    damage.__qualname__ = f"{kind} at {place}, length {length}, xor {other}, more {more!r}"
    return damage


def search(*, examples: int = 150) -> Callable[[Any], Any]:
    """The settings of a search, the same each time: a damage that was found must stay found."""
    kept = [HealthCheck.function_scoped_fixture]
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=kept)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damage")


def test_the_damages_that_are_searched_do_damage() -> None:
    whole, kinds = bytes(range(1, 200)), set()

    @search(examples=300)
    @given(damages())
    def look(damage: Damage) -> None:
        assert damage(whole) != whole
        kinds.add(damage.__qualname__.partition(" ")[0])

    look()
    assert kinds == {"byte", "cut", "append", "zeros", "lose", "repeat"}


# ------------------------------------------------------------------ records and vectors


@pytest.fixture(scope="module")
def record(place: Path) -> Path:
    return write_record(place / "records", RECORD, {"ids": np.arange(3), "mse": np.array([0.1, 0.2, 0.3])})


@search(examples=600)
@given(damage=damages())
@example(damage=lambda whole: whole.replace(b"27.57", b"27.58"))
@example(damage=lambda whole: whole.replace(b'"schema": 2', b'"schema": 1'))
@example(damage=lambda whole: whole.replace(b'"digest": ', b'"digesu": '))
@example(damage=lambda whole: whole.replace(b'"ok"', b'"oj"'))
@example(damage=lambda whole: whole + b"\n")
def test_damage_to_a_record_is_found_and_named(record: Path, damage: Damage) -> None:
    whole = record.read_bytes()
    assert damage(whole) != whole
    record.write_bytes(damage(whole))
    try:
        with pytest.raises(RecordError) as caught:
            read_record(record)
        assert str(caught.value).startswith(f"record {record} ")
    finally:
        record.write_bytes(whole)


@pytest.mark.parametrize("bit", [0x01, 0x20])
def test_every_byte_of_a_record_counts(record: Path, bit: int) -> None:
    whole = record.read_bytes()
    for at, byte in enumerate(whole):
        record.write_bytes(whole[:at] + bytes([byte ^ bit]) + whole[at + 1 :])
        with pytest.raises(RecordError):
            read_record(record)
    record.write_bytes(whole)


@search()
@given(damage=damages())
def test_damage_to_vectors_is_named_or_changes_nothing(record: Path, damage: Damage) -> None:
    document = read_record(record)
    path = record.with_name(document["vectors"]["file"])
    before, whole = vectors_of(record.parent, document), path.read_bytes()
    path.write_bytes(damage(whole))
    try:
        same(vectors_of(record.parent, document), before)
    except (BadData, RecordError) as error:
        assert str(path) in str(error)  # noqa: PT017
    finally:
        path.write_bytes(whole)


def same(found: Any, wanted: Any) -> None:
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert found[name].dtype == wanted[name].dtype
        np.testing.assert_array_equal(found[name], wanted[name])


# ------------------------------------------------------------------ checkpoints and finished stages


@search()
@given(damage=damages())
def test_damage_to_a_checkpoint_is_named_and_the_stage_starts_again(
    place: Path, caplog: pytest.LogCaptureFixture, damage: Damage
) -> None:
    folder = place / "stage"
    state = {"weights": np.arange(6.0)}

    def go(run: CellRun, stop_at: int | None) -> list[int]:
        restored.clear()
        done = []
        for step in run.steps("train it", 5, lambda: state, lambda arrays: restored.append(dict(arrays))):
            done.append(step)
            if step == stop_at:
                run.stop.set()
        return done

    restored: list[Any] = []
    with pytest.raises(Interrupted):
        go(CellRun(0, folder=folder), stop_at=2)
    (path,) = folder.glob("*.checkpoint.safetensors")
    path.write_bytes(damage(path.read_bytes()))
    caplog.clear()
    with caplog.at_level(logging.WARNING, "inrbench"):
        done = go(CellRun(0, folder=folder), stop_at=None)
    if restored:
        same(restored[0], state)
        assert done == [3, 4]
    else:
        assert done == [0, 1, 2, 3, 4]
        assert f"{path} is damaged" in caplog.text
    path.unlink()


@search()
@given(damage=damages())
def test_damage_to_a_trained_stage_is_named_and_the_stage_is_done_again(
    place: Path, caplog: pytest.LogCaptureFixture, damage: Damage
) -> None:
    stages = Stages(place / "stages", KEYS)
    run = CellRun(0)
    run.seconds["train"] = 100.0
    stages.keep_trained("train", Trained({"theta": np.arange(4.0)}, {"reader": {"w": np.ones(2)}}, 7, 0.5), run)
    path = place / "stages" / "k1" / "trained.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    caplog.clear()
    later = CellRun(0)
    with caplog.at_level(logging.WARNING, "inrbench"):
        found = stages.trained("train", later)
    if found is None:
        assert f"{path} is damaged" in caplog.text
        assert later.seconds == {}
    else:
        same(found.shared, {"theta": np.arange(4.0)})
        same(found.heads["reader"], {"w": np.ones(2)})
        assert (found.steps, found.compile_s, later.seconds) == (7, 0.5, {"train": 100.0})


@search()
@given(damage=damages())
def test_damage_to_a_sample_is_named_or_changes_nothing(place: Path, damage: Damage) -> None:
    stages = Stages(place / "samples", KEYS)
    rows = Representations(LAYOUT, {"latent": np.arange(12.0).reshape(2, 3, 2)}, np.arange(2), np.zeros(2))
    stages.keep_sample(rows, {"theta": np.ones(2)}, 0, GridSignals(np.full((2, 2, 2, 1), 51, dtype=np.uint8)))
    path = place / "samples" / "k4" / "sample.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    try:
        found = stages.sample()
    except BadData as error:
        assert f"{path} is damaged" in str(error)  # noqa: PT017
    else:
        assert found is not None
        assert found.layout == LAYOUT
        same(found.rows.arrays, rows.arrays)


# ------------------------------------------------------------------ neural data sets


@pytest.fixture(scope="module")
def neural(place: Path) -> Path:
    making = ArtefactFolder(place / "neural", ORIGIN)
    making.begin()
    arrays = {"latent": np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)}
    making.write("train", 0, Representations(LAYOUT, arrays, np.arange(4), np.zeros(4)), {"labels": np.arange(4) % 2})
    document = {"name": "made-up", "dataset": "made-up~12345678", "data": {"checksum": "0", "official": False}}
    spec = SignalSpec((PartSpec("grid", (4, 4), 2, 1),), 2, ("a", "b"), {"train": 4, "test": 0})
    more = {"layout": LAYOUT, "signal": spec, "facts": {"copies": 1}, "fitter": None, "plugins": {}, "versions": {}}
    making.finish({**document, **more, "commit": ""}, {"theta": np.ones((3, 2))}, {"train": [4]})
    return making.folder


@pytest.mark.parametrize("name", [MANIFEST, "train-00000.safetensors", "shared.safetensors", "statistics.safetensors"])
def test_damage_to_a_neural_data_set_is_found_and_its_file_named(neural: Path, name: str) -> None:
    path = neural / name
    whole = path.read_bytes()

    @search()
    @given(damage=damages())
    def look(damage: Damage) -> None:
        path.write_bytes(damage(whole))
        if path.read_bytes() == whole:  # zeros where zeros were
            return
        with pytest.raises(BadData, match=name):
            open_artefact(neural)

    try:
        look()
    finally:
        path.write_bytes(whole)
    open_artefact(neural)


@search(examples=300)
@given(damage=damages())
def test_damage_to_any_file_of_arrays_is_named_or_changes_nothing(place: Path, damage: Damage) -> None:
    path = place / "arrays.safetensors"
    arrays = {"a": np.arange(3, dtype=np.int16), "b/c": np.ones((2, 1), np.float16), "d": np.zeros((0, 2))}
    save_arrays(path, arrays, {"step": "12", "total": "100"})
    path.write_bytes(damage(path.read_bytes()))
    try:
        found, metadata = load_arrays(path)
    except BadData as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        same(found, arrays)
        assert metadata == {"step": "12", "total": "100"}
