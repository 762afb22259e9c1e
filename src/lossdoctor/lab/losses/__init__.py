"""Loss functions over the error: their shapes, what one outlier does to each, and which suits which residuals."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from numpy.typing import ArrayLike

from lossdoctor.core.errors import UsageError, nearest
from lossdoctor.lab.losses import classification, regression
from lossdoctor.lab.losses.advice import Suggestion as Suggestion
from lossdoctor.lab.losses.advice import suggest as suggest
from lossdoctor.lab.losses.base import LossCurves as LossCurves
from lossdoctor.lab.losses.base import LossFunction as LossFunction
from lossdoctor.lab.losses.outliers import OutlierStudy as OutlierStudy
from lossdoctor.lab.losses.outliers import outlier_study as outlier_study
from lossdoctor.lab.result import Line, Mark, Panel

LOSSES: dict[str, Callable[..., LossFunction]] = {
    "mse": regression.mse,
    "mae": regression.mae,
    "huber": regression.huber,
    "log_cosh": regression.log_cosh,
    "quantile": regression.quantile,
    "bce": classification.bce,
    "cross_entropy": classification.cross_entropy,
    "hinge": classification.hinge,
    "focal": classification.focal,
}
_ALIASES = {
    "l2": "mse",
    "l1": "mae",
    "smooth_l1": "huber",
    "pinball": "quantile",
    "logistic": "bce",
    "logcosh": "log_cosh",
}

__all__ = [
    "LOSSES",
    "LossCurves",
    "LossFunction",
    "OutlierStudy",
    "Suggestion",
    "loss",
    "names",
    "outlier_study",
    "panels",
    "suggest",
]


def names() -> list[str]:
    """The names of all loss functions, in the order of the list."""
    return list(LOSSES)


def loss(name: str | LossFunction, **parameters: Any) -> LossFunction:
    """A loss function by name.

    Args:
        name: one of :func:`names`; a LossFunction is taken as it is.
        parameters: its own (``delta`` of Huber, ``q`` of quantile, ``classes`` of cross_entropy, ``gamma`` of focal).

    Raises:
        UsageError: on an unknown name or parameter, with the nearest one.

    >>> loss("huber", delta=2.0)([0.0, 1.0, 4.0]).tolist()
    [0.0, 0.5, 6.0]
    """
    if isinstance(name, LossFunction):
        return name
    key = str(name).strip().lower().replace("-", "_").replace(" ", "_")
    make = LOSSES.get(_ALIASES.get(key, key))
    if make is None:
        end = nearest(key, [*LOSSES, *_ALIASES]) or f"; loss functions: {', '.join(LOSSES)}"
        raise UsageError(f"no loss function is called {name!r}{end}")
    known = list(inspect.signature(make).parameters)
    for given in parameters:
        if given not in known:
            end = nearest(given, known) or (f"; it has {', '.join(known)}" if known else "; it has none")
            raise UsageError(f"the loss {name!r} has no parameter {given!r}{end}")
    return make(**parameters)


def panels(
    which: list[str | LossFunction] | None = None, errors: ArrayLike | None = None
) -> tuple[Panel, Panel, Panel]:
    """Value, gradient and curvature of several loss functions of one task, as three panels.

    Args:
        which: names or loss functions; by default those of a regression.
        errors: where; by default from −5 to 5.

    Raises:
        UsageError: on none, or on loss functions of an error and of a margin together.
    """
    chosen = [loss(one) for one in (which if which is not None else ["mse", "mae", "huber", "log_cosh", "quantile"])]
    tasks = {one.task for one in chosen}
    if len(tasks) != 1:
        found = ", ".join(f"{one.name} ({one.task})" for one in chosen) or "none"
        raise UsageError(f"compare loss functions of one task, 1 or more; got {found}")
    curves = [one.curves(errors) for one in chosen]
    notes = {
        "value": ("Loss", "What an error costs."),
        "gradient": (
            "Gradient",
            "How hard an error pulls: where it levels off, an outlier pulls no harder than others.",
        ),
        "curvature": ("Curvature", "What bounds the learning rate: 2 over its largest value."),
    }
    made = []
    for part, (title, note) in notes.items():
        lines = tuple(Line(c.loss.title, c.x, getattr(c, part)) for c in curves)
        marks = () if part == "value" else (Mark("", y=0.0),)
        made.append(Panel(title, chosen[0].argument, title.lower(), lines, marks=marks, note=note))
    return made[0], made[1], made[2]
