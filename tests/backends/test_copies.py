"""Augmented copies of images: each transform against a case made by hand or computed another way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from inrbench import draws
from inrbench.backends.torch.copies import augment
from inrbench.settings import Augmentation


class Fixed:
    """In place of a generator: gives what it was told, call by call."""

    def __init__(self, *integers: list[int], random: list[float] | None = None, uniform: list[Any] | None = None):
        self.drawn, self.mirrored, self.placed = list(integers), random, uniform or []

    def integers(self, low: int, high: Any, size: Any = None) -> np.ndarray:
        shape = np.shape(high) if size is None else size
        given = np.array(self.drawn.pop(0)).reshape(shape)
        assert (given >= low).all()
        assert (given < high).all()
        return given

    def uniform(self, low: float, high: float, size: Any) -> np.ndarray:
        given = np.array(self.placed.pop(0), dtype=np.float64).reshape(size)
        assert (given >= low).all()
        assert (given <= high).all()
        return given

    def random(self, size: int) -> np.ndarray:
        assert self.mirrored is not None
        return np.array(self.mirrored).reshape(size)


def made(images: Tensor, settings: Augmentation, drawn: Fixed) -> Tensor:
    return augment(images, settings, drawn)  # type: ignore[arg-type]


def pictures(count: int = 1) -> Tensor:
    """[count, 3, 4, 1]: 0 1 2 3 / 4 5 6 7 / 8 9 10 11."""
    return torch.arange(12.0).reshape(1, 3, 4, 1).repeat(count, 1, 1, 1)


def noise(count: int, height: int, width: int, channels: int = 3) -> Tensor:
    return torch.as_tensor(draws.generator(0, "noise").random((count, height, width, channels), dtype=np.float32))


def ramps(count: int, height: int, width: int) -> Tensor:
    """[count, height, width, 2]: each pixel's row and column."""
    rows, columns = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return torch.stack([rows, columns], dim=-1).repeat(count, 1, 1, 1)


# ------------------------------------------------------------------ whole pixels


@pytest.mark.parametrize(
    ("top", "left", "expected"),
    [
        (1, 1, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]),
        (0, 1, [[4, 5, 6, 7], [0, 1, 2, 3], [4, 5, 6, 7]]),
        (2, 1, [[4, 5, 6, 7], [8, 9, 10, 11], [4, 5, 6, 7]]),
        (1, 0, [[1, 0, 1, 2], [5, 4, 5, 6], [9, 8, 9, 10]]),
        (1, 2, [[1, 2, 3, 2], [5, 6, 7, 6], [9, 10, 11, 10]]),
    ],
)
def test_a_crop_of_the_reflected_image_is_that_made_by_hand(top: int, left: int, expected: list[list[int]]) -> None:
    found = made(pictures(), Augmentation(pad=1), Fixed([top], [left]))
    assert found[0, :, :, 0].int().tolist() == expected


def test_each_image_is_cropped_at_a_place_of_its_own() -> None:
    found = made(pictures(3), Augmentation(pad=1), Fixed([0, 1, 2], [1, 1, 1]))
    assert [image[0, 0, 0].item() for image in found] == [4.0, 0.0, 4.0]
    assert [image[2, 0, 0].item() for image in found] == [4.0, 8.0, 4.0]


def test_an_image_is_mirrored_left_and_right() -> None:
    found = made(pictures(2), Augmentation(flip=True), Fixed(random=[0.1, 0.9]))
    assert found[0, :, :, 0].int().tolist() == [[3, 2, 1, 0], [7, 6, 5, 4], [11, 10, 9, 8]]
    assert found[1].equal(pictures()[0])


def test_channels_stay_together() -> None:
    image = torch.stack([pictures()[..., 0], 100 + pictures()[..., 0]], dim=-1)
    found = made(image, Augmentation(pad=1, flip=True), Fixed([0], [2], random=[0.0]))
    assert found.shape == (1, 3, 4, 2)
    assert (found[..., 1] - found[..., 0] == 100).all()


def test_without_augmentation_the_images_are_handed_on() -> None:
    images = pictures(2)
    assert augment(images, Augmentation(), draws.generator(0, "copies")).equal(images)


def test_the_centre_of_a_padded_image_is_the_image_itself() -> None:
    assert made(pictures(2), Augmentation(pad=2, crop="centre"), Fixed()).equal(pictures(2))


def test_copies_come_from_their_generator_and_mirror_half() -> None:
    settings = Augmentation(pad=1, flip=True)
    one, again, other = (augment(pictures(400), settings, draws.generator(seed, "copies", 3)) for seed in (0, 0, 1))
    assert one.equal(again)
    assert not one.equal(other)
    mirrored = (one[:, 0, 1, 0] > one[:, 0, 2, 0]).float().mean()  # holds at every place of the crop
    assert float(mirrored) == pytest.approx(0.5, abs=0.1)


