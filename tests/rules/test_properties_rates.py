"""What holds for nearly every run: less of a log, or a smoothed one, never makes a healthy run look sick.

Strictly nobody can promise that: a test at the edge falls to either side when half of its points are taken away. So
each change is made to hundreds of runs without an alarm, and at most one in a hundred may raise one. The quick tests
make each change once to every run, with strengths in turn, and allow for the few runs; the slow ones go through all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

import numpy as np
import pytest

from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.vocabulary import severity_rank
from tests.rules import changes, runs
from tests.rules.changes import Change

MOST = 0.01  # share of the runs that may raise an alarm, over all strengths of a change
# A smoothed curve of 20 points has so much memory that its noise cannot be told from a trend: 1.1 % were measured.
MOST_SMOOTHED = 0.015
MOST_ONCE = 0.02  # the same where each run is changed once: three standard errors of 285 runs above
LEAST_RUNS = 200
Runs = tuple[tuple[str, TrainingHistory], ...]

# Logs of which an alarm is right, though the plain log shows it too faintly. One has batches grouped by length, in the
# same order in every epoch; the other fell to a constant answer after an eighth of its run, and stayed there.
TRUE_ALARMS = {"hf_trainer_state/10": {"LD401"}, "algoperf_csv/02": {"LD102", "LD201", "LD204", "LD306"}}


@cache
def quiet() -> Runs:
    """Runs without an alarm: trained ones that are truly healthy, public logs, drawn ones."""
    trained = [(r.name, r.history) for r in runs.healthy()]
    public = [(name, h) for name, h in runs.real() if "#" not in name and len(h)]
    return tuple((name, h) for name, h in (*trained, *public, *runs.drawn(3)) if not h.diagnose().alarm)


def alarms(history: TrainingHistory) -> set[str]:
    """Codes of the findings that are at least a warning."""
    return {f.code for f in history.diagnose().findings if severity_rank(f.severity) >= 1}


def raised(strengths: Callable[[int], Change], among: Runs | None = None) -> list[str]:
    """Runs that raise an alarm after a change, the k-th of them changed by ``strengths(k)``; fails above the bound."""
    among = quiet() if among is None else among
    assert len(among) >= LEAST_RUNS
    told = [(name, alarms(strengths(k)(h))) for k, (name, h) in enumerate(among)]
    return [f"{name}: {', '.join(sorted(c))}" for name, c in told if c - TRUE_ALARMS.get(name, set())]


def at_most(share: float, found: list[str], total: int) -> None:
    assert len(found) <= share * total, f"{len(found)} of {total} raise an alarm:\n" + "\n".join(found)


def spread(changes_of: Iterable[Change]) -> Callable[[int], Change]:
    """One after the other, so that every strength meets every kind of run."""
    every = list(changes_of)
    return lambda k: every[k % len(every)]


RNG = np.random.default_rng(17)
CHANGES: dict[str, list[Change]] = {
    "every k-th row, from the k-th": [changes.every(k) for k in range(2, 11)],
    "every k-th row, from the first": [changes.every(k, first=True) for k in range(2, 11)],
    "means of k rows": [changes.means(k) for k in range(2, 11)],
    "smoothed": [changes.smoothed(f) for f in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)],
    "the first rows are gone": [changes.cut(f) for f in (0.02, 0.05, 0.1, 0.15, 0.2)],
    "it goes on as it ended": [changes.continued(RNG, f) for f in (0.05, 0.1, 0.2, 0.25)],
}


@pytest.mark.parametrize("what", CHANGES)
def test_no_alarm_by(what: str) -> None:
    found = raised(spread(CHANGES[what]))
    at_most(MOST_ONCE, found, len(quiet()))


@pytest.mark.slow
@pytest.mark.parametrize("what", CHANGES)
def test_no_alarm_by_any_strength_of(what: str) -> None:
    strengths = CHANGES[what]
    found = [line for change in strengths for line in raised(lambda _k, c=change: c)]  # type: ignore[misc]
    at_most(MOST_SMOOTHED if what == "smoothed" else MOST, found, len(quiet()) * len(strengths))


def test_one_value_that_is_no_number_alarms_by_its_own_codes_only() -> None:
    """A NaN or an infinity anywhere, the first and the last place included."""
    rng = np.random.default_rng(3)
    found, total = [], 0
    for name, history in quiet():
        for metric in list(history.curves)[:2]:
            last = len(history[metric]) - 1
            if last < 3:
                continue
            index = int(rng.choice([0, last, int(rng.integers(last))]))
            value = float(rng.choice([np.nan, np.inf, -np.inf]))
            other = alarms(changes.replaced(metric, index, value)(history)) - {"LD101", "LD107"}
            total += 1
            found += [f"{name}, {metric}[{index}] = {value}: {', '.join(sorted(other))}"] if other else []
    assert total > 1.5 * LEAST_RUNS
    at_most(MOST / 2, found, total)


# what is kept

LEVELS = ("LD102", "LD201", "LD301")
KEPT = 0.8  # share of the findings about levels that thinning and smoothing must keep


@cache
def with_level_findings() -> tuple[tuple[str, TrainingHistory, str], ...]:
    sick = [(r.name, r.history) for r in runs.sick()]
    found = []
    for name, history in (*sick, *runs.real(), *runs.drawn(4)):
        codes = alarms(history)
        found += [(name, history, code) for code in LEVELS if code in codes]
    return tuple(found)


@pytest.mark.parametrize("what", ["every k-th row, from the k-th", "means of k rows", "smoothed"])
def test_findings_about_levels_are_kept(what: str) -> None:
    """Divergence, flat line and overfitting are of the level: 30 points and 8 evaluations still show them."""
    change = spread(CHANGES[what])
    lost, total = [], 0
    for k, (name, history, code) in enumerate(with_level_findings()):
        changed = change(k)(history)
        val = changed.curve("val_loss")
        if changed.points < 30 or (code == "LD301" and (val is None or len(val) < 8)):
            continue
        total += 1
        told = {c for f in changed.diagnose().findings for c in (f.code, *f.explains)}
        lost += [] if code in told else [f"{code} of {name}, {changed.points} points"]
    assert total >= 15
    assert len(lost) <= (1 - KEPT) * total, f"{len(lost)} of {total} are lost:\n" + "\n".join(lost)
