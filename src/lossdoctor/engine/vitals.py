"""The vital signs of a run: some sixty plain numbers about its curves, the same for every run, NaN where unknown.

They are what the learned ranking of causes and advice looks at (:mod:`lossdoctor.engine.learned`). Each is a share, a
ratio or a logarithm of one, so that none depends on the unit of the loss or on how often it was logged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lossdoctor.rules.base import Case
from lossdoctor.signal.arrays import median
from lossdoctor.signal.reading import Reading
from lossdoctor.signal.shape import kendall_z
from lossdoctor.signal.swings import swings

Floats = NDArray[np.float64]
Signs = dict[str, float]

LEAST = 8  # finite points below which a curve has no signs
UNKNOWN = math.nan
_WHEN = (0.05, 0.1, 0.25, 0.5, 0.75)  # shares of the run at which the curve's height is taken
_LEFT = tuple(f"left_{round(100 * w)}" for w in _WHEN)

# name -> what it says, in words with one place for the number; the docs and `--verbose` show them.
CURVE_SIGNS: Mapping[str, str] = {
    "gaps": "share of the values that are NaN or Inf",
    "lost": "share of the starting level that was lost by the end",
    "clear": "log10 of the fall in units of its noise",
    "risen": "rise from the lowest level to the end, as a share of the fall",
    "risen_level": "rise from the lowest level to the end, as a share of that level",
    "best_at": "where the lowest level lies, from 0 (start) to 1 (end)",
    **{f"left_{round(100 * w)}": f"share of the fall that is left at {round(100 * w)} % of the run" for w in _WHEN},
    "late": "share of the fall that happens in the last third",
    "late_trend": "Kendall's tau of the last third: -1 falling, 1 rising",
    "noise_fall": "log10 of the point-to-point noise over the fall",
    "noise_level": "log10 of the point-to-point noise over the level at the end",
    "peak": "highest value above the start, log10 of 1 + its share of the fall",
    "swing": "swings about the trend as a share of the fall",
    "swing_slow": "swings over the noise: 1 for noise alone, high for slow swings",
}
RUN_SIGNS: Mapping[str, str] = {
    "gap": "validation above training at the end, as a share of the validation loss",
    "gap_start": "the same over the first tenth",
    "val_follows": "fall of the validation loss over that of the training loss",
    "val_noisier": "log10 of the noise of validation over that of training",
    "chance_start": "first training loss over ln K",
    "chance_end": "last training loss over ln K",
    "accuracy": "validation accuracy at the end, 0 at chance and 1 at best",
    "accuracy_trend": "Kendall's tau of the validation accuracy over the last half",
    "grad_start": "log10 of the gradient norm over the loss, first tenth",
    "grad_end": "log10 of the gradient norm over the loss, last tenth",
    "grad_grown": "log10 of the gradient norm at the end over the start",
    "grad_peak": "log10 of the largest gradient norm over the median",
    "grad_spread": "log10 of the spread of the gradient norm over its median",
    "grad_gaps": "share of the gradient norms that are NaN or Inf",
    "lr": "log10 of the highest learning rate",
    "lr_end": "log10 of the last learning rate over the highest",
    "lr_half_at": "where the learning rate has fallen below half of its peak for good, 1 for never",
    "lr_tenth_at": "where it has fallen below a tenth for good, 1 for never",
    "lr_peak_at": "where the learning rate is highest",
    "lr_after": "share of the fall that happens after the learning rate fell below a tenth",
}


def names() -> tuple[str, ...]:
    """All signs, in their fixed order."""
    curves = (f"{role}_{name}" for role in ("train", "val") for name in CURVE_SIGNS)
    return (*curves, *RUN_SIGNS)


def vitals(case: Case) -> Signs:
    """The signs of a run; NaN for what its log does not show.

    >>> from lossdoctor.engine.cases import build_cases
    >>> from lossdoctor.core.history import TrainingHistory
    >>> history = TrainingHistory(loss=[2.0 * 0.9**i + 0.1 for i in range(100)])
    >>> round(vitals(build_cases(history, history.context, (), {})[0])["train_lost"], 2)
    0.95
    """
    train, val = case.reading("train_loss"), case.reading("val_loss")
    signs = dict.fromkeys(names(), UNKNOWN)
    for role, reading in (("train", train), ("val", val)):
        if reading is not None:
            signs.update({f"{role}_{k}": v for k, v in _curve(reading).items()})
    signs.update(_pair(case, train, val))
    signs.update(_level(case, train))
    signs.update(_accuracy(case))
    signs.update(_gradients(case.reading("grad_norm"), train))
    signs.update(_rates(case.reading("learning_rate"), train))
    return {k: _bounded(v) for k, v in signs.items()}


def _bounded(value: float) -> float:
    return float(min(max(value, -20.0), 20.0)) if not math.isnan(value) else UNKNOWN


def _log(value: float) -> float:
    """log10, kept within what a ratio of measured numbers can mean."""
    return math.log10(min(max(value, 1e-12), 1e12)) if not math.isnan(value) else UNKNOWN


def _over(a: float, b: float) -> float:
    """a / b; NaN where that says nothing."""
    return a / b if b > 0 and math.isfinite(a) and math.isfinite(b) else UNKNOWN


def _curve(reading: Reading) -> Signs:
    s = reading.summary
    total = max(1, s.n)
    signs = {"gaps": 1.0 - reading.n / total}
    if reading.n < LEAST or len(reading) < 4:
        return signs
    start, end, best, drop = reading.start, reading.end, reading.best, reading.drop
    noise = reading.raw_sigma
    k = len(reading)
    third = reading.y[-max(4, k // 3) :]
    signs |= {
        "clear": _log(_over(drop, math.hypot(start.se, best.se))),
        "risen": min(_over(end.value - best.value, drop), 5.0),
        "best_at": reading.fraction(reading.best_step),
        "late": _over(_at(reading, 2 / 3) - end.value, drop),
        "late_trend": _tau(third),
        "noise_fall": _log(_over(noise, drop)),
        "peak": math.log10(1.0 + max(0.0, min(_over(s.max_value - start.value, drop), 1e9))) if drop > 0 else UNKNOWN,
    }
    signs |= {name: _over(at - best.value, drop) for name, at in zip(_LEFT, _at_all(reading, _WHEN), strict=True)}
    if reading.positive:
        signs["lost"] = max(-5.0, 1.0 - end.value / start.value)
        signs["risen_level"] = min(_over(end.value - best.value, best.value), 5.0)
        signs["noise_level"] = _log(_over(noise, end.value))
    swing = swings(reading)
    if swing is not None:
        signs["swing"], signs["swing_slow"] = min(swing.share, 5.0), min(swing.smooth, 20.0)
    return signs


def _at(reading: Reading, share: float) -> float:
    """The level of the smooth curve at a share of the run."""
    return _at_all(reading, (share,))[0]


def _at_all(reading: Reading, shares: Sequence[float]) -> list[float]:
    first, span = reading.summary.first_step, reading.summary.last_step - reading.summary.first_step
    found: list[float] = np.interp([first + w * span for w in shares], reading.steps, reading.level).tolist()
    return found


def _tau(y: Floats) -> float:
    """Kendall's tau of a stretch against time, from its z-score."""
    n = len(y)
    pairs = n * (n - 1) / 2.0
    return kendall_z(y) * math.sqrt(n * (n - 1) * (2 * n + 5) / 18.0) / pairs if n >= 4 else UNKNOWN


