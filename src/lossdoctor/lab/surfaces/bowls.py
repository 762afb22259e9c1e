"""Surfaces with one bottom: round, long and narrow, or flat all around."""

from __future__ import annotations

import torch
from torch import Tensor

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.surfaces.base import Surface, points


def revenue() -> Surface:
    """R(x₁, x₂) = 100x₁ + 50x₂ − x₁² − x₂², made large: 3125 at (50, 25). The loss that is descended is −R."""

    def function(x: Tensor) -> Tensor:
        a, b = x[:, 0], x[:, 1]
        return 100.0 * a + 50.0 * b - a * a - b * b

    return Surface(
        "revenue",
        "Revenue",
        "100x₁ + 50x₂ − x₁² − x₂²",
        2,
        function,
        ((0.0, 100.0), (0.0, 50.0)),
        minima=points([50.0, 25.0], 2),
        saddles=points([], 2),
        maxima=points([], 2),
        maximised=True,
        axes=("x₁ (ad spend)", "x₂ (discount)"),
        value_name="revenue",
        about="to maximise is to descend the negative",
    )


def ravine(condition: float = 100.0) -> Surface:
    """½(x² + κy²): a long valley κ times as curved across as along; κ is the condition number of its Hessian.

    Args:
        condition: κ, 1 or more.
    """
    if not condition >= 1.0:
        raise UsageError(f"the condition number of a ravine is {condition}; it is the ratio λmax/λmin, 1 or more")

    def function(x: Tensor) -> Tensor:
        a, b = x[:, 0], x[:, 1]
        return 0.5 * (a * a + condition * b * b)

    return Surface(
        "ravine",
        f"Ravine, κ = {condition:g}",
        f"½(x² + {condition:g}y²)",
        2,
        function,
        ((-10.0, 10.0), (-5.0, 5.0)),
        minima=points([0.0, 0.0], 2),
        saddles=points([], 2),
        maxima=points([], 2),
        levels="log",
        parameters={"condition": condition},
        about="zigzag across, crawl along: what momentum and adaptive rates are for",
    )


def plateau(width: float = 1.0) -> Surface:
    """1 − exp(−(x² + y²)/2s²): a hole in a plain. Away from it the gradient all but vanishes.

    Args:
        width: s, the radius of the hole, above 0.
    """
    if not width > 0.0:
        raise UsageError(f"the width of the hole in the plateau is {width}; give a radius above 0")

    def function(x: Tensor) -> Tensor:
        return -torch.expm1(-(x * x).sum(dim=1) / (2.0 * width * width))

    return Surface(
        "plateau",
        "Plateau",
        f"1 − exp(−(x² + y²)/{2 * width * width:g})",
        2,
        function,
        ((-5.0, 5.0), (-5.0, 5.0)),
        minima=points([0.0, 0.0], 2),
        saddles=points([], 2),
        maxima=points([], 2),
        parameters={"width": width},
        about="vanishing gradients: plain descent stands still, adaptive rates walk on",
    )
