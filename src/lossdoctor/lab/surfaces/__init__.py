"""The surfaces by name, and any function of the user's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from lossdoctor.core.errors import UsageError, nearest
from lossdoctor.lab.surfaces import bowls, many_minima, one_dimensional, saddles, valleys
from lossdoctor.lab.surfaces.base import Surface as Surface
from lossdoctor.lab.surfaces.custom import from_function as from_function

# A surface is a function in its family's file, without required arguments, and one entry here.
SURFACES: dict[str, Callable[..., Surface]] = {
    "quadratic": one_dimensional.quadratic,
    "blind_hiker": one_dimensional.blind_hiker,
    "double_well": one_dimensional.double_well,
    "revenue": bowls.revenue,
    "ravine": bowls.ravine,
    "plateau": bowls.plateau,
    "himmelblau": many_minima.himmelblau,
    "rastrigin": many_minima.rastrigin,
    "rosenbrock": valleys.rosenbrock,
    "beale": valleys.beale,
    "saddle": saddles.saddle,
    "saddle_between_wells": saddles.saddle_between_wells,
    "monkey_saddle": saddles.monkey_saddle,
}
NOISY = "noisy_"

__all__ = ["NOISY", "SURFACES", "Surface", "from_function", "listing", "names", "surface"]


def names() -> list[str]:
    """The names of all surfaces, in the order of the list."""
    return list(SURFACES)


def listing() -> Iterator[Surface]:
    """Every surface with its default parameters."""
    for make in SURFACES.values():
        yield make()


def surface(which: str | Surface | Callable[..., Any], *, noise: float | None = None, **parameters: Any) -> Surface:
    """A surface by name, or one made of a function.

    Args:
        which: a name of :func:`names`; ``"noisy_"`` before it puts Gaussian noise of standard deviation 1 on the
            gradient; a Surface is taken as it is; anything callable becomes one (see :func:`from_function`).
        noise: standard deviation of the noise on each coordinate of the gradient.
        parameters: of the surface (``condition`` of the ravine) or, for a function, of :func:`from_function`.

    Raises:
        UsageError: on an unknown name or parameter.

    >>> surface("ravine", condition=10.0).formula
    '½(x² + 10y²)'
    """
    if isinstance(which, str):
        name = which.strip().lower().replace("-", "_").replace(" ", "_")
        noisy = name.startswith(NOISY)
        make = SURFACES.get(name.removeprefix(NOISY))
        if make is None:
            end = nearest(name.removeprefix(NOISY), SURFACES) or f"; surfaces: {', '.join(SURFACES)}"
            raise UsageError(f"no surface is called {which!r}{end}")
        _check_parameters(name.removeprefix(NOISY), make, parameters)
        made = make(**parameters)
        noise = 1.0 if noisy and noise is None else noise
    elif isinstance(which, Surface):
        if parameters:
            raise UsageError(f"{which!r} is made already; parameters {', '.join(parameters)} go with a name")
        made = which
    elif callable(which):
        made = from_function(which, **parameters)
    else:
        raise UsageError(f"a surface is a name, a function or a Surface, got {type(which).__name__}")
    return made if noise is None else made.with_noise(noise)


def _check_parameters(name: str, make: Callable[..., Surface], parameters: dict[str, Any]) -> None:
    known = list(inspect.signature(make).parameters)
    for given in parameters:
        if given not in known:
            end = nearest(given, known) or (f"; it has {', '.join(known)}" if known else "; it has none")
            raise UsageError(f"surface {name!r} has no parameter {given!r}{end}")
