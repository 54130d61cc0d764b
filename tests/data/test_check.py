"""Recognising official files by their content."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import pytest

from inrbench.data import check
from inrbench.data.check import check_files, digests
from inrbench.data.official import OfficialFile, md5, sha256
from inrbench.errors import BadData

CONTENT = b"the official content" * 100
PUBLISHED = gzip.compress(CONTENT, mtime=0)
FILE = OfficialFile(
    path="images.gz",
    source="this test",
    checksums=(md5(hashlib.md5(PUBLISHED).hexdigest()),),
    content_checksums=(sha256(hashlib.sha256(CONTENT).hexdigest()),),
    alternatives=("images",),
)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("INRBENCH_CACHE", str(folder))
    return folder


def test_the_published_the_recompressed_and_the_decompressed_file_are_official_and_equal(tmp_path: Path) -> None:
    checksums = set()
    for number, (name, content) in enumerate(
        [("images.gz", PUBLISHED), ("images.gz", gzip.compress(CONTENT, 1, mtime=7)), ("images", CONTENT)]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / name).write_bytes(content)
        found = check_files([FILE], folder)
        assert found.state == "official"
        checksums.add(found.checksum)
    assert len(checksums) == 1


def test_other_content_is_unofficial_and_shows_both_checksums(tmp_path: Path) -> None:
    (tmp_path / "images.gz").write_bytes(gzip.compress(b"other"))
    (found,) = check_files([FILE], tmp_path).files
    other = hashlib.sha256(b"other").hexdigest()
    assert found.state == "unofficial"
    assert found.difference() == f"sha256 published {hashlib.sha256(CONTENT).hexdigest()}, found {other}"


def test_a_form_without_a_published_checksum_is_unofficial(tmp_path: Path) -> None:
    file = OfficialFile(path="images.gz", source="this test", checksums=FILE.checksums, alternatives=("images",))
    (tmp_path / "images").write_bytes(CONTENT)
    (found,) = check_files([file], tmp_path).files
    assert found.state == "unofficial"
    assert "no checksum of this form is published" in found.difference()


def test_missing_files_are_missing(tmp_path: Path) -> None:
    assert check_files([FILE], tmp_path).state == "missing"


def test_a_truncated_gzip_file_is_bad_data(tmp_path: Path) -> None:
    (tmp_path / "images.gz").write_bytes(PUBLISHED[:-10])
    with pytest.raises(BadData, match=r"images.gz: damaged gzip file .*fetch it again"):
        check_files([FILE], tmp_path)


def test_what_is_no_gzip_file_is_bad_data(tmp_path: Path) -> None:
    (tmp_path / "images.gz").write_bytes(b"<html>")
    with pytest.raises(BadData, match=r"images.gz: damaged gzip file"):
        check_files([FILE], tmp_path)


def test_a_file_is_hashed_once_and_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []
    original = check._file_digests
    monkeypatch.setattr(check, "_file_digests", lambda path: hashed.append(path) or original(path))
    path = tmp_path / "images"
    path.write_bytes(CONTENT)
    first = digests(path)
    assert digests(path) == first
    assert len(hashed) == 1
    kept = path.stat()
    path.write_bytes(CONTENT[::-1])  # the same size
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))  # and the same time of modification
    assert digests(path) != first
    assert len(hashed) == 2


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"path": 1}', b"\xff\xfe"])
def test_a_damaged_memory_is_ignored_and_rewritten(tmp_path: Path, cache: Path, damage: bytes) -> None:
    path = tmp_path / "images"
    path.write_bytes(CONTENT)
    first = digests(path)
    (memo,) = (cache / "checksums").iterdir()
    good = memo.read_bytes()
    memo.write_bytes(damage)
    assert digests(path) == first
    assert memo.read_bytes() == good


def test_a_cache_that_cannot_be_written_changes_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "images").write_bytes(CONTENT)
    assert digests(tmp_path / "images").content["sha256"] == hashlib.sha256(CONTENT).hexdigest()


def test_a_folders_checksum_depends_on_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "one").write_bytes(b"1")
    first = digests(tmp_path / "a").content["sha256"]
    (tmp_path / "a" / "b" / "one").rename(tmp_path / "a" / "b" / "two")
    second = digests(tmp_path / "a").content["sha256"]
    (tmp_path / "a" / "b" / "two").write_bytes(b"2")
    assert len({first, second, digests(tmp_path / "a").content["sha256"]}) == 3
