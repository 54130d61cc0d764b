"""shape-views: the same pieces for everybody, seen from where the cameras say."""

from __future__ import annotations

import hashlib
import pickle
from typing import Any

import numpy as np
import pytest
from inrbench_scenes import shape_views
from inrbench_scenes.furniture import KINDS, piece
from inrbench_scenes.shape_views import FIRST_TEST, RenderedPieces, ShapeViews, ShapeViewsSettings
from inrbench_scenes.solids import cast

from inrbench import draws
from inrbench.data import open_dataset
from inrbench.errors import BadSetting
from inrbench.signals import PosedViews
from inrbench.views import ViewSignals

ALL = np.arange(25)


def made(**settings: Any) -> ShapeViews:
    return ShapeViews(ShapeViewsSettings(**{"train_objects": 6, "test_objects": 3, **settings}))


def split(name: str, **settings: Any) -> ViewSignals:
    found = made(**settings).load(None)[name]
    assert isinstance(found, ViewSignals)
    assert isinstance(found, PosedViews)
    return found


# ------------------------------------------------------------------ the same for everybody


def test_the_images_are_those_that_they_were() -> None:
    """Bit by bit, over versions of NumPy; a change of what is drawn or rendered belongs into a changelog."""
    whole = hashlib.sha256()
    for category in ("chairs", "tables", "lamps", "all"):
        pieces = RenderedPieces(ShapeViewsSettings(category=category))  # type: ignore[arg-type]
        for row in (0, 1, 2, FIRST_TEST):
            whole.update(np.ascontiguousarray(pieces.images(row, ALL)).tobytes())
    assert whole.hexdigest() == "6069cfd92a3c89b97cad51938b21b023ad674a5f6619984ce884960cfb7291bc"


def test_a_piece_does_not_depend_on_how_many_there_are() -> None:
    small, large = split("train"), split("train", train_objects=40)
    np.testing.assert_array_equal(small.observed(5)[0].values, large.observed(5)[0].values)
    small, large = split("test"), split("test", train_objects=40, test_objects=20)
    np.testing.assert_array_equal(small.observed(2)[0].values, large.observed(2)[0].values)


def test_pieces_and_cameras_differ() -> None:
    whole = split("train")
    images = np.stack([whole.observed(i)[0].values for i in range(6)])
    assert len(np.unique(images.reshape(6 * 25, -1), axis=0)) == 6 * 25
    origins = np.stack([whole.observed(i)[0].domain.origins[:, 0, 0] for i in range(6)])  # type: ignore[union-attr]
    assert len(np.unique(origins.reshape(-1, 3), axis=0)) == 6 * 25


def test_splits_share_no_piece() -> None:
    splits = made().load(None)
    assert not np.intersect1d(splits["train"].ids, splits["test"].ids).size


def test_another_process_renders_the_same() -> None:
    whole = split("train")
    first = whole.observed(3)[0].values
    again = pickle.loads(pickle.dumps(whole))
    np.testing.assert_array_equal(again.observed(3)[0].values, first)


def test_the_checksum_tells_what_is_made_and_makes_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[int] = []
    plain = RenderedPieces._rendered
    monkeypatch.setattr(RenderedPieces, "_rendered", lambda self, row: rendered.append(row) or plain(self, row))
    opened = open_dataset("shape-views", made(), None, unofficial=False)
    assert (rendered, opened.official, opened.name) == ([0], True, "shape-views")
    changes: list[dict[str, Any]] = [
        {"size": 16}, {"category": "all"}, {"views": 24}, {"around": "sphere"}, {"train_objects": 7},
        {"test_objects": 4}, {"directions": "unit"},
    ]  # fmt: skip
    checksums = {made(**change).made_of() for change in [{}, {"support_views": 2}, *changes]}
    assert len(checksums) == 1 + len(changes)
    assert opened.checksum in checksums
    monkeypatch.setattr(shape_views, "SEED", 1)
    assert made().made_of() not in checksums


# ------------------------------------------------------------------ what is seen


