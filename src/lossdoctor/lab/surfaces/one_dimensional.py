"""Curves of one weight: the bowls and the double well on which a descent can be followed step by step."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from lossdoctor.lab.surfaces.base import Surface, points


def quadratic() -> Surface:
    """(w − 3)²: the simplest loss there is. Its curvature is 2, so 2/λmax = 1."""

    def function(x: Tensor) -> Tensor:
        return (x[:, 0] - 3.0) ** 2

    return Surface(
        "quadratic",
        "Quadratic",
        "(w − 3)²",
        1,
        function,
        ((-4.0, 10.0),),
        minima=points([3.0], 1),
        saddles=points([], 1),
        maxima=points([], 1),
        axes=("w",),
        about="step size against curvature: monotone below 0.5, oscillating to 1.0, diverging beyond",
    )


def blind_hiker() -> Surface:
    """x² − 4x + 5: the valley a hiker finds by feeling the slope. Least value 1 at 2; curvature 2."""

    def function(x: Tensor) -> Tensor:
        w = x[:, 0]
        return w * w - 4.0 * w + 5.0

    return Surface(
        "blind_hiker",
        "Blind hiker",
        "x² − 4x + 5",
        1,
        function,
        ((-3.0, 7.0),),
        minima=points([2.0], 1),
        saddles=points([], 1),
        maxima=points([], 1),
        value_name="height",
        about="twenty steps downhill without seeing the valley",
    )


def double_well() -> Surface:
    """x⁴ − 8x² + x: two wells. The left one, at −2.03, is the lower: the term + x tilts the curve to the left."""
    # 4x³ − 16x + 1 = 0 has three real roots: outer ones minima, the inner one a maximum.
    left, middle, right = np.sort(np.roots([4.0, 0.0, -16.0, 1.0]).real)

    def function(x: Tensor) -> Tensor:
        w = x[:, 0]
        square = w * w
        return square * square - 8.0 * square + w

    return Surface(
        "double_well",
        "Double well",
        "x⁴ − 8x² + x",
        1,
        function,
        ((-3.5, 3.5),),
        minima=points([left, right], 1),
        saddles=points([], 1),
        maxima=points([middle], 1),
        about="local minima: which well is reached depends on the start, and on momentum",
    )
