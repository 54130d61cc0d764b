"""Keyed draws: the same key gives the same numbers, and only the same key does."""

from __future__ import annotations

import numpy as np
import pytest

from inrbench import draws


def test_the_same_key_gives_the_same_numbers() -> None:
    first, second = (draws.generator(3, "order", 7).random(5) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_draws_are_the_same_on_every_machine_and_in_every_version() -> None:
    assert draws.number(0, "order", 1) == 0x2CB5ADA408258AE8EBE4DE6FCE69B6AC
    assert draws.generator(0, "order", 1).permutation(8).tolist() == [4, 6, 1, 2, 3, 5, 0, 7]


PURPOSES: list[tuple[object, ...]] = [
    (),
    ("a",),
    ("b",),
    ("a", "b"),
    ("b", "a"),
    ("ab",),
    ("a b",),
    ("1",),
    (1,),
    (-1,),
    (1, 1),
    (11,),
    ("a", 1),
    ("a", "1"),
    ("a1",),
]


def test_other_seeds_and_purposes_give_other_numbers() -> None:
    numbers = {draws.number(seed, *purpose) for seed in range(3) for purpose in PURPOSES}
    assert len(numbers) == 3 * len(PURPOSES)


def test_a_string_that_looks_like_the_code_of_an_integer_is_another_purpose() -> None:
    assert draws.number(0, "#1") != draws.number(0, 1)
    assert draws.number(0, "a\x1fb") != draws.number(0, "a", "b")


def test_numpys_integers_are_pythons() -> None:
    for kind in (np.int64, np.int32, np.uint8):
        assert draws.number(5, "order", kind(7)) == draws.number(5, "order", 7)


@pytest.mark.parametrize("part", [1.0, np.float64(2.0), None, b"a", (1,)], ids=repr)
def test_only_strings_and_integers_key_a_draw(part: object) -> None:
    with pytest.raises(TypeError, match=f"keyed by strings and integers, not {type(part).__name__}"):
        draws.number(0, "order", part)


def test_draws_do_not_depend_on_the_order_they_are_asked_for() -> None:
    forwards = [draws.generator(1, "signal", i).random() for i in range(6)]
    backwards = [draws.generator(1, "signal", i).random() for i in reversed(range(6))]
    assert forwards == backwards[::-1]


def test_neighbouring_keys_give_unrelated_numbers() -> None:
    drawn = np.array([draws.generator(0, "signal", i).random() for i in range(2000)])
    assert abs(drawn.mean() - 0.5) < 4 / np.sqrt(12 * 2000)
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 4 / np.sqrt(2000)