@pytest.mark.parametrize("around", ["hemisphere", "sphere"])
def test_cameras_look_at_the_centre_from_a_sphere_with_z_up(around: Any) -> None:
    poses = RenderedPieces(ShapeViewsSettings(around=around, views=400)).poses(7, np.arange(400))
    turn, centre = poses[:, :3, :3], poses[:, :3, 3]
    np.testing.assert_allclose(turn.transpose(0, 2, 1) @ turn, np.tile(np.eye(3), (400, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(turn), 1.0, atol=1e-12)
    np.testing.assert_allclose(centre, 4.0 * turn[:, :, 2], atol=1e-12)  # -z looks at the centre
    np.testing.assert_allclose(turn[:, 2, 0], 0.0, atol=1e-12)  # x is level
    assert (turn[:, 2, 1] > 0.0).all()  # y is up
    assert (centre[:, 2].min() < -3.5) == (around == "sphere")
    assert centre[:, 2].min() > 0.0 or around == "sphere"
    assert abs(centre[:, :2].mean(axis=0)).max() < 0.5


@pytest.mark.parametrize("directions", ["camera", "unit"])
def test_all_that_is_seen_lies_between_near_and_far(directions: Any) -> None:
    whole = split("train", category="all", directions=directions, size=24, views=8)
    shares = []
    for i in range(6):
        pieces = whole.objects
        assert isinstance(pieces, RenderedPieces)
        (part,) = whole.observed(i)
        rays: Any = part.domain
        colours, depths = cast(pieces.solids(i), rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3), 1.0)
        hit = np.isfinite(depths)
        assert (rays.near <= depths[hit].min(), depths[hit].max() <= rays.far, rays.background) == (True, True, 1.0)
        np.testing.assert_allclose(part.unit_values().reshape(-1, 3), colours, atol=0.5 / 255 + 1e-6)
        whole_images = hit.reshape(8, 24, 24)  # the piece, all of it
        assert not whole_images[:, [0, -1]].any()
        assert not whole_images[:, :, [0, -1]].any()
        shares.append(hit.mean())
    assert min(shares) > 0.02
    assert max(shares) < 0.6


def test_no_piece_is_as_white_as_the_background() -> None:
    whole = split("train", category="all", train_objects=30)
    for i in range(30):
        images = whole.observed(i)[0].values
        piece_pixels = images[(images != 255).any(axis=-1)]
        assert piece_pixels.min(axis=1).max() < 200  # Trans-INR tells a piece by a channel below 1


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_stand_within_the_unit_sphere(kind: str) -> None:
    for number in range(40):
        corners = np.array([one.bounds() for one in piece(kind, draws.generator(0, kind, number))])
        assert np.abs(corners).max() <= 1.0 + 1e-12
        high, low = corners[:, 1].max(axis=0), corners[:, 0].min(axis=0)
        assert np.linalg.norm(high - low) == pytest.approx(2.0)
        colours = np.array([one.colour for one in piece(kind, draws.generator(0, kind, number))])
        assert (colours.min(axis=1) <= 0.6 + 1e-12).all()


# ------------------------------------------------------------------ settings


def test_labels_tell_what_a_piece_is_where_there_are_several() -> None:
    splits = made(category="all").load(None)
    assert splits["train"].labels is not None
    assert splits["train"].labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert splits["test"].labels is not None
    assert sorted(splits["test"].labels.tolist()) == [0, 1, 2]
    spec = made(category="all").spec()
    assert (spec.num_classes, spec.class_names) == (3, ("chair", "table", "lamp"))
    assert made().spec().num_classes is None
    assert made().load(None)["train"].labels is None


def test_the_spec_is_what_is_loaded() -> None:
    dataset = made(size=20, query_views=2, episodes=4)
    spec, splits = dataset.spec(), dataset.load(None)
    (part,) = spec.parts
    assert (part.domain, part.shape, part.coord_dim, part.channels) == ("rays", (2, 20, 20), 3, 3)
    assert splits["test"].scored(0)[0].values.shape == (2, 20, 20, 3)
    assert splits["test"].observed(0)[0].values.shape == (1, 20, 20, 3)
    assert splits["train"].observed(0)[0].values.shape == (25, 20, 20, 3)
    assert spec.sizes == {"train": len(splits["train"]), "test": len(splits["test"]) // 4}


def test_more_views_than_there_are_are_refused() -> None:
    with pytest.raises(BadSetting) as caught:
        made(views=3, support_views=3)
    assert str(caught.value) == (
        "setting data.views=3: an episode needs 3 to observe and 1 to be scored on (data.support_views, "
        "data.query_views)"
    )
