"""The slope of a soak: a leak is seen, noise is not taken for one."""

from __future__ import annotations

import random

import pytest

from tests.bench.slope import slope, student


def test_a_line_has_its_slope_and_no_doubt() -> None:
    found = slope([0, 1, 2, 3], [5, 7, 9, 11])
    assert found.value == pytest.approx(2)
    assert found.half == pytest.approx(0, abs=1e-9)


def test_the_interval_covers_the_truth_of_a_walk_that_is_like_itself() -> None:
    dice = random.Random(3)
    covered = 0
    for _ in range(200):
        level, y = 0.0, []
        for hour in range(400):
            level = 0.9 * level + dice.gauss(0, 1)
            y.append(0.01 * hour + level)
        found = slope(range(400), y)
        covered += abs(found.value - 0.01) <= found.half
    assert covered >= 180  # the textbook interval covers about a third of these


def test_a_leak_of_two_is_above_a_bound_of_one() -> None:
    dice = random.Random(5)
    hours = [number / 360 for number in range(720)]
    found = slope(hours, [100 + 2 * hour + dice.gauss(0, 0.2) for hour in hours])
    assert found.above(1.0)
    assert not found.above(2.5)


@pytest.mark.parametrize("points", [([], []), ([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3])])
def test_too_few_points_have_no_slope(points: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (either message)
        slope(*points)


@pytest.mark.parametrize(("freedom", "wanted"), [(5, 2.571), (10, 2.228), (30, 2.042), (1000, 1.962)])
def test_students_quantile_has_the_values_of_the_tables(freedom: float, wanted: float) -> None:
    assert student(freedom) == pytest.approx(wanted, rel=2e-3)
