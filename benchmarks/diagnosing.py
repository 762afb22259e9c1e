"""Diagnosing: one curve of a million points, and a thousand runs of a thousand points, reading not counted.

Prints also how the time of one curve grows with its length, and what two processes make of the thousand runs.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from lossdoctor.cli.pool import diagnose_all
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.options import Settings
from lossdoctor.engine import diagnose

BAR_CURVE = 0.2
BAR_FLEET = 30.0


def history(points: int, seed: int, *, val: bool = False) -> TrainingHistory:
    """A noisy descent; every third one turns and rises at its half."""
    rng = np.random.default_rng(seed)
    at = np.arange(points) / points
    loss = 0.5 + 2 * np.exp(-6 * at) + 0.05 * rng.normal(size=points)
    if seed % 3 == 0:
        loss += np.maximum(0, at - 0.5)
    curves = {"loss": (np.arange(points), loss)}
    if val:
        every = max(1, points // 100)
        curves["val_loss"] = (np.arange(0, points, every), loss[::every] + 0.1)
    return TrainingHistory(curves, name=f"run {seed}")


def least(make: list[TrainingHistory]) -> float:
    """Least time to diagnose one of several fresh histories (nothing is kept from one to the next)."""
    times = []
    for one in make:
        began = time.perf_counter()
        diagnose(one)
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> int:
    """Print the figures against their bars; 1 when one is missed."""
    missed = 0

    def tell(name: str, seconds: float, bar: float | None = None) -> None:
        nonlocal missed
        verdict = "" if bar is None else f"  bar {bar:g} s  {'ok' if seconds <= bar else 'MISSED'}"
        missed += bar is not None and seconds > bar
        print(f"{name:<44} {seconds:8.3f} s{verdict}")

    least([history(1000, 1)])  # the first call imports the rules
    for points in (1_000, 10_000, 100_000):
        tell(f"one curve of {points:,} points", least([history(points, s) for s in range(1, 6)]))
    tell("one curve of 1,000,000 points", least([history(1_000_000, s) for s in range(1, 6)]), BAR_CURVE)
    tell("the same with NaN from its middle on", least([_broken(s) for s in range(1, 4)]))
    fleet = [history(1000, s, val=True) for s in range(1000)]
    for jobs in (1, 2):
        began = time.perf_counter()
        results = diagnose_all(fleet, None, Settings(), jobs)
        name = f"1,000 runs of 1,000 points, {jobs} process{'es' if jobs > 1 else ''}"
        tell(name, time.perf_counter() - began, BAR_FLEET if jobs == 2 else None)
        fleet = [history(1000, s, val=True) for s in range(1000)]
    alarms = sum(d.alarm for d in results)
    print(f"{'of them with an alarm':<44} {alarms:8,}")
    return int(missed > 0)


def _broken(seed: int) -> TrainingHistory:
    whole = history(1_000_000, seed)["loss"]
    values = whole.values.copy()
    values[len(values) // 2 :] = np.nan
    return TrainingHistory({"loss": (whole.steps, values)})


if __name__ == "__main__":
    sys.exit(main())
