"""The layout of ILSVRC 2012, on generated archives of a few classes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inrbench_images import imagenet, on_demand
from inrbench_images.devkit import META, TRUTH, read_devkit
from inrbench_images.imagenet import Imagenet, ImagenetSettings
from PIL import Image
from scipy.io import savemat

from inrbench.data import check_dataset, data_folder, fetch, open_dataset
from inrbench.errors import BadData, BadSetting
from inrbench.signals import Signals

#: WordNet id and colour of each class; the devkit numbers them in this order, which is not that of the ids.
CLASSES = {"n02000000": (200, 0, 0), "n03000000": (0, 200, 0), "n01000000": (0, 0, 200)}
PARENT = ("n00001740", 2.0)
TRUTH_LINES = (3, 1, 1, 2)
TRAIN, VALIDATION, DEVKIT = (file.path for file in Imagenet(ImagenetSettings()).files)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def jpeg(colour: tuple[int, int, int], width: int = 12, height: int = 9) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(stream, format="JPEG", quality=95)
    return stream.getvalue()


def tar(entries: Mapping[str, bytes], mode: Any = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, content in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def meta(rows: Sequence[tuple[float, str, float]]) -> bytes:
    """``meta.mat``: number, WordNet id and number of children of each synset, in a column as the official one."""
    kinds = [(name, object) for name in ("ILSVRC2012_ID", "WNID", "words", "num_children")]
    synsets = np.empty((len(rows), 1), dtype=kinds)
    for i, (number, wnid, children) in enumerate(rows):
        synsets[i, 0] = (number, wnid, "cock, hen", children)
    stream = io.BytesIO()
    savemat(stream, {"synsets": synsets}, do_compression=True)
    return stream.getvalue()


def synsets() -> list[tuple[float, str, float]]:
    leaves = [(float(number), wnid, 0.0) for number, wnid in enumerate(CLASSES, 1)]
    return [*leaves, (float(len(CLASSES) + 1), *PARENT)]


def devkit(truth: Sequence[object] = TRUTH_LINES, rows: Any = None, **more: bytes) -> bytes:
    lines = "".join(f"{line}\n" for line in truth).encode()
    readme = {"ILSVRC2012_devkit_t12/readme.txt": b"documentation"}
    return tar({**readme, META: meta(synsets() if rows is None else rows), TRUTH: lines, **more}, "w:gz")


def archives(root: Path, **changed: bytes) -> Path:
    """The three official files with a few photographs; ``train``, ``val`` and ``devkit`` replace one."""
    folder = root / "imagenet"
    folder.mkdir(exist_ok=True)
    inner = {
        f"{wnid}.tar": tar({f"{wnid}_{number}.JPEG": jpeg(colour) for number in (3, 10)})
        for wnid, colour in CLASSES.items()
    }
    photographs = {f"ILSVRC2012_val_{i:08d}.JPEG": jpeg((60 * i, 0, 0)) for i in (2, 1, 4, 3)}
    (folder / TRAIN).write_bytes(changed.get("train", tar(inner)))
    (folder / VALIDATION).write_bytes(changed.get("val", tar(photographs)))
    (folder / DEVKIT).write_bytes(changed.get("devkit", devkit()))
    return folder


def dataset(**settings: object) -> Imagenet:
    return Imagenet(ImagenetSettings(**{"size": 8, **settings}))  # type: ignore[arg-type]


def labels(signals: Signals) -> list[int]:
    assert signals.labels is not None
    assert signals.labels.dtype == np.int64
    return signals.labels.tolist()


def colours(signals: Signals) -> list[list[int]]:
    return [np.round(signals.observed(i)[0].values.mean((0, 1)), -1).astype(int).tolist() for i in range(len(signals))]


# ------------------------------------------------------------------ what is read


def test_the_spec_is_known_without_the_data() -> None:
    spec = Imagenet(ImagenetSettings()).spec()
    assert (spec.parts[0].shape, spec.channels, spec.num_classes) == ((320, 320), 3, 1000)
    assert spec.sizes == {"train": 1_281_167, "test": 50_000}
    assert dataset(size=178).spec().parts[0].shape == (178, 178)


def test_photographs_are_in_the_order_of_classes_and_names(tmp_path: Path) -> None:
    splits = dataset().load(archives(tmp_path))
    train, test = splits["train"], splits["test"]
    assert labels(train) == [0, 0, 1, 1, 2, 2]  # numbered by the sorted WordNet ids, not by the development kit
    assert colours(train) == [[0, 0, 200]] * 2 + [[200, 0, 0]] * 2 + [[0, 200, 0]] * 2
    assert labels(test) == [0, 1, 1, 2]
    assert colours(test) == [[60, 0, 0], [120, 0, 0], [180, 0, 0], [240, 0, 0]]
    assert train.ids.tolist() == list(range(6))
    assert test.ids.tolist() == list(range(6, 10))


def test_the_order_does_not_depend_on_that_in_the_archives(tmp_path: Path) -> None:
    inner = {
        f"{wnid}.tar": tar({f"{wnid}_{number}.JPEG": jpeg(colour, 12 + number) for number in (10, 3)})
        for wnid, colour in reversed(CLASSES.items())
    }
    splits = dataset().load(archives(tmp_path, train=tar(inner)))
    assert labels(splits["train"]) == [0, 0, 1, 1, 2, 2]
    _, values, _ = splits["train"].stacked() or (None, None, None)
    assert isinstance(values, on_demand.TarPictures)
    assert [values.index.names[row].decode() for row in values.rows[:2]] == [
        "n01000000/n01000000_10.JPEG",
        "n01000000/n01000000_3.JPEG",
    ]


def test_loading_decodes_nothing_and_looks_through_the_archives_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = archives(tmp_path)
    monkeypatch.setattr(on_demand, "decode", None)  # decoding would fail
    dataset().load(folder)
    monkeypatch.setattr("inrbench_images.tar_index._looked_up", None)
    again = dataset(size=5).load(folder)
    assert (len(again["train"]), len(again["test"])) == (6, 4)


def test_a_damaged_photograph_is_named_when_it_is_asked_for(tmp_path: Path) -> None:
    inner = {f"{wnid}.tar": tar({f"{wnid}_1.JPEG": jpeg(colour)[:250]}) for wnid, colour in CLASSES.items()}
    train = dataset().load(archives(tmp_path, train=tar(inner)))["train"]
    with pytest.raises(BadData, match=r"ILSVRC2012_img_train.tar: n02000000/n02000000_1.JPEG: not a readable image"):
        train.observed(1)


def test_what_lies_in_the_way_is_no_photograph(tmp_path: Path) -> None:
    photographs = {f"ILSVRC2012_val_{i:08d}.JPEG": jpeg((60 * i, 0, 0)) for i in (1, 2, 3, 4)}
    splits = dataset().load(archives(tmp_path, val=tar({"._notes": b"", **photographs, "index.txt": b"4"})))
    assert len(splits["test"]) == 4


# ------------------------------------------------------------------ archives that do not agree


@pytest.mark.parametrize(("lines", "count"), [((3, 1, 1), 3), ((3, 1, 1, 2, 2), 5)])
def test_a_ground_truth_of_another_length_is_bad_data(tmp_path: Path, lines: tuple[int, ...], count: int) -> None:
    expected = rf"img_val.tar: holds 4 photographs, and the ground truth of the development kit has {count} lines"
    with pytest.raises(BadData, match=expected):
        dataset().load(archives(tmp_path, devkit=devkit(lines)))


def test_a_gap_in_the_validation_photographs_is_bad_data(tmp_path: Path) -> None:
    photographs = {f"ILSVRC2012_val_{i:08d}.JPEG": jpeg((0, 0, 0)) for i in (1, 2, 4, 5)}
    expected = "holds ILSVRC2012_val_00000004.JPEG; expected ILSVRC2012_val_00000003.JPEG"
    with pytest.raises(BadData, match=expected):
        dataset().load(archives(tmp_path, val=tar(photographs)))


def test_classes_other_than_those_of_the_development_kit_are_bad_data(tmp_path: Path) -> None:
    inner = {f"{wnid}.tar": tar({f"{wnid}_1.JPEG": jpeg(colour)}) for wnid, colour in CLASSES.items()}
    for other in ("n02000001", "n99999999", "n0", "n020000000"):
        more = {**inner, f"{other}.tar": tar({"a.JPEG": jpeg((0, 0, 0))})}
        with pytest.raises(BadData, match=rf"img_train.tar: {other}/a.JPEG is of no class that the development kit"):
            dataset().load(archives(tmp_path, train=tar(more)))
    del inner["n02000000.tar"]
    with pytest.raises(BadData, match="lacks the photographs of 1 classes, as of n02000000"):
        dataset().load(archives(tmp_path, train=tar(inner)))


def test_more_classes_than_a_thousand_are_bad_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "NUM_CLASSES", 2)
    with pytest.raises(BadData, match=r"devkit_t12.tar.gz: lists 3 classes; allowed are 1 to 2"):
        dataset().load(archives(tmp_path))


# ------------------------------------------------------------------ the development kit


def kit(place: Path, content: bytes) -> Path:
    path = place / DEVKIT
    path.write_bytes(content)
    return path


def test_synsets_with_children_are_no_classes(tmp_path: Path) -> None:
    found = read_devkit(kit(tmp_path, devkit()))
    assert found.wnids == ("n01000000", "n02000000", "n03000000")
    assert found.truth.tolist() == [0, 1, 1, 2]


def test_a_single_class_is_read_too(tmp_path: Path) -> None:
    found = read_devkit(kit(tmp_path, devkit((7, 7), [(7.0, "n01440764", 0.0)])))
    assert (found.wnids, found.truth.tolist()) == (("n01440764",), [0, 0])


@pytest.mark.parametrize("line", ["4", "0", "-1", "1.0", "", "hen", "1 2", "9" * 5000])
def test_a_line_that_is_no_class_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(BadData, match=r"validation_ground_truth.txt, line 2: '.*' is no class's number"):
        read_devkit(kit(tmp_path, devkit((1, line, 2))))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(4.0, "n00001740", 3.0)], "0 synsets without children; expected classes, each listed once"),
        ([(1.0, "n01440764", 0.0)] * 2, "2 synsets without children"),
        ([(1.0, "n01440764", 0.0), (2.0, "n01440764", 0.0)], "2 synsets without children"),
        ([(1.0, "../n014", 0.0)], r"'../n014' is no WordNet id of a noun, as n01440764 is"),
    ],
)
def test_a_list_of_synsets_that_makes_no_sense_is_bad_data(tmp_path: Path, rows: Any, message: str) -> None:
    with pytest.raises(BadData, match=rf"meta.mat: {message}"):
        read_devkit(kit(tmp_path, devkit(rows=rows)))


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file" * 20, meta(synsets())[:300], b"\x80\x04N."])
def test_a_damaged_list_of_synsets_is_bad_data(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BadData, match=r"devkit_t12.tar.gz: .*meta.mat: no list of synsets \("):
        read_devkit(kit(tmp_path, devkit(**{META: content})))


def test_a_list_of_synsets_by_another_name_is_bad_data(tmp_path: Path) -> None:
    stream = io.BytesIO()
    savemat(stream, {"others": np.zeros(3)})
    with pytest.raises(BadData, match=r"no list of synsets \(KeyError: 'synsets'\)"):
        read_devkit(kit(tmp_path, devkit(**{META: stream.getvalue()})))


def test_a_damaged_development_kit_is_bad_data(tmp_path: Path) -> None:
    for content in (b"", b"no archive", devkit()[: len(devkit()) // 2], tar({META: b""})):
        with pytest.raises(BadData, match=r"devkit_t12.tar.gz: damaged archive \(.*\); fetch it again"):
            read_devkit(kit(tmp_path, content))
    with pytest.raises(BadData, match=rf"the archive lacks {TRUTH}, {META}"):
        read_devkit(kit(tmp_path, tar({"other.txt": b""}, "w:gz")))
    with pytest.raises(BadData, match=r"its entry '../meta.mat' points outside the archive"):
        read_devkit(kit(tmp_path, devkit(**{"../meta.mat": b""})))


# ------------------------------------------------------------------ official or not


def test_missing_files_are_named_and_nothing_is_downloaded(tmp_path: Path) -> None:
    for read in (lambda: fetch("imagenet", dataset(), tmp_path), lambda: opened(tmp_path, unofficial=True)):
        with pytest.raises(BadData, match=rf"imagenet: {TRAIN}, {VALIDATION}, {DEVKIT} missing in {tmp_path}/imagenet"):
            read()
    assert not data_folder("imagenet", tmp_path).exists()
    assert not any(file.urls for file in dataset().files)


def opened(root: Path, *, unofficial: bool) -> Any:
    return open_dataset("imagenet", dataset(), root, unofficial=unofficial)


def test_generated_archives_are_not_official_and_run_where_accepted(tmp_path: Path) -> None:
    archives(tmp_path)
    assert fetch("imagenet", dataset(), tmp_path) == tmp_path / "imagenet"
    assert check_dataset("imagenet", dataset(), tmp_path).state == "unofficial"
    with pytest.raises(BadData, match="md5 published 1d675b47d978889d74fa0da5fadfb00e, found"):
        opened(tmp_path, unofficial=False)
    found = opened(tmp_path, unofficial=True)
    assert found.name.startswith("imagenet~")
    assert len(found.splits["train"]) == 6


def test_a_place_behind_the_name_is_refused() -> None:
    with pytest.raises(BadSetting, match="data set 'imagenet' takes nothing behind a colon; given: '/data'"):
        Imagenet(ImagenetSettings(), "/data")
    with pytest.raises(ValueError, match="is read from a folder; none was given"):
        dataset().load(None)
