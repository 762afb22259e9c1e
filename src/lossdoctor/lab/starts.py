"""What a descent begins with, checked: its surface, its starts, and that the surface is a number where it should be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.surfaces import Surface
from lossdoctor.lab.surfaces import surface as make_surface

Array = NDArray[np.float64]


def surface_of(
    surface: str | Surface | Callable[..., Any],
    starts: ArrayLike | int,
    dim: int | None,
    domain: Any,
    options: Mapping[str, Any],
) -> Surface:
    """The surface by name or of a function; its dimension and domain come from the starts where not given."""
    given = dict(options)
    function = callable(surface) and not isinstance(surface, Surface)
    if not function and (dim is not None or domain is not None):
        raise UsageError("dim and domain go with a function; a named surface has its own")
    if function:
        array = None if isinstance(starts, int) else np.asarray(starts, dtype=np.float64)
        if dim is not None:
            given["dim"] = dim
        elif array is not None and array.ndim == 2:
            given["dim"] = array.shape[1]
        if domain is not None:
            given["domain"] = domain
        elif array is not None and array.size and np.isfinite(array).all():
            given.setdefault("domain", (min(-5.0, float(array.min())), max(5.0, float(array.max()))))
    return make_surface(surface, **given)


def starts_of(surface: Surface, starts: ArrayLike | int, seed: int) -> Array:
    """The starts as float64[n, dim]; raises UsageError when they are none, misshapen, not finite or outside."""
    if isinstance(starts, int) and not isinstance(starts, bool):
        if starts < 1:
            raise UsageError(f"starts is {starts}; give how many to draw, 1 or more, or an array of shape (n, dim)")
        return surface.random_starts(starts, seed)
    try:
        array = np.array(starts, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"starts must be numbers of shape (n, {surface.dim}): {error}") from None
    if array.ndim <= 1 and surface.dim == 1:
        array = array.reshape(-1, 1)
    elif array.shape == (surface.dim,):
        array = array[None]
    if array.ndim != 2 or array.shape[1] != surface.dim or not len(array):
        raise UsageError(f"starts have shape {array.shape}; {surface.name!r} takes (n, {surface.dim}), n at least 1")
    outside = np.flatnonzero(~surface.inside(array))
    if len(outside):
        i = int(outside[0])
        ranges = " × ".join(f"[{low:g}, {high:g}]" for low, high in surface.domain)
        raise UsageError(
            f"start {i}, {array[i].tolist()}, lies outside the domain {ranges} of {surface.name!r}; move it inside"
        )
    return array


def check_first(surface: Surface, starts: Array, losses: Array) -> None:
    """Raises UsageError when the surface is not finite at a start."""
    bad = np.flatnonzero(~np.isfinite(losses))
    if len(bad):
        i = int(bad[0])
        raise UsageError(f"surface {surface.name!r} is {losses[i]} at start {i}, {starts[i].tolist()}; start elsewhere")


def check_path(surface: Surface, path: Array, losses: Array, norms: Array) -> None:
    """NaN inside the domain is the surface's own doing; far outside it, it is what divergence looks like."""
    broken = np.isnan(losses) | np.isnan(norms)
    if not broken.any():
        return
    at = np.argwhere(broken & surface.inside(path))
    if len(at):
        step, i = (int(v) for v in at[0])
        what = "is NaN" if np.isnan(losses[step, i]) else "has a gradient of NaN"
        raise UsageError(
            f"surface {surface.name!r} {what} at {path[step, i].tolist()} (step {step} of start {i}), inside its "
            "domain; define it there, or give a narrower domain"
        )
