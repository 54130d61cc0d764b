"""The index of archives: names and places of their photographs, found once and remembered."""

from __future__ import annotations

import io
import logging
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from inrbench_images import tar_index
from inrbench_images.tar_index import TarIndex, read_index

from inrbench.errors import BadData

INNER = {"n02.tar": {"b.JPEG": b"bb" * 700, "a.JPEG": b"a"}, "n01.tar": {"z.JPEG": b"zzz"}}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("INRBENCH_CACHE", str(folder))
    return folder / "archives"


def tar(entries: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in entries.items():
            entry = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            entry.size = len(content) if isinstance(content, bytes) else 0
            archive.addfile(entry, io.BytesIO(content) if isinstance(content, bytes) else None)
    return stream.getvalue()


def link(name: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return entry


def nested(place: Path, inner: Mapping[str, Mapping[str, bytes]] = INNER) -> Path:
    path = place / "train.tar"
    path.write_bytes(tar({name: tar(entries) for name, entries in inner.items()}))
    return path


def contents(path: Path, index: TarIndex) -> dict[str, bytes]:
    whole, found = path.read_bytes(), zip(index.names, index.offsets, index.sizes, strict=True)
    return {name.decode(): whole[offset : offset + size] for name, offset, size in found}


def test_photographs_in_inner_archives_are_found_by_class_and_name(tmp_path: Path) -> None:
    path = nested(tmp_path)
    index = read_index(path, nested=True)
    assert contents(path, index) == {"n01/z.JPEG": b"zzz", "n02/a.JPEG": b"a", "n02/b.JPEG": b"bb" * 700}
    assert [name.decode() for name in index.names] == ["n01/z.JPEG", "n02/a.JPEG", "n02/b.JPEG"]
    assert (len(index), index.offsets.dtype, index.sizes.dtype) == (3, np.int64, np.int64)


def test_the_order_is_that_of_the_names_whatever_the_archives_is(tmp_path: Path) -> None:
    path, turned = tmp_path / "val.tar", tmp_path / "turned.tar"
    entries = {"2.JPEG": b"two", "10.JPEG": b"ten", "notes.txt": b"none", "1.JPEG": b"one", "sub": b""}
    path.write_bytes(tar(entries))
    turned.write_bytes(tar(dict(reversed(entries.items()))))
    for place in (path, turned):
        found = contents(place, read_index(place, nested=False))
        assert list(found.items()) == [("1.JPEG", b"one"), ("10.JPEG", b"ten"), ("2.JPEG", b"two")]


def test_the_index_is_remembered_and_an_archive_that_moved_keeps_it(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = nested(tmp_path)
    before = contents(path, read_index(path, nested=True))
    (place,) = cache.iterdir()
    monkeypatch.setattr(tar_index, "_looked_up", None)  # looking through an archive again would fail
    assert contents(path, read_index(path, nested=True)) == before
    (tmp_path / "elsewhere").mkdir()
    moved = path.rename(tmp_path / "elsewhere" / path.name)
    assert contents(moved, read_index(moved, nested=True)) == before
    assert list(cache.iterdir()) == [place]


def test_another_content_gets_an_index_of_its_own(tmp_path: Path, cache: Path) -> None:
    assert len(read_index(nested(tmp_path), nested=True)) == 3
    changed = nested(tmp_path, {"n01.tar": {"z.JPEG": b"other"}})
    assert contents(changed, read_index(changed, nested=True)) == {"n01/z.JPEG": b"other"}
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "empty", "junk", "shorter", "kinds"])
def test_a_damaged_index_is_made_anew(tmp_path: Path, cache: Path, damage: str) -> None:
    path = nested(tmp_path)
    before = contents(path, read_index(path, nested=True))
    (place,) = cache.iterdir()
    whole = place.read_bytes()
    if damage in ("shorter", "kinds"):
        with np.load(place) as stored:
            arrays = dict(stored)
        arrays["sizes"] = arrays["sizes"][:-1] if damage == "shorter" else arrays["sizes"].astype(np.float64)
        np.savez(place, **arrays)
    else:
        place.write_bytes({"cut": whole[:-60], "empty": b"", "junk": b"PK" + whole[2:40]}[damage])
    assert contents(path, read_index(path, nested=True)) == before
    assert place.read_bytes() == whole
    assert [entry.name for entry in cache.iterdir()] == [place.name]


def test_a_cache_that_cannot_be_written_costs_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "file" / "below"))
    assert len(read_index(nested(tmp_path), nested=True)) == 3