def test_shapes_in_annotations_are_checked_in_tests() -> None:
    with pytest.raises(TypeCheckError, match="images"):
        augment(torch.zeros(3, 4, 1), Augmentation(), draws.generator(0, "copies"))


# ------------------------------------------------------------------ turned


@pytest.mark.parametrize("side", [7, 8])
@pytest.mark.parametrize("turns", [-1, 1, 2])
@pytest.mark.parametrize("pad", [0, 3])
def test_a_right_angle_turns_a_square_as_a_permutation_does(side: int, turns: int, pad: int) -> None:
    images = noise(2, side, side)
    settings = Augmentation(pad=pad, rotate=180.0, crop="centre")
    found = made(images, settings, Fixed(uniform=[[turns * np.pi / 2] * 2]))
    torch.testing.assert_close(found, torch.rot90(images, turns, (1, 2)), atol=2e-6, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(9, 14), (10, 10), (1, 6)])
@pytest.mark.parametrize("channels", [1, 3])
def test_no_angle_and_the_whole_area_leave_the_image(height: int, width: int, channels: int) -> None:
    images = noise(2, height, width, channels)
    turned = made(images, Augmentation(rotate=30.0), Fixed(uniform=[[0.0, 0.0]]))
    torch.testing.assert_close(turned, images, atol=2e-6, rtol=0)
    ratio = np.zeros(2)  # its logarithm; a whole image of another shape than a square is forced to its own ratio
    resized = made(images, Augmentation(resized_crop=0.5), Fixed([0, 0], [0, 0], uniform=[[1.0, 1.0], ratio]))
    torch.testing.assert_close(resized, images, atol=2e-6, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(40, 40), (30, 44)])
