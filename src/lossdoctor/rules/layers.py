"""Which layers of a log come first and last: the ones whose gradients tell of vanishing and explosion."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from lossdoctor.core.finding import Measurement
from lossdoctor.rules.base import Case
from lossdoctor.signal.arrays import median
from lossdoctor.signal.reading import Reading

EDGE = 3  # layers looked at on either side
_NUMBER = re.compile(r"\d+")


def in_order(names: Sequence[str]) -> list[str]:
    """Layers from the input to the output: by their numbers where all have one, else as the log lists them.

    Biases are left out where weights are logged beside them: their gradients have another size.

    >>> in_order(["layers.10.weight", "layers.2.weight", "layers.2.bias"])
    ['layers.2.weight', 'layers.10.weight']
    """
    weights = [n for n in names if "bias" not in n.lower()] or list(names)
    numbers = {n: tuple(int(x) for x in _NUMBER.findall(n)) for n in weights}
    if all(numbers.values()) and len(set(numbers.values())) == len(weights):
        return sorted(weights, key=lambda n: numbers[n])
    return weights


@lru_cache(maxsize=16)
def edges(names: tuple[str, ...]) -> tuple[str, ...]:
    """The first and the last layers: all that rules read of what may be hundreds of curves."""
    ordered = tuple(in_order(names))
    return ordered if len(ordered) <= 2 * EDGE else (*ordered[:EDGE], *ordered[-EDGE:])


def first_over_last(case: Case) -> tuple[float, str] | None:
    """Gradient norm of the first layers over that of the last ones, and the name it was read from; None when unknown.

    From the logged norms of at least four layers, over the later half of the run; else from the measurement
    ``layer_grad_ratio`` of an active test, which is the same ratio.
    """
    ordered = [n for n in in_order(case.roles.names.get("layer_grad_norm", ())) if n in case.readings]
    if len(ordered) >= 4:
        edge = min(EDGE, len(ordered) // 2)
        first, last = (_typical(case.readings, part) for part in (ordered[:edge], ordered[-edge:]))
        if first is not None and last is not None and last > 0:
            return first / last, ordered[0]
    measured = measurement(case, "layer_grad_ratio")
    return None if measured is None else (measured.value, "")


def measurement(case: Case, name: str) -> Measurement | None:
    """The last measurement of that name, or None."""
    return next((m for m in reversed(case.measurements) if m.name == name), None)


def _typical(readings: Mapping[str, Reading], names: Sequence[str]) -> float | None:
    levels = [median(r.y[len(r) // 2 :]) for n in names if len(r := readings[n])]
    return median(np.array(levels)) if levels else None
