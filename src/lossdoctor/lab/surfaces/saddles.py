"""Saddles: the gradient is zero and there is a way down."""

from __future__ import annotations

import math

from torch import Tensor

from lossdoctor.lab.surfaces.base import Surface, points


def saddle() -> Surface:
    """x² − y²: up along x, down along y, without end. On y = 0 every descent walks into the saddle and stays."""

    def function(x: Tensor) -> Tensor:
        a, b = x[:, 0], x[:, 1]
        return a * a - b * b

    return Surface(
        "saddle",
        "Saddle",
        "x² − y²",
        2,
        function,
        ((-2.0, 2.0), (-2.0, 2.0)),
        minima=points([], 2),
        saddles=points([0.0, 0.0], 2),
        maxima=points([], 2),
        about="a zero gradient is no minimum; unbounded below, so what leaves the saddle never stops",
    )


def saddle_between_wells() -> Surface:
    """x² − y² + y⁴/4: the saddle again, with a minimum of value −1 on either side, at (0, ±√2)."""

    def function(x: Tensor) -> Tensor:
        a, b = x[:, 0], x[:, 1]
        square = b * b
        return a * a - square + 0.25 * square * square

    return Surface(
        "saddle_between_wells",
        "Saddle between two wells",
        "x² − y² + y⁴/4",
        2,
        function,
        ((-2.0, 2.0), (-2.5, 2.5)),
        minima=points([[0.0, -math.sqrt(2.0)], [0.0, math.sqrt(2.0)]], 2),
        saddles=points([0.0, 0.0], 2),
        maxima=points([], 2),
        about="how long a descent lingers at a saddle before it falls to one side",
    )


def monkey_saddle() -> Surface:
    """x³ − 3xy²: three ways down and three up (one for the tail). Its Hessian at the origin is zero."""

    def function(x: Tensor) -> Tensor:
        a, b = x[:, 0], x[:, 1]
        return a * a * a - 3.0 * a * b * b

    return Surface(
        "monkey_saddle",
        "Monkey saddle",
        "x³ − 3xy²",
        2,
        function,
        ((-1.5, 1.5), (-1.5, 1.5)),
        minima=points([], 2),
        saddles=points([0.0, 0.0], 2),
        maxima=points([], 2),
        about="a saddle that the Hessian does not show: its eigenvalues there are both zero",
    )
