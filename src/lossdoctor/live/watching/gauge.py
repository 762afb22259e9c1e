"""One measurement of what an optimizer step does: gradients before it, weights and updates around it.

A measurement is a dict of sums that add up over several optimizers and over the processes that share a model (squared
norms and counts, as ``"grad"``, ``"grad/<layer>"``); :func:`readings` makes of it what is logged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossdoctor.live.watching.layers import MOST_LAYERS, Plan
from lossdoctor.live.watching.units import units_alive
from lossdoctor.torchkit.norms import Pending, UpdateMeter, UpdateRatios, device_norms

Floats = NDArray[np.float64]
Sums = dict[str, float]
SAMPLE = 65_536  # values of a parameter whose movement is followed; gradients are heavy-tailed, so a few are too few


@dataclass(frozen=True)
class Wanted:
    """What is measured besides the norms of all gradients and of all parameters."""

    per_layer: bool = True
    updates: bool = True
    units: bool = True


class Gauge:
    """Measures one step of one optimizer; nothing waits for the device.

    Args:
        parameters: of the optimizer.
        plan: their names and layers.
        wanted: what to measure.
        shares: of each parameter the part that counts here: 1, or less where other processes count it too.
    """

    def __init__(self, parameters: Sequence[Tensor], plan: Plan, wanted: Wanted, shares: Floats) -> None:
        self._parameters, self._plan, self._wanted, self._shares = parameters, plan, wanted, shares
        self._meter: UpdateMeter | None = None
        self._coming: list[tuple[Pending[Any], Callable[[Any], Sums | None]]] = []
        self._device = next((p.device for p in parameters if p.is_cuda), None)
        self._clock: list[tuple[Any, Any]] = []

    def before(self) -> None:
        """Ahead of the step, before or after its gradients are made: remembers some of the parameters."""
        if self._wanted.updates:
            self._meter = UpdateMeter(((str(i), p) for i, p in enumerate(self._parameters)), sample=SAMPLE)
            self._meter.before()

    def gradients(self, scale: Tensor | None = None, overflow: Tensor | None = None) -> None:
        """The gradients are there. ``scale``: they are that many times too large; ``overflow``: 1 where AMP skips."""
        there = [i for i, p in enumerate(self._parameters) if p.grad is not None]
        grads = [g for i in there if (g := self._parameters[i].grad) is not None]
        scaling = [t for t in (scale, overflow) if t is not None]
        has_scale, has_overflow = scale is not None, overflow is not None
        places, plan, shares, per_layer = (
            np.array(there, dtype=np.int64),
            self._plan,
            self._shares,
            self._wanted.per_layer,
        )

        def sums(values: Floats) -> Sums | None:
            norms, rest = values[: len(places)], values[len(places) :].tolist()
            if has_overflow and rest.pop() != 0:
                return None
            if has_scale:
                norms = norms / rest.pop()
            bad = float(np.sum(shares[places] * ~np.isfinite(norms)))
            return {**_squares("grad", norms, places, plan, shares, per_layer), "bad": bad}

        self._await([*grads, *scaling], sums)
        if self._wanted.units:
            self._dead_units()

    def after(self) -> None:
        """The step was taken: how far the parameters moved, and their norm before it."""
        plan, shares, wanted = self._plan, self._shares, self._wanted
        if self._meter is not None:
            moved = self._meter.after()

            def updates(ratios: UpdateRatios) -> Sums:
                places = np.array([int(n) for n in ratios.names], dtype=np.int64)
                return {
                    **_squares("update", ratios.updates, places, plan, shares, wanted.per_layer),
                    **_squares("weight", ratios.weights, places, plan, shares, wanted.per_layer),
                    **_squares("param", ratios.weights, places, plan, shares, False),
                }

            self._coming.append((moved, updates))
        else:
            trainable = [i for i, p in enumerate(self._parameters) if p.requires_grad]
            places = np.array(trainable, dtype=np.int64)
            found = [self._parameters[i] for i in trainable]
            self._await(found, lambda v: _squares("param", v, places, plan, shares, False))
        self._parameters, self._meter = (), None  # what waits for the device keeps no model alive

    @contextmanager
    def timed(self) -> Iterator[None]:
        """What the body asks of a GPU is timed there."""
        if self._device is None:
            yield
            return
        stream = torch.cuda.current_stream(self._device)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record(stream)
        yield
        end.record(stream)
        self._clock.append((begin, end))

    def device_seconds(self) -> float:
        """The time that a GPU spent on it; 0 on the CPU, or while it is not known."""
        return float(sum(a.elapsed_time(b) for a, b in self._clock if a.query() and b.query())) / 1e3

    def ready(self) -> bool:
        """Whether all numbers have arrived."""
        return all(pending.ready() for pending, _ in self._coming)

    def sums(self) -> Sums | None:
        """What was measured; None when AMP skipped the step."""
        total: Sums = {}
        for pending, build in self._coming:
            found = build(pending.result())
            if found is None:
                return None
            total.update(found)
        return total

    def _await(self, tensors: Sequence[Tensor], build: Callable[[Floats], Sums | None]) -> None:
        self._coming.append((Pending(device_norms(tensors), len(tensors), _as_they_are), build))

    def _dead_units(self) -> None:
        found = units_alive(self._plan.units, self._parameters)
        if found is None:
            return
        coming, layers = found
        shares = [float(self._shares[unit.weight]) for unit, _ in layers]
        by_layer = self._wanted.per_layer and len(layers) <= MOST_LAYERS

        def sums(alive: Floats) -> Sums:
            total: Sums = {"dead": 0.0, "units": 0.0}
            for (unit, rows), share, working in zip(layers, shares, alive.tolist(), strict=True):
                for key, value in (("dead", share * (rows - working)), ("units", share * rows)):
                    total[key] += value
                    if by_layer:
                        total[f"{key}/{unit.layer}"] = value
            return total

        self._coming.append((coming, sums))


def readings(sums: Mapping[str, float]) -> dict[str, float]:
    """What is logged of a measurement.

    >>> readings({"grad": 25.0, "bad": 0.0, "update": 1.0, "weight": 4.0, "dead": 1.0, "units": 4.0, "dead/0": 1.0,
    ...           "units/0": 2.0})
    {'grad_norm': 5.0, 'nonfinite_grads': 0.0, 'update_ratio': 0.5, 'dead_units': 0.25, 'dead_units/0': 0.5}
    """
    found: dict[str, float] = {}
    for key, value in sums.items():
        kind, slash, layer = key.partition("/")
        if kind in ("grad", "param"):
            found[f"{kind}_norm{slash}{layer}"] = math.sqrt(value)
        elif kind == "update" and (weight := sums.get(f"weight{slash}{layer}", 0.0)):
            found[f"update_ratio{slash}{layer}"] = math.sqrt(value / weight)
        elif kind == "dead" and (units := sums.get(f"units{slash}{layer}", 0.0)):
            found[f"dead_units{slash}{layer}"] = value / units
        elif kind == "bad":
            found["nonfinite_grads"] = value
    return found


def added(measurements: Iterable[Mapping[str, float]]) -> Sums:
    """Several measurements as one."""
    total: Sums = {}
    for sums in measurements:
        for key, value in sums.items():
            total[key] = total.get(key, 0.0) + value
    return total


def _as_they_are(values: Floats) -> Floats:
    return values


def _squares(kind: str, norms: Floats, places: NDArray[np.int64], plan: Plan, shares: Floats, per_layer: bool) -> Sums:
    """The squared norms of all these parameters, and of each layer that is among them."""
    if not len(norms):
        return {}
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.square(norms) * shares[places]
        found = {kind: float(squares.sum())}
    if per_layer and plan.layers:
        layer_of = plan.layer_of[places]
        inside = layer_of >= 0
        totals = np.bincount(layer_of[inside], weights=squares[inside], minlength=len(plan.layers)).tolist()
        found.update({f"{kind}/{plan.layers[i]}": totals[i] for i in np.unique(layer_of[inside]).tolist()})
    return found