def _enough(*readings: Reading | None) -> bool:
    return all(r is not None and r.n >= LEAST and len(r) >= 4 for r in readings)


def _pair(case: Case, train: Reading | None, val: Reading | None) -> Signs:
    if train is None or val is None or not _enough(train, val) or not case.roles.comparable:
        return {}
    signs = {
        "val_follows": _over(val.drop, train.drop),
        "val_noisier": _log(_over(val.raw_sigma, train.raw_sigma)),
    }
    if train.positive and val.positive:
        signs["gap"] = _over(val.end.value - train.end.value, val.end.value)
        signs["gap_start"] = _over(_at(val, 0.1) - _at(train, 0.1), _at(val, 0.1))
    return signs


def _level(case: Case, train: Reading | None) -> Signs:
    classes = case.context.classes
    if train is None or not _enough(train) or classes is None or classes < 2:
        return {}
    chance = math.log(classes)
    return {"chance_start": min(train.start.value / chance, 20.0), "chance_end": min(train.end.value / chance, 20.0)}


def _accuracy(case: Case) -> Signs:
    reading = case.reading("val_accuracy") or case.reading("train_accuracy")
    if reading is None or not _enough(reading):
        return {}
    end = reading.end.value
    if reading.summary.min_value < 0.0 or reading.summary.max_value > 100.0:
        return {}
    if reading.summary.max_value > 1.0:  # in per cent
        end /= 100.0
    chance = 1.0 / case.context.classes if case.context.classes else 0.0
    half = reading.y[len(reading) // 2 :]
    return {"accuracy": (end - chance) / (1.0 - chance) if chance < 1.0 else UNKNOWN, "accuracy_trend": _tau(half)}


def _gradients(norms: Reading | None, train: Reading | None) -> Signs:
    if norms is None:
        return {}
    s = norms.summary
    signs = {"grad_gaps": 1.0 - norms.n / max(1, s.n)}
    if not _enough(norms):
        return signs
    middle, early, late = median(norms.y), median(norms.y[: max(1, len(norms) // 10)]), norms.end.value
    signs |= {
        "grad_grown": _log(_over(late, early)),
        "grad_peak": _log(_over(s.max_value, middle)),
        "grad_spread": _log(_over(norms.raw_sigma, middle)),
    }
    if train is not None and _enough(train) and train.positive:
        signs["grad_start"] = _log(_over(early, train.start.value))
        signs["grad_end"] = _log(_over(late, train.end.value))
    return signs


def _rates(rates: Reading | None, train: Reading | None) -> Signs:
    if rates is None or not len(rates) or rates.summary.max_value <= 0:
        return {}
    peak, last = rates.summary.max_value, float(rates.y[-1])
    signs = {
        "lr": _log(peak),
        "lr_end": _log(_over(last, peak)),
        "lr_peak_at": rates.fraction(float(rates.steps[int(np.argmax(rates.y))])),
        "lr_half_at": _below(rates, 0.5 * peak),
        "lr_tenth_at": _below(rates, 0.1 * peak),
    }
    if train is not None and _enough(train) and signs["lr_tenth_at"] < 1.0:
        signs["lr_after"] = _over(_at(train, signs["lr_tenth_at"]) - train.end.value, train.drop)
    return signs


def _below(rates: Reading, limit: float) -> float:
    """Where the rate has fallen below a limit for good, as a share of the run; 1 when it has not."""
    above = np.flatnonzero(rates.y >= limit)
    last = int(above[-1]) if len(above) else -1
    return rates.fraction(float(rates.steps[last])) if last < len(rates.y) - 1 else 1.0
