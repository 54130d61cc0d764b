"""What a training step sees: views and rays drawn by (step, object), tokens, the foreground in the first epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from inrbench_trans_inr.seen_rays import Draw, Support, draw_rays
from inrbench_trans_inr.tokenizers import ViewTokenizer
from torch import Tensor

from inrbench import draws
from inrbench.cell_run import CellRun
from inrbench.domains import Rays
from inrbench.errors import BadSetting, Refused
from inrbench.signals import Part, PartSpec, SignalSpec

Fixture = Callable[..., Any]


def seen(fitter: Any, objects: Any, index: list[int], step: int, seed: int = 0) -> list[Tensor]:
    support, rays = fitter.drawn(objects["train"], np.array(index), step, CellRun(seed))
    return [support.colours, support.origins, support.directions, rays.origins, rays.directions, rays.values]


def same(one: list[Tensor], other: list[Tensor]) -> list[bool]:
    return [torch.equal(a, b) for a, b in zip(one, other, strict=True)]


def test_tokens_by_hand() -> None:
    tokenizer = ViewTokenizer((2, 4), 2, 36, unit_directions=False)
    colours, origins, directions = (torch.arange(48.0).reshape(1, 2, 2, 4, 3) + 100 * k for k in range(3))
    with torch.no_grad():
        tokenizer.linear.weight.copy_(torch.eye(36))
        tokenizer.linear.bias.zero_()
        found = tokenizer(colours, origins, directions)
    assert found.shape == (1, 4, 36)  # two views of two patches
    first, third = found[0, 0].reshape(2, 2, 9), found[0, 2].reshape(2, 2, 9)
    assert first[0, 0].tolist() == [0, 1, 2, 100, 101, 102, 200, 201, 202]
    assert first[1, 0, :3].tolist() == [12, 13, 14]  # the next row
    assert found[0, 1].reshape(2, 2, 9)[0, 1, :3].tolist() == [9, 10, 11]  # the patch to the right
    assert third[0, 0, :3].tolist() == [24, 25, 26]  # the second view


def test_directions_in_tokens_may_be_of_length_1() -> None:
    tokenizer = ViewTokenizer((1, 1), 1, 9, unit_directions=True)
    with torch.no_grad():
        tokenizer.linear.weight.copy_(torch.eye(9))
        tokenizer.linear.bias.zero_()
        colours, directions = torch.zeros(1, 1, 1, 1, 3), torch.tensor([0.0, 3.0, -4.0]).reshape(1, 1, 1, 1, 3)
        found = tokenizer(colours, 2.0 * directions, directions)
    torch.testing.assert_close(found[0, 0], torch.tensor([0, 0, 0, 0, 6, -8, 0, 0.6, -0.8]))


def test_contrast_moves_colours_away_from_the_background(objects: Fixture) -> None:
    part = objects()["train"].views(0, np.arange(2))
    plain, enlarged = (Support.of([part], "cpu", contrast) for contrast in (1.0, 5.0))
    np.testing.assert_array_equal(plain.colours[0].numpy(), part.unit_values())
    torch.testing.assert_close(1.0 - enlarged.colours, 5.0 * (1.0 - plain.colours))
    assert torch.equal(plain.origins, enlarged.origins)
    assert float(enlarged.colours.min()) < -1.0  # of a dark colour on white


def test_draws_are_keyed_by_step_and_object(build_views: Fixture, objects: Fixture) -> None:
    fitter, splits = build_views(), objects()
    first = seen(fitter, splits, [2, 5], 7)
    assert all(same(first, seen(fitter, splits, [2, 5], 7)))
    assert not any(same(first, seen(fitter, splits, [2, 5], 8)))
    assert not any(same(first, seen(fitter, splits, [2, 5], 7, seed=1)))
    for part, alone in zip(first, seen(fitter, splits, [5], 7), strict=True):
        assert torch.equal(part[1:], alone)


def test_a_step_compares_with_other_views_than_it_observes(objects: Fixture) -> None:
    train = objects()["train"]
    pairs = set()
    for step in range(40):
        support, query, places = Draw(2, 1, 20, False).of(train, 3, draws.generator(0, step))
        assert support.values.shape == (2, 8, 8, 3)
        assert query.values.shape == (1, 8, 8, 3)
        assert (places.min() >= 0, places.max() < 64, len(np.unique(places))) == (True, True, 20)
        centres = [tuple(one.domain.origins[:, 0, 0].sum(-1)) for one in (support, query)]
        assert not set(centres[0]) & set(centres[1])
        pairs.add((centres[0], centres[1]))
    assert len(pairs) > 20  # of 60


def test_rays_stand_beside_what_is_seen_along_them(build_views: Fixture, objects: Fixture) -> None:
    train = objects()["train"]
    _, rays = build_views().drawn(train, np.array([1]), 3, CellRun(0))
    whole = train.observed(1)[0]
    origins, directions = (array.reshape(-1, 3) for array in (whole.domain.origins, whole.domain.directions))
    found = (array[0].numpy() for array in (rays.origins, rays.directions, rays.values))
    for origin, direction, value in zip(*found, strict=True):
        (place,) = np.flatnonzero((origins == origin).all(-1) & (directions == direction).all(-1))
        np.testing.assert_array_equal(value, whole.unit_values().reshape(-1, 3)[place])


def dotted(points: list[int], background: float = 1.0) -> Part:
    """A view of 10 x 10 with something at ``points``."""
    values = np.full((100, 3), 255 if background else 0, dtype=np.uint8)
    values[points, 1] = 128
    zeros = np.zeros((1, 10, 10, 3), dtype=np.float32)
    return Part(Rays(zeros, zeros, 2.0, 6.0, background), values.reshape(1, 10, 10, 3), to_unit=(1 / 255, 0.0))


@pytest.mark.parametrize("background", [0.0, 1.0])
def test_half_of_the_rays_are_from_the_foreground(background: float) -> None:
    rng, shown = draws.generator(0), list(range(0, 100, 4))
    part, counts = dotted(shown, background), []
    for _ in range(50):
        places = draw_rays(part, 40, rng, foreground=True)
        assert np.isin(places[:20], shown).all()
        assert (len(np.unique(places[:20])), len(np.unique(places[20:]))) == (20, 20)
        counts.append(np.isin(places[20:], shown).sum())
    assert 4 < np.mean(counts) < 6  # a quarter of the others
    every = [np.isin(draw_rays(part, 40, rng, foreground=False), shown).sum() for _ in range(50)]
    assert 8 < np.mean(every) < 12


def test_a_small_foreground_is_drawn_more_than_once_and_none_not_at_all() -> None:
    rng = draws.generator(0)
    places = draw_rays(dotted([3, 7]), 40, rng, foreground=True)
    assert set(places[:20].tolist()) == {3, 7}
    assert len(np.unique(draw_rays(dotted([]), 40, rng, foreground=True))) == 40
    assert len(draw_rays(dotted([]), 130, rng, foreground=False)) == 130  # more than there are


def share_of_foreground(fitter: Any, train: Any, steps: range) -> float:
    index = np.arange(len(train))
    values = [fitter.drawn(train, index, step, CellRun(0))[1].values for step in steps]
    return float((torch.stack(values) < 1.0).any(-1).float().mean())


def test_the_first_epoch_looks_at_the_foreground(build_views: Fixture, objects: Fixture) -> None:
    train = objects()["train"]
    fitter, never = build_views(repeats=3), build_views(foreground_epochs=0.0)
    assert fitter.num_steps(8, 1.0) == 6  # three passes in batches of four
    first, later = share_of_foreground(fitter, train, range(6)), share_of_foreground(fitter, train, range(6, 12))
    assert first == pytest.approx(0.5 + 0.5 * later, abs=0.06)
    assert later < 0.45
    assert share_of_foreground(never, train, range(6)) < 0.45


def test_an_epoch_passes_so_often_over_the_objects(build_views: Fixture) -> None:
    train = {"steps": None, "epochs": 2.5}
    assert build_views(train=train).num_steps(8) == 5
    assert build_views(train=train, repeats=3).num_steps(8) == 15
    assert build_views(repeats=3).num_steps(8) == 6  # as many as are given


def test_too_few_views_are_refused_before_work_starts(build_views: Fixture, objects: Fixture) -> None:
    splits = objects()
    said = r"fitter\.support_views=5: with fitter\.query_views=2 a step needs 7 views of an object; signal 0 has 6"
    with pytest.raises(BadSetting, match=said):
        build_views(support_views=5, query_views=2).train(splits["train"], splits["train"], CellRun(0))


def test_what_gives_no_posed_views_is_refused(build_views: Fixture, images: Fixture, objects: Fixture) -> None:
    fitter = build_views()
    with pytest.raises(Refused, match="trains on posed views, which these signals do not give"):
        fitter.train(images(3), images(0), CellRun(0))
    with pytest.raises(Refused, match="there is no training signal"):
        fitter.train(objects()["train"].take(np.zeros(0, dtype=np.int64)), images(0), CellRun(0))
    spec = SignalSpec((PartSpec("grid", (8, 8), 2, 3),))
    with pytest.raises(Refused, match="takes views; this data set has signals on grid"):
        type(fitter)(fitter.settings, spec, fitter.field)


def test_patches_that_do_not_fill_a_view_are_refused(build_views: Fixture) -> None:
    with pytest.raises(BadSetting, match=r"fitter\.patch=3: it must divide both sides of views of 8 x 8"):
        build_views(patch=3)
