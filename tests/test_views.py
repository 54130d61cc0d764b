"""Views: rays worked out by hand, and episodes that never see what they are scored on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from inrbench import draws
from inrbench.domains import Array, Rays
from inrbench.errors import BadData
from inrbench.signals import EpisodicSignals, PosedViews, num_signals
from inrbench.views import Cameras, DrawnEpisodes, EpisodeSettings, FixedEpisode, ViewSignals, focal_of, rays_of

CAMERAS = Cameras(near=2.0, far=6.0)


def poses(count: int, seed: int = 0) -> Array:
    """Turned and moved anywhere: columns of the turn are orthonormal."""
    rng = np.random.default_rng(seed)
    found = np.tile(np.eye(4), (count, 1, 1))
    found[:, :3, :3] = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0]
    found[:, :3, 3] = rng.normal(size=(count, 3))
    return found


class Numbered:
    """Image v of object r is the grey 10 r + v, and its camera stands at x = v."""

    size = (2, 2)

    def __init__(self, num_views: int = 6) -> None:
        self.count = num_views

    def num_views(self, row: int) -> int:
        return self.count

    def images(self, row: int, views: Array) -> Array:
        return np.broadcast_to((10 * row + views)[:, None, None, None], (len(views), 2, 2, 3)).astype(np.uint8)

    def poses(self, row: int, views: Array) -> Array:
        found = np.tile(np.eye(4), (len(views), 1, 1))
        found[:, 0, 3] = views
        return found

    def focal(self, row: int) -> float:
        return 1.0


def signals(count: int = 3, parted: Any = None, num_views: int = 6) -> ViewSignals:
    rows, ids = np.arange(count), np.arange(count) + 50
    return ViewSignals(Numbered(num_views), rows, ids, rows % 2, CAMERAS, parted or DrawnEpisodes())


def seen(part: Any) -> list[int]:
    """Which views a part holds, by their images; checks that the cameras are theirs."""
    greys = part.values[:, 0, 0, 0] % 10
    np.testing.assert_array_equal(part.domain.origins[:, 0, 0, 0], greys)
    return [int(grey) for grey in greys]


# ------------------------------------------------------------------ rays


def test_the_middle_pixel_looks_along_minus_z_of_its_camera() -> None:
    turned = poses(4)
    rays = rays_of(turned, 3.0, (5, 7), CAMERAS)
    assert rays.shape == (4, 5, 7)
    np.testing.assert_allclose(rays.directions[:, 2, 3], -turned[:, :3, 2], atol=1e-6)
    np.testing.assert_allclose(rays.origins[:, 4, 6], turned[:, :3, 3], atol=1e-6)
    assert (rays.near, rays.far, rays.background) == (2.0, 6.0, 1.0)


def test_corner_pixels_by_hand() -> None:
    """Two pixels at a field of view of 90 degrees: their centres are half way to its border, which is at 1."""
    focal = focal_of(math.pi / 2, 2)
    assert focal == pytest.approx(1.0)
    rays = rays_of(np.eye(4)[None], focal, (2, 2), CAMERAS)
    expected = [[[-0.5, 0.5, -1.0], [0.5, 0.5, -1.0]], [[-0.5, -0.5, -1.0], [0.5, -0.5, -1.0]]]
    np.testing.assert_allclose(rays.directions[0], expected, atol=1e-7)


def test_a_turned_camera_turns_its_rays() -> None:
    """x is to the right, y up: a camera that looks along +x with z up sees +y on its left."""
    pose = np.eye(4)
    pose[:3, :3] = np.stack([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]], axis=1)
    rays = rays_of(pose[None], 1.0, (2, 2), CAMERAS)
    np.testing.assert_allclose(rays.directions[0, 0, 0], [1.0, 0.5, 0.5], atol=1e-7)


def test_camera_directions_have_depth_one_and_unit_directions_length_one() -> None:
    turned = poses(3)
    camera = rays_of(turned, 2.5, (4, 6), CAMERAS)
    depth = -np.einsum("vhwi,vi->vhw", camera.directions.astype(np.float64), turned[:, :3, 2])
    np.testing.assert_allclose(depth, 1.0, atol=1e-6)
    unit = rays_of(turned, 2.5, (4, 6), Cameras(2.0, 6.0, directions="unit"))
    np.testing.assert_allclose(np.linalg.norm(unit.directions, axis=-1), 1.0, atol=1e-6)
    lengths = np.linalg.norm(camera.directions, axis=-1, keepdims=True)
    assert lengths.min() > 1.001
    np.testing.assert_allclose(camera.directions / lengths, unit.directions, atol=1e-6)


def test_finer_rays_are_of_the_same_camera() -> None:
    whole = signals().as_episodes()
    (part,) = whole.scored(0)
    fine = whole.finer(0, 3)
    assert fine.shape == (1, 6, 6)
    means = fine.directions.reshape(1, 2, 3, 2, 3, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(means, part.domain.directions, atol=1e-6)  # type: ignore[union-attr]


def test_rays_by_view_are_the_rays() -> None:
    rays = rays_of(poses(3), 2.0, (2, 4), CAMERAS)
    single = list(rays.by_view())
    assert [one.shape for one in single] == [(1, 2, 4)] * 3
    np.testing.assert_array_equal(np.concatenate([one.directions for one in single]), rays.directions)
    np.testing.assert_array_equal(np.concatenate([one.origins for one in single]), rays.origins)
    assert {(one.near, one.far, one.background) for one in single} == {(2.0, 6.0, 1.0)}
    assert isinstance(single[0], Rays)
    assert rays.num_points == 24


# ------------------------------------------------------------------ entries


def test_a_training_entry_observes_and_scores_all_views() -> None:
    whole = signals()
    assert isinstance(whole, PosedViews)
    assert isinstance(whole, EpisodicSignals)
    assert seen(whole.observed(1)[0]) == seen(whole.scored(1)[0]) == list(range(6))
    assert whole.num_views(1) == 6
    assert seen(whole.views(1, np.array([4, 0]))) == [4, 0]
    assert whole.stacked() is None
    np.testing.assert_allclose(whole.observed(2)[0].unit_values()[3, 0, 0, 0], 23 / 255, atol=1e-7)


def test_an_episode_hides_what_it_is_scored_on() -> None:
    parted = DrawnEpisodes(count=5, support_views=2, query_views=3)
    whole = signals(parted=parted).as_episodes()
    for i in range(len(whole)):
        support, query = seen(whole.observed(i)[0]), seen(whole.scored(i)[0])
        assert (len(set(support)), len(set(query)), len({*support, *query})) == (2, 3, 5)
        assert whole.num_views(i) == 2
        assert seen(whole.views(i, np.array([1, 0]))) == support[::-1]  # of what it observes, never of the rest
        with pytest.raises(IndexError):
            whole.views(i, np.array([2]))


def test_each_signal_is_listed_as_often_as_it_has_episodes() -> None:
    whole = signals(parted=DrawnEpisodes(count=4)).as_episodes()
    assert whole.ids.tolist() == [50] * 4 + [51] * 4 + [52] * 4
    assert whole.labels is not None
    assert whole.labels.tolist() == [0] * 4 + [1] * 4 + [0] * 4
    assert (len(whole), num_signals(whole)) == (12, 3)
    assert whole.unlabelled().labels is None
    assert whole.as_episodes() is whole


def test_episodes_are_told_by_signal_and_number_alone() -> None:
    whole = signals(9, DrawnEpisodes(count=6)).as_episodes()
    drawn = [(seen(whole.observed(i)[0]), seen(whole.scored(i)[0])) for i in range(len(whole))]
    assert len({str(one) for one in drawn}) > 15  # of 30 pairs of 6 views
    some = whole.take(np.array([30, 7]))
    assert [(seen(some.observed(i)[0]), seen(some.scored(i)[0])) for i in range(2)] == [drawn[30], drawn[7]]
    order = draws.generator(DrawnEpisodes().seed, "episode", 51, 1).permutation(6)
    assert drawn[7] == ([order[1]], [order[0]])


def test_more_support_views_are_scored_on_the_same_views() -> None:
    one, two = (signals(5, DrawnEpisodes(count=3, support_views=n)).as_episodes() for n in (1, 2))
    for i in range(len(one)):
        assert seen(one.scored(i)[0]) == seen(two.scored(i)[0])
        assert seen(one.observed(i)[0]) == seen(two.observed(i)[0])[:1]


def test_a_fixed_episode_observes_all_that_is_not_held_out() -> None:
    whole = signals(1, FixedEpisode((0, 3))).as_episodes()
    assert (len(whole), seen(whole.observed(0)[0]), seen(whole.scored(0)[0])) == (1, [1, 2, 4, 5], [0, 3])


def test_too_few_views_are_said() -> None:
    settings = EpisodeSettings(support_views=2, query_views=2)
    with pytest.raises(BadData) as caught:
        signals(1, DrawnEpisodes.of(settings), num_views=3).as_episodes().observed(0)
    assert str(caught.value) == (
        "signal 50 has 3 views, and an episode needs 2 to observe and 2 to be scored on: data.support_views + "
        "data.query_views may be up to 3"
    )
