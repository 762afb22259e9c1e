"""From what was measured to the fields and the measurements of the result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median
from typing import Any

import numpy as np

from lossdoctor.core.finding import Measurement
from lossdoctor.probes.gradients.measure import Measured
from lossdoctor.probes.gradients.result import LayerGradient

DEAD = 0.7  # share of a layer's units, as in the rule of dead units
FEWEST = 8  # units of a layer whose share is judged
_WORTH = 0.01  # share of saturated values that is shown


def facts_of(m: Measured) -> dict[str, Any]:
    """The fields of the result."""
    finite = [v for v in m.totals if math.isfinite(v)]
    shares = sorted(((n, s) for n, s in m.saturated.items() if s > _WORTH), key=lambda item: -item[1])
    bad = [not (math.isfinite(a) and math.isfinite(b)) for a, b in zip(m.losses, m.totals, strict=False)]
    return {
        "loss": float(np.mean(m.losses)) if m.losses else math.nan,
        "grad_norm": median(finite) if finite else None,
        "first_over_last": m.first_over_last if m.finite else None,
        "saturated": tuple(shares[:3]),
        "update_ratio": median(u.total for u in m.updates) if m.updates else None,
        "nonfinite_batches": sum(bad),
        "batches": m.batches,
        "examples": m.examples,
        "input_rms": m.input_rms,
        **_dead(m),
        **_names(m),
    }


def _dead(m: Measured) -> dict[str, Any]:
    """Shares of dead units; narrow layers count in the whole, but are not called the worst."""
    dead, units = (sum(n[i] for n in m.dead.values()) for i in (0, 1))
    shares = {k: d / n for k, (d, n) in m.dead.items() if n >= FEWEST}
    worst = max(shares, key=lambda k: shares[k], default="")
    return {
        "dead_fraction": dead / units if units else None,
        "worst_layer": worst if shares.get(worst, 0) > 0 else "",
        "worst_dead_fraction": shares.get(worst),
    }


def _names(m: Measured) -> dict[str, Any]:
    """The layers, and the parameters that are not well."""
    ratios = _update_ratios(m)
    held = m.held
    got = [(n, p) for n, p in m.order if n in m.norms and any(m.norms[n])]
    frozen = [(n, p.numel()) for n, p in m.order if not p.requires_grad]
    layers = []
    for name in m.layers:
        dead, units = m.dead.get(name.removesuffix(".weight"), (0, 0))
        norm = float(np.median(m.norms[name]))
        layers.append(LayerGradient(name, norm, m.weights.get(name, math.nan), ratios.get(name), units, dead))
    return {
        "layers": tuple(layers),
        "frozen": tuple(n for n, _ in frozen),
        "frozen_fraction": sum(size for _, size in frozen) / sum(p.numel() for _, p in m.order),
        "detached": tuple(n for n in m.none if n.rpartition(".")[0] in m.called),
        "unused": tuple(n for n in m.none if m.graph and n.rpartition(".")[0] not in m.called),
        "zero": tuple(n for n in m.zero if n not in m.asleep),
        "asleep": m.asleep,
        "missing": tuple(n for n, p in got if id(p) not in held) if m.subject.optimizer is not None else (),
        "unmoved": tuple(n for n, p in got if id(p) in held and ratios.get(n) == 0),
        "nonfinite": tuple(n for n, values in m.norms.items() if not all(map(math.isfinite, values))),
    }


def _update_ratios(m: Measured) -> dict[str, float]:
    """Parameter -> median ratio over the steps; without those whose weight was zero all along."""
    if not m.updates:
        return {}
    table = np.array([u.values for u in m.updates])
    return {n: float(np.nanmedian(c)) for n, c in zip(m.updates[0].names, table.T, strict=True) if np.isfinite(c).any()}


def measurements_of(m: Measured, f: Mapping[str, Any]) -> tuple[Measurement, ...]:
    """What rules judge; what is not finite says nothing of layers and units."""
    found = [Measurement("frozen_fraction", f["frozen_fraction"], "share", detail={"parameters": len(f["frozen"])})]
    if not m.graph:
        return tuple(found)
    share = len(f["nonfinite"]) / max(len(m.norms), 1)
    found.append(Measurement("nonfinite_gradients", share, "share", detail={"batches": f["nonfinite_batches"]}))
    if not m.finite:
        return tuple(found)
    if f["first_over_last"] is not None:
        detail: dict[str, Any] = {"layers": len(f["layers"])}
        found.append(Measurement("layer_grad_ratio", f["first_over_last"], "ratio", detail=detail))
    overall, worst = f["dead_fraction"], f["worst_dead_fraction"]
    if overall is not None and any(m.totals):
        one = worst is not None and worst >= DEAD > overall  # a single dead layer is not hidden by the others
        detail = {"layer": f["worst_layer"]} if one else {"units": sum(n for _, n in m.dead.values())}
        found.append(Measurement("dead_fraction", worst if one else overall, "share", detail=detail))
    if f["update_ratio"] is not None:
        found.append(Measurement("update_ratio", f["update_ratio"], "ratio"))
    return tuple(found)