def test_a_linear_ramp_stays_linear_under_the_whole_map(height: int, width: int) -> None:
    settings = Augmentation(pad=8, rotate=30.0, crop="centre", resized_crop=0.8, flip=True)
    count = 20
    images = ramps(count, height, width) / 50.0
    found = augment(images, settings, draws.generator(0, "copies"))
    rows, columns = torch.meshgrid(torch.linspace(-1.0, 1.0, height), torch.linspace(-1.0, 1.0, width), indexing="ij")
    middle = (slice(height // 3, -(height // 3)), slice(width // 3, -(width // 3)))  # turned, never past an edge
    design = torch.stack([torch.ones_like(rows), rows, columns], dim=-1)[middle].reshape(-1, 3).double()
    values = found[:, middle[0], middle[1]].permute(1, 2, 0, 3).reshape(len(design), -1).double()
    plane = torch.linalg.lstsq(design, values).solution
    torch.testing.assert_close(design @ plane, values, atol=1e-5, rtol=0)
    assert (plane[1:].reshape(2, count, 2).std(dim=1) > 1e-3).all()  # each image has a map of its own


def test_turning_shows_reflected_content_up_to_the_frame_and_black_beyond() -> None:
    side, pad = 20, 2
    settings = Augmentation(pad=pad, rotate=45.0, crop="centre")
    found = made(torch.ones(1, side, side, 1), settings, Fixed(uniform=[np.pi / 4]))
    rows, columns = np.meshgrid(*(2 * [np.arange(side) - (side - 1) / 2]), indexing="ij")
    inside = (abs(rows + columns) <= np.sqrt(2) * (side / 2 + pad)) & (
        abs(rows - columns) <= np.sqrt(2) * (side / 2 + pad)
    )
    assert found[0, ..., 0].bool().numpy().tolist() == inside.tolist()
    assert not inside[0, 0]
    assert inside[0, 4]  # without padding it would be black
    assert found[0, ..., 0].numpy()[inside] == pytest.approx(1.0, abs=1e-6)


def step_by_step(
    image: np.ndarray, pad: int, angle: float, shift: tuple[int, int], box: tuple[int, int, int, int]
) -> np.ndarray:
    """The padded image at the places that its turned, cropped and resized copy looks up, by SciPy."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    first_row, tall, first_column, wide = box
    rows = np.clip((np.arange(height) + 0.5) * tall / height - 0.5, 0, tall - 1) + first_row + shift[0]
    columns = np.clip((np.arange(width) + 0.5) * wide / width - 0.5, 0, wide - 1) + first_column + shift[1]
    y, x = np.meshgrid(rows, columns, indexing="ij")
    middle = complex((padded.shape[1] - 1) / 2, (padded.shape[0] - 1) / 2)
    turned = np.exp(1j * angle) * (x + 1j * y - middle) + middle
    places = np.stack([turned.imag, turned.real])
    frame = np.array(padded.shape[:2])[:, None, None] - 0.5
    inside = ((places >= -0.5) & (places <= frame)).all(axis=0)
    planes = [ndimage.map_coordinates(plane, places, order=1, mode="nearest") for plane in np.moveaxis(padded, -1, 0)]
    return np.stack(planes, axis=-1) * inside[..., None]


@pytest.mark.parametrize(
    ("height", "width", "channels", "tall", "wide"),  # boxes of 0.81 of the area; 1.1 fits as their ratio or is forced
    [(24, 24, 3, 21, 23), (16, 29, 1, 16, 23), (29, 16, 3, 23, 16)],
)
@pytest.mark.parametrize("angle", [-0.5, 0.3])
@pytest.mark.parametrize("crop", ["random", "centre"])
def test_the_one_sampling_is_the_sequence_of_the_steps(
    height: int, width: int, channels: int, tall: int, wide: int, angle: float, crop: Any
) -> None:
    image, pad = noise(1, height, width, channels), 5
    top, left = (7, 2) if crop == "random" else (pad, pad)
    first = (height - tall, (width - wide) // 2)
    drawn = Fixed(
        *([[top - pad], [left - pad]] if crop == "random" else []),
        [first[0]],
        [first[1]],
        uniform=[[angle], [0.81], [np.log(1.1)]],
        random=[0.2],
    )
    settings = Augmentation(pad=pad, rotate=30.0, crop=crop, resized_crop=0.8, flip=True)
    box = (first[0], tall, first[1], wide)
    expected = step_by_step(image[0].double().numpy(), pad, angle, (top, left), box)[:, ::-1]
    found = made(image, settings, drawn)[0].double().numpy()
    assert found == pytest.approx(expected, abs=1e-4)


# ------------------------------------------------------------------ cut out and resized


@pytest.mark.parametrize(
    ("height", "width", "share", "tall", "wide"), [(20, 20, 0.9, 18, 20), (18, 25, 0.8, 18, 20), (25, 18, 0.8, 20, 18)]
)
def test_a_resized_crop_is_the_crop_that_pytorch_resizes(
    height: int, width: int, share: float, tall: int, wide: int
) -> None:
    images, top, left = noise(1, height, width), height - tall, (width - wide) // 2
    drawn = Fixed([top], [left], uniform=[[share], [np.log(wide / tall)]])
    found = made(images, Augmentation(resized_crop=0.5), drawn)
    box = images[:, top : top + tall, left : left + wide].movedim(-1, 1)
    expected = functional.interpolate(box, (height, width), mode="bilinear", align_corners=False).movedim(1, -1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(100, 100), (60, 150)])
def test_areas_are_uniform_ratios_log_uniform_and_places_anywhere(height: int, width: int) -> None:
    least = 0.3
    found = augment(ramps(400, height, width), Augmentation(resized_crop=least), draws.generator(0, "copies")).numpy()
    row, column = height // 2, width // 2  # the slopes of the ramps give the sides of the boxes
    tall = (found[:, row + 1, column, 0] - found[:, row, column, 0]) * height
    wide = (found[:, row, column + 1, 1] - found[:, row, column, 1]) * width
    share = tall * wide / (height * width)
    assert ((share > least - 0.02) & (share < 1.001)).all()
    assert np.quantile(share, np.linspace(0.1, 0.9, 9)) == pytest.approx(np.linspace(least, 1.0, 11)[1:-1], abs=0.06)
    top, left = found[:, 0, 0].T
    assert ((top >= -1e-3) & (top + tall <= height + 0.1) & (left >= -1e-3) & (left + wide <= width + 0.1)).all()
    room = np.concatenate([height - tall, width - wide])
    places = np.concatenate([top, left])[room > 10] / room[room > 10]
    assert np.quantile(places, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.06)
    if height == width:
        ratio = np.log(wide / tall)[share < 0.7]  # up to 3/4 of a square's area any ratio fits
        assert (abs(ratio) < np.log(4 / 3) + 0.02).all()
        expected = np.log(4 / 3) * np.array([-0.5, 0.0, 0.5])
        assert np.quantile(ratio, [0.25, 0.5, 0.75]) == pytest.approx(expected, abs=0.06)


# ------------------------------------------------------------------ all together


@pytest.mark.parametrize("channels", [1, 3])
def test_the_recipe_for_photographs_comes_from_its_generator_and_differs_between_images(channels: int) -> None:
    settings = Augmentation(pad=6, rotate=30.0, crop="centre", resized_crop=0.8, flip=True)
    images = noise(1, 24, 32, channels).repeat(8, 1, 1, 1)
    one, again, other = (augment(images, settings, draws.generator(seed, "copies", 3)) for seed in (0, 0, 1))
    assert one.shape == images.shape
    assert one.equal(again)
    assert not one.equal(other)
    assert all(not one[i].equal(one[j]) for i in range(8) for j in range(i))


def test_half_of_the_turned_and_resized_copies_are_mirrored() -> None:
    settings = Augmentation(pad=4, rotate=30.0, crop="centre", resized_crop=0.8, flip=True)
    found = augment(ramps(400, 16, 16), settings, draws.generator(0, "copies"))
    mirrored = (found[:, 8, 7, 1] > found[:, 8, 8, 1]).float().mean()
    assert float(mirrored) == pytest.approx(0.5, abs=0.1)
