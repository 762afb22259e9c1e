"""Images as they should not reach a network: raw 0 to 255, or divided twice."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.numbers import short
from lossdoctor.probes.data.case import Case
from lossdoctor.probes.data.finding import DataFinding
from lossdoctor.probes.data.remedy import Remedy
from lossdoctor.probes.data.stability import Stability
from lossdoctor.probes.data.table import Part


def check(case: Case) -> list[DataFinding]:
    """Pixels from 0 to 255 that were not scaled, or that were divided by 255 twice; training and validation alike.

    Tables of at least 64 features count as images where all values are whole, from 0 to 255, and reach beyond 200.
    """
    found = [f for part in case.train.parts if is_pixels(part) for f in _range(part, case.stability)]
    if case.val is not None:
        for ours, theirs in zip(case.train.parts, case.val.parts, strict=False):
            if is_pixels(ours) or is_pixels(theirs):
                found += _differ(ours, theirs)
    return found


def is_pixels(part: Part) -> bool:
    """Whether these are the pixels of images."""
    if part.kind == "image":
        return True
    if part.kind != "table" or part.features < 64:
        return False
    x = part.values
    return bool(np.isfinite(x).all() and x.min() == 0 and 200 < x.max() <= 255 and np.all(x == np.rint(x)))


def is_raw(part: Part) -> bool:
    """Whether these are pixels from 0 to 255 (or 65535) as they are stored."""
    if not is_pixels(part):
        return False
    low, high = _span(part)
    return low >= 0 and 2 < high <= 65535 and (part.integers or high > 32)


def _span(part: Part) -> tuple[float, float]:
    finite = part.values[np.isfinite(part.values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _range(part: Part, stable: Stability | None) -> list[DataFinding]:
    low, high = _span(part)
    numbers = {"lowest": low, "highest": high}
    if is_raw(part):
        top = 255.0 if high <= 255 else 65535.0
        channels = part.features if part.kind == "image" else 1
        values = part.values.reshape(-1, channels)
        mean = [round(float(np.nanmean(v, dtype=np.float64)) / top, 4) for v in values.T]
        std = [round(float(np.nanstd(v, dtype=np.float64)) / top, 4) for v in values.T]
        shape = "" if channels == 1 else ".view(1, -1, 1, 1)"
        given = f"torch.tensor({mean}){shape}, torch.tensor({std}){shape}" if channels > 1 else f"{mean[0]}, {std[0]}"
        remedy = Remedy(
            what=f"Divide by {top:.0f} and standardise by channel.",
            code=f"mean, std = {given}\nx = (x.float() / {top:.0f} - mean) / std",
        )
        summary = (
            f"{part.name} holds raw pixels from {short(low)} to {short(high)}: networks expect values of about 0 to 1"
        )
        if stable is not None:
            numbers |= {"critical_rate": stable.squared_error, "critical_rate_standardized": stable.standardized}
            summary += (
                f", and a linear model on these is stable only below a learning rate of {short(stable.squared_error)}"
                f" (squared error; standardised {short(stable.standardized)})"
            )
        return [
            DataFinding(
                check="pixels",
                severity="warning",
                summary=summary,
                value=high,
                numbers=numbers,
                causes={"inputs-unscaled": 6.0},
                remedy=remedy,
            )
        ]
    if low >= 0 and 0 < high <= 1.01 / 255:
        summary = f"{part.name} reaches only from {short(low)} to {short(high)}: it was divided by 255 twice"
        remedy = Remedy(what="Divide once: torchvision's ToTensor does it already.", code="x = x * 255")
        return [
            DataFinding(
                check="pixels",
                severity="critical",
                summary=summary,
                value=high,
                numbers=numbers,
                causes={"inputs-unscaled": 6.0},
                remedy=remedy,
            )
        ]
    return []


def _differ(ours: Part, theirs: Part) -> list[DataFinding]:
    a, b = _span(ours), _span(theirs)
    width = a[1] - a[0], b[1] - b[0]
    if min(width) <= 0 or max(width) / min(width) < 50:
        return []
    summary = (
        f"training pixels reach from {short(a[0])} to {short(a[1])}, validation pixels from {short(b[0])} to"
        f" {short(b[1])}: they are scaled differently"
    )
    return [
        DataFinding(
            check="pixels",
            severity="critical",
            summary=summary,
            value=max(width) / min(width),
            causes={"validation-differs": 10.0, "bad-data": 2.0},
            remedy=Remedy(what="Apply one and the same transformation to both."),
        )
    ]
