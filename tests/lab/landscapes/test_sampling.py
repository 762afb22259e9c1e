"""Grids filled from few evaluations, against the full grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.landscapes.sampling import Sampled, coarse_to_fine

Floats = NDArray[np.float64]
SMOOTH: dict[str, Callable[[Floats, Floats], Floats]] = {
    "bowl": lambda x, y: x**2 + 5 * y**2,
    "rosenbrock": lambda x, y: (1 - 2 * x) ** 2 + 100 * (2 * y - 4 * x**2) ** 2,
    "himmelblau": lambda x, y: (25 * x * x + 5 * y - 11) ** 2 + (5 * x + 25 * y * y - 7) ** 2,
    "exponential": lambda x, y: np.exp(5 * x) + np.exp(5 * y),
    "constant": lambda x, _: 0 * x,
    "cliff": lambda x, y: np.where(x * x + y * y > 1.2, np.nan, x * x + y),
    "overflow": lambda x, y: np.where(x > 0.6, np.inf, np.where(y > 0.9, np.nan, np.exp(3 * x))),
    "nothing": lambda x, _: x * np.nan,
}
ROUGH: dict[str, Callable[[Floats, Floats], Floats]] = {
    "kinks": lambda x, y: np.abs(x + 0.3 * y) + np.abs(y),
    "flat and ramp": lambda x, y: np.maximum(np.abs(x + 0.33 * y) - 0.2, 0) + np.maximum(y, 0.1),
    "waves": lambda x, y: x * x + y * y - 0.3 * np.cos(8 * x) - 0.3 * np.cos(8 * y),
    "spike": lambda x, y: np.exp(-200 * ((x - 0.13) ** 2 + (y + 0.22) ** 2)),
    "noise": lambda x, y: x * x + y * y + 0.05 * np.random.default_rng(0).standard_normal(x.shape),
}


def full(surface: Callable[[Floats, Floats], Floats], rows: int = 41, columns: int = 41) -> Floats:
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    return surface(x, y)


def sampled(grid: Floats, **options: float) -> Sampled:
    return coarse_to_fine(grid.shape, lambda points: [float(grid[p]) for p in points], **options)  # type: ignore[arg-type]


def largest_error(found: Sampled, grid: Floats) -> float:
    finite = np.isfinite(grid)
    assert np.array_equal(np.isfinite(found.values), finite)
    if not finite.any():
        return 0.0
    span = float(np.ptp(grid[finite])) or 1.0
    return float(np.abs(found.values[finite] - grid[finite]).max() / span)


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_surfaces_with_a_third_of_the_evaluations(name: str) -> None:
    grid = full(SMOOTH[name])
    found = sampled(grid)
    assert largest_error(found, grid) <= 0.01
    assert found.measured.sum() <= grid.size / 3
    assert np.array_equal(found.values[found.measured], grid[found.measured], equal_nan=True)
    assert found.error <= 0.01


@pytest.mark.parametrize("name", ROUGH)
def test_rough_surfaces_take_more_but_are_right(name: str) -> None:
    grid = full(ROUGH[name])
    assert largest_error(sampled(grid), grid) <= 0.01


def test_tolerance() -> None:
    grid = full(SMOOTH["rosenbrock"])
    counts = [int(sampled(grid, tolerance=t).measured.sum()) for t in (0.0, 1e-3, 1e-2)]
    assert counts[0] == grid.size
    assert counts[0] > counts[1] > counts[2]
    assert sampled(grid, tolerance=0.0).error == 0.0


@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 2**20))
@settings(max_examples=40, deadline=None)
def test_any_shape_and_any_cubic(rows: int, columns: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    a = random.standard_normal((3, 3))
    grid = full(lambda x, y: np.polynomial.polynomial.polyval2d(x, y, a), rows, columns)
    found = sampled(grid)
    assert np.isfinite(found.values).all()
    assert largest_error(found, grid) <= 0.02  # on few lines an extrapolated border is checked by few controls


def test_the_same_points_again() -> None:
    asked: list[list[tuple[int, int]]] = [[], []]
    grid = full(ROUGH["spike"])
    for log in asked:
        coarse_to_fine((41, 41), lambda points, log=log: (log.extend(points), [float(grid[p]) for p in points])[1])  # type: ignore[misc]
    assert asked[0] == asked[1]
    assert len(set(asked[0])) == len(asked[0])


def test_bad_input() -> None:
    for shape, tolerance in (((1, 5), 0.01), ((5, 5), -1.0), ((5, 5), 1.0)):
        with pytest.raises(UsageError, match="two lines each way"):
            coarse_to_fine(shape, lambda points: [0.0] * len(points), tolerance)
