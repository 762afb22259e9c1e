"""Curved valleys: easy to enter, slow to follow."""

from __future__ import annotations

from torch import Tensor

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.surfaces.base import Surface, points


def rosenbrock(a: float = 1.0, b: float = 100.0) -> Surface:
    """(a − x)² + b(y − x²)²: the banana valley, with its minimum 0 at (a, a²).

    Args:
        a: where the minimum lies.
        b: how steep the walls are, above 0.
    """
    if not b > 0.0:
        raise UsageError(f"b of Rosenbrock's function is {b}; the walls need a steepness above 0")

    def function(x: Tensor) -> Tensor:
        u, v = x[:, 0], x[:, 1]
        return (a - u) ** 2 + b * (v - u * u) ** 2

    reach = max(2.0, 2.0 * abs(a))
    return Surface(
        "rosenbrock",
        "Rosenbrock",
        f"({a:g} − x)² + {b:g}(y − x²)²",
        2,
        function,
        ((-reach, reach), (-1.0, max(3.0, 2.0 * a * a))),
        minima=points([a, a * a], 2),
        saddles=points([], 2),
        maxima=points([], 2),
        levels="log",
        parameters={"a": a, "b": b},
        about="a curved ravine: the way to the valley is quick, along it slow",
        source="Rosenbrock, The Computer Journal 3 (1960)",
    )


def beale() -> Surface:
    """Beale's function: a flat valley with steep walls at the corners; minimum 0 at (3, ½), two saddles."""

    def function(x: Tensor) -> Tensor:
        u, v = x[:, 0], x[:, 1]
        square = v * v
        first = 1.5 - u + u * v
        second = 2.25 - u + u * square
        third = 2.625 - u + u * square * v
        return first * first + second * second + third * third

    return Surface(
        "beale",
        "Beale",
        "(1.5 − x + xy)² + (2.25 − x + xy²)² + (2.625 − x + xy³)²",
        2,
        function,
        ((-4.5, 4.5), (-4.5, 4.5)),
        minima=points([3.0, 0.5], 2),
        saddles=points([[0.0, 1.0], [0.10053793732415846, -2.644513585023124]], 2),
        maxima=points([], 2),
        levels="log",
        about="gradients of 10⁵ in the corners and almost none in the valley: one rate cannot serve both",
        source="Beale, On an iterative method for finding a local minimum of a function (1958)",
    )
