"""Data sets opened for a cell: missing, official, unofficial, embedded, the user's own."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from inrbench.data import opened
from inrbench.data.check import check_files
from inrbench.data.official import OfficialFile, md5
from inrbench.data.opened import fetch, open_dataset
from inrbench.data.root import cache_root, data_folder, data_root
from inrbench.data.scored import signals_checksum
from inrbench.data.unpack import unpack
from inrbench.domains import Grid, Points
from inrbench.errors import BadData
from inrbench.signals import GridSignals, Part, PartSpec, Signals, SignalSpec

CONTENT = bytes(range(64))


class Tiny:
    """Four 4 x 4 images in one file."""

    def __init__(self, *files: OfficialFile) -> None:
        self.files: Sequence[OfficialFile] = files

    def spec(self) -> SignalSpec:
        return SignalSpec((PartSpec("grid", (4, 4), 2, 1),))

    def load(self, folder: Path | None) -> Mapping[str, Signals]:
        content = CONTENT if folder is None else (folder / self.files[0].path).read_bytes()
        return {"test": GridSignals(np.frombuffer(content, dtype=np.uint8).reshape(4, 4, 4, 1))}


def file(path: str = "images", digest: str = hashlib.md5(CONTENT).hexdigest(), **more: object) -> OfficialFile:
    return OfficialFile(path=path, source="this test", checksums=(md5(digest),), **more)  # type: ignore[arg-type]


def put(root: Path, content: bytes) -> None:
    (root / "tiny").mkdir(parents=True)
    (root / "tiny" / "images").write_bytes(content)


def test_official_data_keeps_its_name(tmp_path: Path) -> None:
    put(tmp_path, CONTENT)
    found = open_dataset("tiny", Tiny(file()), tmp_path, unofficial=False)
    assert (found.name, found.official, len(found.splits["test"])) == ("tiny", True, 4)


def test_data_that_is_not_official_is_an_error_with_both_checksums(tmp_path: Path) -> None:
    put(tmp_path, CONTENT[::-1])
    with pytest.raises(BadData) as caught:
        open_dataset("tiny", Tiny(file()), tmp_path, unofficial=False)
    message = str(caught.value)
    assert str(tmp_path / "tiny" / "images") in message
    assert hashlib.md5(CONTENT).hexdigest() in message
    assert hashlib.md5(CONTENT[::-1]).hexdigest() in message
    accepted = open_dataset("tiny", Tiny(file()), tmp_path, unofficial=True)
    assert f"`--unofficial-data` runs it all the same and marks it {accepted.name}" in message


def test_accepted_data_is_marked_with_its_own_hash(tmp_path: Path) -> None:
    put(tmp_path, CONTENT[::-1])
    found = open_dataset("tiny", Tiny(file()), tmp_path, unofficial=True)
    assert found.name == f"tiny~{found.checksum[:8]}"
    assert not found.official


def test_official_data_is_not_marked_where_unofficial_data_would_be_accepted(tmp_path: Path) -> None:
    put(tmp_path, CONTENT)
    assert open_dataset("tiny", Tiny(file()), tmp_path, unofficial=True).name == "tiny"


@pytest.mark.parametrize("download", [True, False])
def test_missing_files_are_named_with_the_place_and_the_command(tmp_path: Path, download: bool) -> None:
    with pytest.raises(BadData, match=r"tiny: images missing in .*tiny; `inrbench data fetch tiny` downloads"):
        open_dataset("tiny", Tiny(file()), tmp_path, unofficial=False, download=download)
    assert not (tmp_path / "tiny").exists()


def test_missing_files_are_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened, "download_file", lambda file, target, **_: target.write_bytes(CONTENT))
    dataset = Tiny(file(urls=("http://localhost/images",)))
    assert open_dataset("tiny", dataset, tmp_path, unofficial=False).official


def test_embedded_data_is_official_and_its_checksum_depends_on_its_values(tmp_path: Path) -> None:
    found = open_dataset("tiny", Tiny(), None, unofficial=False)
    assert (found.name, found.official) == ("tiny", True)
    assert found.checksum == open_dataset("tiny", Tiny(), None, unofficial=False).checksum


def test_the_users_own_data_is_not_marked_and_its_checksum_is_that_of_its_files(tmp_path: Path) -> None:
    class Own(Tiny):
        def own_files(self) -> Mapping[str, Path]:
            return {"a": tmp_path / "a"}

    (tmp_path / "a").write_bytes(b"1")
    first = open_dataset("own:a", Own(), None, unofficial=False)
    (tmp_path / "a").write_bytes(b"22")
    second = open_dataset("own:a", Own(), None, unofficial=False)
    assert first.official
    assert first.name == "own:a"
    assert first.checksum != second.checksum


def test_signals_that_are_made_when_asked_for_have_the_checksum_of_what_they_are_made_of() -> None:
    class Made(Tiny):
        def made_of(self) -> str:
            return "ab" * 32

    opened = open_dataset("made", Made(), None, unofficial=False)
    assert (opened.checksum, opened.official, opened.name) == ("ab" * 32, True, "made")


# ---------------------------------------------------------------------- archives


def archive(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for entry, content in entries:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def test_an_archive_that_lies_there_is_unpacked_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    archive(folder / "a.tgz", (tarfile.TarInfo("in/images"), CONTENT), (tarfile.TarInfo("in/other"), b"x"))
    digest = hashlib.md5((folder / "a.tgz").read_bytes()).hexdigest()
    dataset = Tiny(file("a.tgz", digest, members=(file("in/images"),)))
    fetch("tiny", dataset, tmp_path)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) == ["a.tgz", "in", "in/images"]


def test_a_downloaded_archive_is_unpacked_and_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        opened, "download_file", lambda file, target, **_: archive(target, (tarfile.TarInfo("in/images"), CONTENT))
    )
    dataset = Tiny(file("a.tgz", members=(file("in/images"),), urls=("http://localhost/a.tgz",)))
    fetch("tiny", dataset, tmp_path)
    assert (tmp_path / "tiny" / "in" / "images").read_bytes() == CONTENT
    assert not (tmp_path / "tiny" / "a.tgz").exists()


def test_an_archive_that_is_not_the_published_one_is_not_unpacked(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    archive(tmp_path / "tiny" / "a.tgz", (tarfile.TarInfo("in/images"), CONTENT))
    dataset = Tiny(file("a.tgz", members=(file("in/images"),)))
    with pytest.raises(BadData, match=r"a.tgz is not the published archive \(md5 published .*, found .*delete it"):
        fetch("tiny", dataset, tmp_path)
    assert not (tmp_path / "tiny" / "in").exists()


@pytest.mark.parametrize("name", ["../images", "/tmp/images", "in/../../images", "C:/images"])
def test_an_archive_entry_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "below").mkdir()
    archive(tmp_path / "a.tgz", (tarfile.TarInfo(name), CONTENT), (tarfile.TarInfo("in/images"), CONTENT))
    with pytest.raises(BadData, match=f"its entry '{name}' points outside the archive"):
        unpack(tmp_path / "a.tgz", tmp_path / "below", {"in/images"})
    assert list((tmp_path / "below").iterdir()) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_an_archive_with_a_link_or_a_device_is_refused(tmp_path: Path, kind: bytes) -> None:
    (tmp_path / "below").mkdir()
    link = tarfile.TarInfo("in/images")
    link.type, link.linkname = kind, "/etc/passwd"
    archive(tmp_path / "a.tgz", (link, b""))
    with pytest.raises(BadData, match="its entry 'in/images' is neither a file nor a folder"):
        unpack(tmp_path / "a.tgz", tmp_path / "below", {"in/images"})
    assert list((tmp_path / "below").iterdir()) == []


def test_a_truncated_archive_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    content = np.random.default_rng(0).bytes(100_000)
    archive(tmp_path / "a.tgz", (tarfile.TarInfo("one"), b"1"), (tarfile.TarInfo("two"), content))
    (tmp_path / "a.tgz").write_bytes((tmp_path / "a.tgz").read_bytes()[:50_000])
    with pytest.raises(BadData, match=r"a.tgz: cannot be unpacked"):
        unpack(tmp_path / "a.tgz", tmp_path / "below", {"one", "two"})
    assert list((tmp_path / "below").iterdir()) == []


def test_an_archive_that_lacks_a_file_names_it(tmp_path: Path) -> None:
    archive(tmp_path / "a.tgz", (tarfile.TarInfo("one"), b"1"))
    with pytest.raises(BadData, match="the archive lacks three, two"):
        unpack(tmp_path / "a.tgz", tmp_path, {"one", "two", "three"})


# ---------------------------------------------------------------------- folders and hashes


def test_a_member_of_a_family_may_lie_in_the_familys_folder(tmp_path: Path) -> None:
    assert data_folder("nerf-lego", tmp_path) == tmp_path / "nerf-lego"
    (tmp_path / "nerf" / "lego").mkdir(parents=True)
    assert data_folder("nerf-lego", tmp_path) == tmp_path / "nerf" / "lego"
    assert data_folder("nerf", tmp_path) == tmp_path / "nerf"
    (tmp_path / "nerf-lego").mkdir()
    assert data_folder("nerf-lego", tmp_path) == tmp_path / "nerf-lego"


def test_the_data_root_is_the_option_then_the_variable_then_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INRBENCH_DATA", "/from/variable")
    assert data_root(Path("/from/option")) == Path("/from/option")
    assert data_root() == Path("/from/variable")
    assert data_folder("folder:/somewhere") == Path("/from/variable/folder")
    monkeypatch.delenv("INRBENCH_DATA")
    assert data_root().name == "inrbench"
    monkeypatch.delenv("INRBENCH_CACHE", raising=False)
    assert "inrbench" in cache_root().parts


def test_the_hash_of_signals_depends_on_values_labels_ids_and_scale() -> None:
    values = np.arange(32, dtype=np.uint8).reshape(2, 4, 4, 1)
    labels = np.array([0, 1])
    variants = [
        GridSignals(values, labels),
        GridSignals(values + np.uint8(1), labels),
        GridSignals(values.astype(np.int16), labels),
        GridSignals(values, labels[::-1].copy()),
        GridSignals(values),
        GridSignals(values, labels, ids=np.array([3, 4])),
        GridSignals(values, labels, to_unit=(1 / 16, 0.0)),
        GridSignals(values.reshape(2, 2, 8, 1), labels),
    ]
    assert len({signals_checksum(signals) for signals in variants}) == len(variants)
    assert signals_checksum(variants[0]) == signals_checksum(GridSignals(values.copy(), labels.astype(np.int32)))


def test_signals_on_different_domains_are_hashed_part_by_part() -> None:
    class Loose(GridSignals):
        def stacked(self) -> None:  # type: ignore[override]
            return None

        def scored(self, i: int) -> Sequence[Part]:  # type: ignore[override]
            grid = Part(Grid.of(4, 4), self.values[i])
            return grid, Part(Points(np.full((2, 2), i, dtype=np.float32)), self.values[i, 0, :2], name="points")

    values = np.arange(32, dtype=np.uint8).reshape(2, 4, 4, 1)
    first, second = Loose(values), Loose(values[::-1].copy())
    assert signals_checksum(first) == signals_checksum(Loose(values.copy()))
    assert signals_checksum(first) != signals_checksum(second)


def test_a_file_in_a_folder_that_data_sets_share_is_the_official_one(tmp_path: Path) -> None:
    shared = Tiny(
        file(alternatives=("../pictures/images",), content_checksums=(md5(hashlib.md5(CONTENT).hexdigest()),))
    )
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "images").write_bytes(CONTENT)
    assert shared.files[0].locate(tmp_path / "tiny") == tmp_path / "pictures" / "images"
    assert check_files(shared.files, tmp_path / "tiny").state == "official"
    put(tmp_path, CONTENT)  # its own folder comes first, however the root is written
    around = tmp_path / "pictures" / ".."
    assert shared.files[0].locate(around / "tiny") == around / "tiny" / "images"
    assert open_dataset("tiny", Tiny(file()), around, unofficial=False).official
