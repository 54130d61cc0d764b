"""The pickle reader that runs nothing."""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from inrbench_images.plain_pickle import read_plain_pickle

from inrbench.errors import BadData


class Touch:
    """Pickles as a call of a function that would create a file."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> object:
        return self.call


def write(path: Path, value: object, protocol: int = 2) -> Path:
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol=protocol))
    return path


def test_plain_values_and_uint8_arrays_are_read(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    found = read_plain_pickle(write(tmp_path / "p", {"a": values, "b": [1, 2.5, None, True, ("x", b"y")]}))
    assert np.array_equal(found["a"], values)
    assert found["b"] == [1, 2.5, None, True, ("x", b"y")]


def test_fortran_order_is_kept(tmp_path: Path) -> None:
    values = np.asfortranarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    assert np.array_equal(read_plain_pickle(write(tmp_path / "p", values)), values)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, f"{os.name}.system"), (open, "(io|_io|__builtin__|builtins).open"), (eval, ".*.eval")],
)
def test_a_malicious_pickle_is_refused_and_runs_nothing(
    tmp_path: Path, protocol: int, function: object, name: str
) -> None:
    harm = tmp_path / "harm"
    arguments = {os.system: (f"touch {harm}",), open: (str(harm), "w"), eval: (f"open({str(harm)!r}, 'w')",)}
    path = write(tmp_path / "p", {"data": Touch(function, *arguments[function])}, protocol)  # type: ignore[index]
    with pytest.raises(BadData, match=f"{re.escape(str(path))}: refused, the pickle names {name}; allowed are NumPy"):
        read_plain_pickle(path)
    assert not harm.exists()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"cnumpy.testing._private.utils\nrunstring\n.", "numpy.testing._private.utils.runstring"),
        (b"cnumpy\nload\n.", "numpy.load"),
        (b"cnumpy.core.multiarray\nscalar\n.", "numpy.core.multiarray.scalar"),
        (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        (b"(S'true'\nios\nsystem\n.", "os.system"),
    ],
)
def test_names_within_numpy_are_no_more_allowed_than_others(tmp_path: Path, content: bytes, name: str) -> None:
    with pytest.raises(BadData, match=f"refused, the pickle names {re.escape(name)};"):
        read_plain_pickle(write(tmp_path / "p", content))


def test_references_to_outside_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="refers to something outside of it"):
        read_plain_pickle(write(tmp_path / "p", b"S'x'\nQ."))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(3), "an array of 'f8'; allowed is uint8"),
        (np.array([object()], dtype=object), "refused, the pickle names"),
        (np.array([None], dtype=object), "an array of 'O8'; allowed is uint8"),
        (np.dtype(np.uint8), "holds a _PickledType; allowed are NumPy arrays and plain values"),
        (collections.OrderedDict(), "refused, the pickle names collections.OrderedDict"),
    ],
)
def test_other_types_are_refused(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(BadData, match=message):
        read_plain_pickle(write(tmp_path / "p", value))


def test_an_array_whose_bytes_do_not_fill_its_shape_is_refused(tmp_path: Path) -> None:
    content = pickle.dumps(np.zeros((3, 4), dtype=np.uint8), protocol=2)
    longer = content.replace(b"K\x03K\x04\x86", b"K\x03K\x05\x86")
    assert longer != content
    with pytest.raises(BadData, match=r"an array of shape \(3, 5\) with 12 bytes of values"):
        read_plain_pickle(write(tmp_path / "p", longer))


def test_every_truncation_is_bad_data(tmp_path: Path) -> None:
    content = pickle.dumps({"data": np.arange(6, dtype=np.uint8), "labels": [1, 2]}, protocol=2)
    for length in range(len(content)):
        with pytest.raises(BadData, match=r"damaged pickle|refused"):
            read_plain_pickle(write(tmp_path / "p", content[:length]))


def test_every_damaged_byte_gives_a_value_or_bad_data_and_never_anything_else(tmp_path: Path) -> None:
    content = pickle.dumps({"data": np.arange(6, dtype=np.uint8), "labels": [1, 2]}, protocol=2)
    rng = np.random.default_rng(0)
    for _ in range(2000):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] = rng.integers(256)
        with contextlib.suppress(BadData):
            read_plain_pickle(write(tmp_path / "p", bytes(damaged)))


def test_shared_values_do_not_grow(tmp_path: Path) -> None:
    nested: list[object] = []
    for _ in range(200):
        nested = [nested, nested]
    found = read_plain_pickle(write(tmp_path / "p", nested))
    assert found[0] is found[1]


def test_a_value_that_contains_itself_is_bad_data(tmp_path: Path) -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(BadData, match="holds a value that contains itself"):
        read_plain_pickle(write(tmp_path / "p", value))


def test_a_huge_memo_is_refused_before_memory_is_reserved(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="it numbers a value 2,147,483,647 after 1 steps"):
        read_plain_pickle(write(tmp_path / "p", b"Nr\xff\xff\xff\x7f."))


def test_a_pickle_cannot_change_the_functions_that_stand_in(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="it changes a function"):
        read_plain_pickle(write(tmp_path / "p", b"c_codecs\nencode\n}b."))
