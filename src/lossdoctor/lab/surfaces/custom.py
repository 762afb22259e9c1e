"""A user's function made into a surface: probed first, so that what is wrong is said before a descent starts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.surfaces.base import Function, Surface, check_ranges, points

_NOT_TORCH = (
    "{label} returns {kind}, not a torch tensor; compute with torch operations, so that its gradient can be followed"
)
# Points at which a function must be finite at least once.
_WIDE = 64
Domain = Sequence[float] | Sequence[Sequence[float]]


def from_function(
    function: Callable[..., Any],
    dim: int | None = None,
    domain: Domain = (-5.0, 5.0),
    *,
    name: str | None = None,
    formula: str = "",
    maximised: bool = False,
    noise: float = 0.0,
    minima: Any = (),
) -> Surface:
    """Make a surface of any function that computes with torch.

    Args:
        function: takes float64[n, dim] and returns float64[n]; or one point float64[dim] and returns a number; or
            ``dim`` numbers ``f(x, y)``. Which of them it is, is found by trying.
        dim: the number of coordinates; may be left out for a function of several arguments.
        domain: one (low, high) for all coordinates, or one for each.
        name, formula: how it is called; by default the function's own name.
        maximised: whether the function is to be made large.
        noise: standard deviation of the noise on the gradient.
        minima: known minima of the loss, rows of ``dim`` numbers.

    Raises:
        UsageError: when no dimension is known, or the function fails, returns a wrong shape, NaN, no tensor, or
            something without a gradient.

    >>> import torch
    >>> from_function(lambda x, y: x**2 + torch.cos(y)).dim
    2
    """
    label = name or getattr(function, "__name__", type(function).__name__).replace("<lambda>", "lambda")
    arguments = _arguments(function)
    dim = dim or (arguments if arguments and arguments > 1 else None)
    if dim is None:
        raise UsageError(
            f"how many coordinates does {label} take? Give dim=…, or starts of shape (n, dim); a function of several "
            "arguments says it itself"
        )
    if dim < 1:
        raise UsageError(f"dim of {label} is {dim}; a surface has at least one coordinate")
    ranges = _ranges(domain, dim, label)
    batched = _batched(function, dim, ranges, label, spread=dim > 1 and arguments == dim)
    return Surface(
        name=label,
        title=label,
        formula=formula or label,
        dim=dim,
        function=batched,
        domain=ranges,
        minima=points(minima, dim),
        saddles=points([], dim),
        maxima=points([], dim),
        maximised=maximised,
        value_name="value" if maximised else "loss",
        noise=noise,
        about="your own function",
    )


def _arguments(function: Callable[..., Any]) -> int | None:
    """How many arguments must be given, or None where that cannot be told."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is inspect.Parameter.empty for p in parameters)


def _ranges(domain: Domain, dim: int, label: str) -> tuple[tuple[float, float], ...]:
    array = np.asarray(domain, dtype=np.float64)
    if array.shape == (2,):
        array = np.tile(array, (dim, 1))
    if array.shape != (dim, 2):
        raise UsageError(
            f"the domain of {label} has shape {array.shape}; give (low, high), or one such pair for each of its "
            f"{dim} coordinates"
        )
    ranges = tuple((float(low), float(high)) for low, high in array)
    check_ranges(ranges, label)
    return ranges


def _batched(
    function: Callable[..., Any], dim: int, ranges: tuple[tuple[float, float], ...], label: str, *, spread: bool
) -> Function:
    """The function as float64[n, dim] -> float64[n], in whichever of the three ways it works."""
    low, high = np.array(ranges).T
    # A count that is not dim, so that rows and coordinates cannot be taken for one another.
    count = dim + 1 if dim > 1 else 3
    probe = torch.from_numpy(np.random.default_rng(0).uniform(low, high, size=(count, dim)))

    def whole(x: Tensor) -> Any:
        value = function(*x.unbind(1)) if spread else function(x)
        column = dim == 1 and isinstance(value, Tensor) and value.shape == (len(x), 1)
        return value.squeeze(1) if column else value

    def one(x: Tensor) -> Any:
        value = function(*x.unbind(0)) if spread else function(x)
        return value.reshape(()) if isinstance(value, Tensor) and value.numel() == 1 else value

    def mapped(x: Tensor) -> Any:
        return torch.func.vmap(one)(x)

    def looped(x: Tensor) -> Tensor:
        return torch.stack([one(row) for row in x])

    ways: tuple[Callable[[Tensor], Any], ...] = (whole, mapped, looped)
    for way in ways:
        try:
            values = way(probe.clone().requires_grad_(True))
            if not isinstance(values, Tensor):
                raise UsageError(_NOT_TORCH.format(label=label, kind=type(values).__name__))
            if _rows_apart(way, probe, values):
                wide = torch.from_numpy(np.random.default_rng(1).uniform(low, high, size=(_WIDE, dim)))
                _check(values, way(wide), wide, label)
                return way
        except UsageError:
            raise
        except Exception:  # whatever a user's function may raise
            continue
    try:
        found = one(probe[0])
    except Exception as error:
        raise UsageError(f"{label} fails at {probe[0].tolist()}: {type(error).__name__}: {error}") from error
    if isinstance(found, Tensor):
        raise UsageError(
            f"{label} returns shape {tuple(found.shape)} at one point; a surface is one number per point: for points "
            f"of shape (n, {dim}) return shape (n,)"
        )
    raise UsageError(_NOT_TORCH.format(label=label, kind=type(found).__name__))


def _rows_apart(way: Callable[[Tensor], Any], probe: Tensor, values: Tensor) -> bool:
    """Whether this way gives one number per point, and each point's own."""
    if values.shape != (len(probe),):
        return False
    alone = torch.cat([way(probe[i : i + 1]) for i in range(len(probe))])
    return bool(torch.allclose(values.detach(), alone.detach(), rtol=1e-9, atol=1e-12, equal_nan=True))


def _check(values: Tensor, wide: Tensor, at: Tensor, label: str) -> None:
    if not values.requires_grad:
        raise UsageError(
            f"{label} has no gradient: its value does not depend on its argument through torch operations (a constant, "
            "or a .detach() or NumPy on the way)"
        )
    if not values.is_floating_point():
        raise UsageError(f"{label} returns {values.dtype}; a surface returns floating-point numbers")
    if not bool(torch.isfinite(wide).any()):
        raise UsageError(
            f"{label} is {wide[0].item()} at {at[0].tolist()} and at {_WIDE - 1} other places of its domain; give "
            "a domain=(low, high) where it is finite"
        )
