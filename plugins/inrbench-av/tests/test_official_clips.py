"""The clips that SIREN and NeoMLP fit: what is said of them without the files holds for the real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from inrbench_av.files import probe
from inrbench_av.official import Bach, BigBuckBunny, Bikes
from inrbench_av.settings import BigBuckBunnySettings, FilmSettings, SoundSettings

from inrbench.cells import build_dataset
from inrbench.data import check_dataset, open_dataset
from inrbench.errors import BadData
from inrbench.registry import registry
from inrbench.settings import load_target, validated
from inrbench.signals import Part

CLIPS: dict[str, Any] = {
    "bach": Bach(SoundSettings()),
    "bikes": Bikes(FilmSettings()),
    "bigbuckbunny": BigBuckBunny(BigBuckBunnySettings()),
}


def opened(root: Path, name: str, **settings: Any) -> dict[str, Part]:
    plugin = registry().find("dataset", name)
    model = validated(load_target(plugin.settings, name), settings, "data")
    found = open_dataset(name, build_dataset(plugin, name, model), root, unofficial=False, download=False)
    assert (found.name, found.official, [*found.splits]) == (name, True, ["test"])
    return {part.name: part for part in found.splits["test"].observed(0)}


def test_the_papers_counts_are_known_without_the_data() -> None:
    points = {name: [int(np.prod(part.shape)) for part in clip.spec().parts] for name, clip in CLIPS.items()}
    assert points == {"bach": [308_207], "bikes": [43_520_000], "bigbuckbunny": [30_412_800, 254_976]}
    shape = {name: (clip.spec().coord_dim, clip.spec().channels) for name, clip in CLIPS.items()}
    assert shape == {"bach": (1, 1), "bikes": (3, 3), "bigbuckbunny": (3, 9)}


@pytest.mark.parametrize("name", CLIPS)
def test_the_files_are_the_published_ones(name: str, real_data_root: Path) -> None:
    """They lie in `audio` and `video` below the data root, which data sets share."""
    assert check_dataset(name, CLIPS[name], real_data_root).state == "official"
    (file,) = CLIPS[name].files
    path = file.locate(real_data_root / name)
    assert path is not None
    assert path.stat().st_size == file.size_bytes
    assert probe(path, name) == CLIPS[name].facts


def test_bach(real_data_root: Path) -> None:
    part = opened(real_data_root, "bach")["audio"]
    assert (part.values.shape, part.values.dtype) == ((308_207, 1), np.float32)
    assert np.abs(part.values).max() == 0.5 / part.to_unit[0]
    unit = part.unit_values()
    assert (unit.min() >= 0.0, unit.max() <= 1.0, max(unit.max(), 1 - unit.min())) == (True, True, 1.0)
    second = opened(real_data_root, "bach", start=2.0, stop=3.0)["audio"]
    assert (second.values == part.values[88_200:132_300]).all()


def test_frames_of_bikes(real_data_root: Path) -> None:
    part = opened(real_data_root, "bikes", start=4.0, frames=3, shrink=2, height=100, width=200)["video"]
    assert (part.values.shape, part.values.dtype) == ((3, 100, 200, 3), np.uint8)
    whole = opened(real_data_root, "bikes", frames=103)["video"]
    assert whole.values.shape == (103, 272, 640, 3)
    mean = whole.values[100:].reshape(3, 136, 2, 320, 2, 3).mean(axis=(2, 4))
    assert (part.values == np.floor(mean + 0.5)[:, 18:118, 60:260]).all()


def test_big_buck_bunny_has_picture_and_sound(real_data_root: Path) -> None:
    found = opened(real_data_root, "bigbuckbunny", frames=10)
    assert found["video"].values.shape == (10, 360, 640, 3)
    assert found["audio"].values.shape == (19_200, 1, 1, 6)  # 10 frames at 25 a second, 48 kHz
    alone = opened(real_data_root, "bigbuckbunny", parts="audio")["audio"]
    assert alone.values.shape == (254_976, 6)
    assert (alone.values[:19_200] == found["audio"].values[:, 0, 0]).all()


def test_another_clip_in_its_place_is_bad_data(tmp_path: Path, real_data_root: Path) -> None:
    folder = tmp_path / "bikes"
    folder.mkdir()
    (folder / "bikes.mp4").write_bytes((real_data_root / "video" / "bigbuckbunny.mp4").read_bytes())
    with pytest.raises(BadData, match=r"bikes\.mp4 is not the official file: sha256 published 91028f"):
        open_dataset("bikes", CLIPS["bikes"], tmp_path, unofficial=False)
    with pytest.raises(BadData, match=r"frame 0 has 720 x 1280 pixels; the clip has 272 x 640"):
        open_dataset("bikes", CLIPS["bikes"], tmp_path, unofficial=True)
    (tmp_path / "bach").mkdir()
    soundfile.write(tmp_path / "bach" / "gt_bach.wav", np.zeros((400_000, 2)), 48_000)
    with pytest.raises(BadData, match=r"has 2 channels of 48000 samples a second; the clip has 1 of 44100"):
        open_dataset("bach", CLIPS["bach"], tmp_path, unofficial=True)
    (tmp_path / "bach" / "gt_bach.wav").unlink()
    with pytest.raises(BadData, match=r"bach: gt_bach\.wav missing in .*bach; `inrbench data fetch bach` downloads"):
        open_dataset("bach", CLIPS["bach"], tmp_path, unofficial=True, download=False)
