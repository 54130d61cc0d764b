"""Files of the user's own that are missing, empty, no clips, or cut off: one line each."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from inrbench_av.cut_off import missing_bytes
from inrbench_av.own_file import File
from inrbench_av.settings import ClipSettings

from inrbench.data import open_dataset
from inrbench.errors import BadData, BadSetting

Array = np.ndarray[Any, Any]
Write = Callable[..., Path]


def refused(path: Path) -> str:
    with pytest.raises(BadData) as caught:
        File(ClipSettings(), str(path)).spec()
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"file:{path}: ")
    return message.removeprefix(f"file:{path}: ")


def test_a_place_is_needed() -> None:
    with pytest.raises(BadSetting, match="data set 'file' needs a place, as in file:PATH; given: 'file'"):
        File(ClipSettings(), "")


def test_what_is_no_clip(tmp_path: Path) -> None:
    assert refused(tmp_path / "missing.wav") == "does not exist"
    assert refused(tmp_path) == "is not a file"
    (tmp_path / "empty.mp4").touch()
    assert refused(tmp_path / "empty.mp4") == "is empty"
    (tmp_path / "text.mp4").write_text("no film at all\n" * 100)
    assert refused(tmp_path / "text.mp4").startswith("not readable as sound or film (")


def whole_file(folder: Path, ending: str, film: Array, sound: Array, lossless: Write) -> Path:
    path = folder / f"whole.{ending}"
    if ending in ("wav", "flac", "ogg"):
        soundfile.write(path, np.repeat(sound, 4, axis=0), 8000)
        return path
    if ending == "mp4":
        with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
            for frame in np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), dtype=np.uint8):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode(None))
        return path
    return lossless(path, film, sound)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mkv", "mov", "avi", "mp4"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
def test_a_file_that_is_cut_off(
    tmp_path: Path, lossless: Write, film: Array, sound: Array, ending: str, share: float
) -> None:
    path = whole_file(tmp_path, ending, film, sound, lossless)
    content = path.read_bytes()
    assert missing_bytes(path) is None
    File(ClipSettings(), str(path)).load(None)  # the whole one is read
    part = tmp_path / f"part.{ending}"
    part.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BadData) as caught:
        File(ClipSettings(), str(part)).load(None)
    assert str(caught.value).startswith(f"file:{part}: ")
    assert "\n" not in str(caught.value)


def test_how_many_bytes_are_missing(tmp_path: Path, sound: Array) -> None:
    stream = io.BytesIO()
    soundfile.write(stream, sound, 8000, format="WAV")
    path = tmp_path / "a.wav"
    path.write_bytes(stream.getvalue()[:-100])
    assert missing_bytes(path) == 100
    assert refused(path) == "cut off, at least 100 bytes are missing at its end"
    unknown = bytearray(stream.getvalue()[:-100])
    unknown[4:8] = b"\xff\xff\xff\xff"  # as a pipe leaves it
    path.write_bytes(unknown)
    assert missing_bytes(path) is None


def test_the_last_page_of_an_ogg_file_must_be_there_whole(tmp_path: Path, lossless: Write, film: Array) -> None:
    sound = np.zeros((40_000, 1), dtype=np.int16)
    content = whole_file(tmp_path, "ogg", film, sound, lossless).read_bytes()
    path, last = tmp_path / "part.ogg", content.rfind(b"OggS")
    for end in (last, len(content) - 1):  # without its last page; one byte short of it
        path.write_bytes(content[:end])
        assert missing_bytes(path) == 1
    assert refused(path) == "cut off, at least 1 bytes are missing at its end"


def test_titles_may_be_in_any_encoding(tmp_path: Path, film: Array) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Qwertzuiop"
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = film.shape[1], film.shape[2], "bgr0"
        for frame in film:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    assert content.count(b"Qwertzuiop") == 1
    path.write_bytes(content.replace(b"Qwertzuiop", "Écoutez là".encode("latin-1")))
    (part,) = File(ClipSettings(), str(path)).load(None)["test"].observed(0)
    assert (part.values == film).all()


def test_damage_in_the_middle_never_breaks_out(tmp_path: Path, lossless: Write, film: Array, sound: Array) -> None:
    rng = np.random.default_rng(0)
    refusals = 0
    for ending in ("flac", "mkv", "mp4", "wav"):
        content = bytearray(whole_file(tmp_path, ending, film, sound, lossless).read_bytes())
        for trial in range(12):
            broken = bytearray(content)
            for place in rng.integers(0, len(content), 1 + 8 * trial):
                broken[place] = int(rng.integers(0, 256))
            path = tmp_path / f"broken.{ending}"
            path.write_bytes(broken)
            try:
                File(ClipSettings(), str(path)).load(None)
            except BadData as error:
                assert "\n" not in str(error)  # noqa: PT017
                refusals += 1
    assert refusals > 5


def test_the_checksum_is_that_of_the_file(tmp_path: Path, lossless: Write, film: Array) -> None:
    path = lossless(tmp_path / "a.mkv", film)
    one = open_dataset(f"file:{path}", File(ClipSettings(), str(path)), None, unofficial=False)
    assert one.official
    assert one.name == f"file:{path}"
    crop = open_dataset(f"file:{path}", File(ClipSettings(frames=2), str(path)), None, unofficial=False)
    assert crop.checksum == one.checksum  # which part was used stands in the settings and the scored hash
    lossless(path, film[::-1])
    assert open_dataset("x", File(ClipSettings(), str(path)), None, unofficial=False).checksum != one.checksum
