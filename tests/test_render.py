"""Pictures: where each pixel comes from, and what is said where there is nothing to show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inrbench import render as module
from inrbench.cell_run import CellRun
from inrbench.domains import Array, Domain, Grid
from inrbench.errors import BadSetting, InrbenchError, Refused
from inrbench.render import GAP, picture, render, write_files
from inrbench.representations import Layout, Representations
from inrbench.signals import Part


def test_originals_stand_above_reconstructions_with_white_gaps() -> None:
    originals = np.zeros((2, 64, 96, 3), dtype=np.float32)
    originals[1, ..., 0] = 1.0  # the second one is red
    reconstructions = np.full_like(originals, 0.5)
    pixels = picture(originals, [reconstructions], 1)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (2 * (64 + 2 * GAP), 2 * (96 + 2 * GAP), 3)
    upper, lower = np.split(pixels, 2)
    assert (upper[:GAP] == 255).all()
    assert (upper[:, 96 + GAP : 96 + 3 * GAP] == 255).all()
    assert (upper[GAP : GAP + 64, GAP : GAP + 96] == 0).all()
    assert (upper[GAP : GAP + 64, 96 + 3 * GAP : -GAP] == [255, 0, 0]).all()
    assert (lower[GAP : GAP + 64, GAP : GAP + 96] == 128).all()


def test_small_images_are_enlarged_without_smoothing() -> None:
    original = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1) / 3
    pixels = picture(original, [original], 1)
    assert pixels.shape == (2 * (64 + 2 * GAP), 64 + 2 * GAP, 3)
    inside = pixels[GAP : GAP + 64, GAP : GAP + 64]
    assert np.unique(inside).tolist() == [0, 85, 170, 255]
    assert (inside[:32, 32:] == 85).all()
    assert (inside[32:, :32] == 170).all()


def test_a_finer_query_is_as_large_as_its_enlarged_original() -> None:
    original = np.zeros((1, 32, 32, 1), dtype=np.float32)
    finer = np.zeros((1, 128, 128, 1), dtype=np.float32)
    finer[0, 0, 0] = 1.0
    pixels = picture(original, [finer], 4)
    assert pixels.shape == (2 * (128 + 2 * GAP), 128 + 2 * GAP, 3)
    lower = pixels[128 + 2 * GAP :]
    assert (lower[GAP, GAP] == 255).all()
    assert (lower[GAP + 1 : -GAP, GAP + 1 : -GAP] == 0).all()


def test_reconstructions_are_clamped() -> None:
    reconstruction = np.full((1, 64, 64, 1), -3.0, dtype=np.float32)
    reconstruction[:, 32:] = 7.0
    lower = np.split(picture(np.zeros_like(reconstruction), [reconstruction], 1), 2)[1]
    assert (lower[GAP : GAP + 32, GAP:-GAP] == 0).all()
    assert (lower[GAP + 32 : -GAP, GAP:-GAP] == 255).all()


RECORD: dict[str, Any] = {
    "cell": "siren+digits-smoke-s0",
    "status": "ok",
    "keys": {"train": "a", "fit": "b", "read": "c", "score": "d"},
}


@pytest.mark.parametrize("scale", [0, -1, 65])
def test_sizes_outside_of_what_is_allowed_are_refused(tmp_path: Path, scale: int) -> None:
    with pytest.raises(BadSetting, match=f"--size {scale}: allowed are 1x to 64x"):
        render(RECORD, scale=scale, out=tmp_path / "a.png")


def test_a_failed_cell_has_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"cell siren\+digits-smoke-s0 ended as 'crash': there is nothing to show"):
        render({**RECORD, "status": "crash"}, out=tmp_path / "a.png")


def test_a_missing_sample_says_how_to_make_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path))
    with pytest.raises(InrbenchError) as caught:
        render(RECORD, out=tmp_path / "a.png")
    message = (
        f"the sample of siren+digits-smoke-s0 is not kept in {tmp_path}; `inrbench run ... --rerun` makes it again"
    )
    assert str(caught.value) == message
    assert not (tmp_path / "a.png").exists()


def test_each_line_of_reconstructions_has_a_row() -> None:
    original = np.zeros((2, 64, 64, 1), dtype=np.float32)
    lines = [np.full_like(original, value) for value in (0.2, 0.6, 1.0)]
    rows = np.split(picture(original, lines, 1), 4)
    assert [int(row[GAP, GAP, 0]) for row in rows] == [0, 51, 153, 255]


class Slope:
    """Its three channels are time times what a row says; two are the picture's, one is the sound's."""

    asked: list[tuple[int, ...]]

    def query(self, rows: Representations, domain: Domain, run: CellRun) -> Iterator[Array]:
        assert isinstance(domain, Grid)
        self.asked.append(domain.shape)
        yield domain.coords()[None, ..., :1] * rows.arrays["slope"].reshape(-1, 1, 1, 1, 3)


def test_a_film_is_handed_over_in_blocks_that_are_queried_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_POINTS", 12)
    picture, sound = Grid.of(5, 2, 3), Grid.of(30, 1, 1)
    parts = (
        Part(picture, np.zeros((5, 2, 3, 2)), slice(0, 2), name="video"),
        Part(sound, np.zeros((30, 1, 1, 1)), slice(2, 3), name="audio"),
    )
    found: dict[str, list[Array]] = {}
    slope = Slope()

    def write(parts: Sequence[Part], predicted: Sequence[Iterator[Array]], folder: Path, stem: str) -> list[Path]:
        slope.asked = []
        found[stem] = []
        for blocks, wanted in zip(
            predicted, ([(2, 2, 3)] * 2 + [(1, 2, 3)], [(12, 1, 1)] * 2 + [(6, 1, 1)]), strict=True
        ):
            slope.asked.clear()
            first = next(blocks)
            assert slope.asked == wanted[:1]  # no block is queried before it is asked for
            found[stem].append(np.concatenate([first, *blocks]))
            assert slope.asked == wanted
        return [folder / f"{stem}.mp4"]

    slopes = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=np.float32)
    rows = Representations(
        Layout("weights", {"slope": (3,)}), {"slope": slopes}, np.array([4, 7]), np.zeros(2, np.int64)
    )
    entries: Any = SimpleNamespace(scored=lambda i: parts)
    writer: Any = SimpleNamespace(write=write)
    fitter: Any = slope
    paths = write_files(writer, fitter, rows, entries, tmp_path / "a.png", CellRun(0))
    assert paths == [tmp_path / "a-4.mp4", tmp_path / "a-7.mp4"]
    for row, stem in enumerate(found):
        video, audio = found[stem]
        np.testing.assert_allclose(video, picture.coords()[..., :1] * slopes[row, :2], atol=1e-6)
        np.testing.assert_allclose(audio, sound.coords()[..., :1] * slopes[row, 2:], atol=1e-6)
    assert write_files(writer, fitter, rows.take(slice(0, 1)), entries, tmp_path / "a.png", CellRun(0)) == [
        tmp_path / "a.mp4"
    ]
