"""Surfaces with several minima: where a descent ends depends on where it began."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import torch
from torch import Tensor

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.surfaces.base import Array, Surface, points


def himmelblau() -> Surface:
    """(x² + y − 11)² + (x + y² − 7)²: four minima of value 0, four saddles and one maximum."""

    def function(x: Tensor) -> Tensor:
        u, v = x[:, 0], x[:, 1]
        first = u * u + v - 11.0
        second = u + v * v - 7.0
        return first * first + second * second

    return Surface(
        "himmelblau",
        "Himmelblau",
        "(x² + y − 11)² + (x + y² − 7)²",
        2,
        function,
        ((-6.0, 6.0), (-6.0, 6.0)),
        minima=points(
            [
                [3.0, 2.0],
                [-2.805118086952745, 3.131312518250573],
                [-3.779310253377747, -3.283185991286169],
                [3.5844283403304917, -1.8481265269644036],
            ],
            2,
        ),
        saddles=points(
            [
                [-3.0730257507643897, -0.08135304428796751],
                [-0.12796134673068005, -1.9537149802445766],
                [0.08667750455539634, 2.884254701174776],
                [3.385154183607021, 0.07385187983774928],
            ],
            2,
        ),
        maxima=points([-0.2708445906673476, -0.9230385564799815], 2),
        levels="log",
        about="four starts, four minima; the borders between their basins run through the saddles",
        source="Himmelblau, Applied Nonlinear Programming (1972)",
    )


def rastrigin(dim: int = 2) -> Surface:
    """10d + Σ(xᵢ² − 10 cos 2πxᵢ): a bowl full of dents, with its least value 0 at the origin.

    Args:
        dim: the number of coordinates, 1 to 3 (the number of minima is 11 to the power of it).
    """
    if dim not in (1, 2, 3):
        raise UsageError(f"Rastrigin's function is here for 1, 2 or 3 coordinates, got dim={dim}")

    def function(x: Tensor) -> Tensor:
        return 10.0 * dim + (x * x - 10.0 * torch.cos(2.0 * math.pi * x)).sum(dim=1)

    dents, humps = _rastrigin_line()
    kinds = [(x, True) for x in dents] + [(x, False) for x in humps]
    minima: list[list[float]] = []
    saddles: list[list[float]] = []
    maxima: list[list[float]] = []
    # The coordinates do not mix: a critical point of the whole is one in every coordinate.
    for combination in product(kinds, repeat=dim):
        at = [x for x, _ in combination]
        down = sum(dent for _, dent in combination)
        (minima if down == dim else maxima if down == 0 else saddles).append(at)
    return Surface(
        "rastrigin",
        "Rastrigin",
        "10d + Σ(xᵢ² − 10 cos 2πxᵢ)",
        dim,
        function,
        ((-5.12, 5.12),) * dim,
        minima=points(minima, dim),
        saddles=points(saddles, dim),
        maxima=points(maxima, dim),
        parameters={"dim": dim},
        about="very many local minima: what noise and restarts are for",
        source="Rastrigin, Systems of Extremal Control (1974)",
    )


def _rastrigin_line() -> tuple[Array, Array]:
    """Minima and maxima of x² − 10 cos 2πx in [−5.12, 5.12], to the last bit by Newton's iteration."""
    x = np.linspace(-5.12, 5.12, 20_001)
    slope = 2.0 * x + 20.0 * math.pi * np.sin(2.0 * math.pi * x)
    at = x[:-1][np.sign(slope[:-1]) != np.sign(slope[1:])]
    for _ in range(20):
        curvature = 2.0 + 40.0 * math.pi**2 * np.cos(2.0 * math.pi * at)
        at = at - (2.0 * at + 20.0 * math.pi * np.sin(2.0 * math.pi * at)) / curvature
    at = np.where(np.abs(at) < 1e-12, 0.0, at)
    at = np.unique(np.round(at, 15))
    dent = 2.0 + 40.0 * math.pi**2 * np.cos(2.0 * math.pi * at) > 0.0
    return at[dent], at[~dent]