def test_a_large_archive_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tar_index, "LARGE", 1000)
    path = nested(tmp_path)
    with caplog.at_level(logging.WARNING, logger="inrbench"):
        read_index(path, nested=True)
        read_index(path, nested=True)
    (record,) = caplog.records
    assert record.getMessage() == f"{path}: looking up where its photographs lie; this takes minutes, once"


# ------------------------------------------------------------------ damaged and malicious archives


@pytest.mark.parametrize("cut", [100, 700, 3000, 5000])
def test_a_truncated_archive_is_bad_data(tmp_path: Path, cache: Path, cut: int) -> None:
    path = nested(tmp_path)
    end = path.read_bytes().rstrip(b"\0")
    path.write_bytes(end[: len(end) - cut])
    with pytest.raises(BadData, match=r"train.tar: damaged archive \(.*\); fetch it again"):
        read_index(path, nested=True)
    assert not cache.exists()


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    whole = bytearray(nested(tmp_path).read_bytes())
    for name, title in ((b"n01.tar", "train.tar"), (b"a.JPEG", "n02.tar")):
        damaged = bytearray(whole)
        damaged[whole.index(name) + 148] ^= 1  # the checksum of the header
        (tmp_path / "train.tar").write_bytes(damaged)
        with pytest.raises(BadData, match=rf"train.tar: damaged archive \({title} has a damaged header at byte "):
            read_index(tmp_path / "train.tar", nested=True)


@pytest.mark.parametrize("content", [b"", b"no archive" * 100])
def test_what_is_no_archive_is_bad_data(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "val.tar"
    path.write_bytes(content)
    with pytest.raises(BadData, match=r"val.tar: damaged archive"):
        read_index(path, nested=False)
    path.write_bytes(tar({"n01.tar": content}))
    with pytest.raises(BadData, match=r"val.tar: damaged archive"):
        read_index(path, nested=True)


def test_archives_without_photographs_or_with_one_twice_are_bad_data(tmp_path: Path) -> None:
    path = tmp_path / "val.tar"
    path.write_bytes(tar({"a.txt": b"none"}))
    with pytest.raises(BadData, match=r"val.tar: holds no photographs; looked for \*.JPEG$"):
        read_index(path, nested=False)
    with pytest.raises(BadData, match=r"train.tar: holds no photographs; looked for \*.JPEG in \*.tar"):
        read_index(nested(tmp_path, {"n01.tar": {}}), nested=True)
    twice = tar({"./a.JPEG": b"1", "a.JPEG": b"2"})
    path.write_bytes(twice)
    with pytest.raises(BadData, match=r"val.tar: holds a.JPEG twice"):
        read_index(path, nested=False)


@pytest.mark.parametrize("name", ["../a.JPEG", "/a.JPEG", "sub/../../a.JPEG", "c:a.JPEG", "sub\\a.JPEG"])
def test_names_that_point_outside_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "val.tar"
    path.write_bytes(tar({name: b"1", "b.JPEG": b"2"}))
    with pytest.raises(BadData, match=r"val.tar: refused to unpack, its entry .* points outside the archive"):
        read_index(path, nested=False)
    with pytest.raises(BadData, match=r"train.tar: refused to unpack, its entry .* points outside the archive"):
        read_index(nested(tmp_path, {"n01.tar": {name: b"1"}}), nested=True)


def test_links_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "val.tar"
    path.write_bytes(tar({"a.JPEG": link("a.JPEG")}))
    with pytest.raises(BadData, match=r"its entry 'a.JPEG' is neither a file nor a folder"):
        read_index(path, nested=False)
