"""What is true of a run, told from data that no detector sees: did it learn, did it get worse, is it level?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.clinic import faults
from benchmarks.clinic.tasks import SPECS
from benchmarks.clinic.train import Run

# A healthy run may end this much above its best held-out loss, as a share of the level and of what was learned.
RISE_OF_LEVEL = 0.05
RISE_OF_DROP = 0.02
STILL_FALLING = 0.03  # share of the drop gained in the last eighth
UNLEARNED = 0.15  # share of the way from the untrained to the good loss that may be missing
WORSE = 0.10  # the least loss in quality, against the twin, that counts as a visible effect

_LOSSES = ("loss", "val_loss", "d_loss", "g_loss")

# What a measured outcome may rightly be called, whatever fault led to it.
OUTCOME_CODES = {
    "nonfinite": frozenset({"LD101", "LD107"}),
    "diverged": frozenset({"LD102", "LD105"}),
    "overfitted": frozenset({"LD301", "LD306", "LD307"}),
    "nothing learned": frozenset({"LD201", "LD202", "LD204"}),
    "collapsed": frozenset({"LD208"}),
}


@dataclass(frozen=True)
class Truth:
    """Facts about a run; losses are held-out ones, in evaluation mode.

    Attributes:
        finite: no logged loss is NaN or infinite.
        initial, final, best: held-out loss before training, over the last eighth, and at the best (smoothed) point.
        best_step: where the best point lies, on the log's axis.
        rise: (final − best) as a share of the drop; ``rise_level`` of the level (positive losses only, else 0).
        tail: how much of the drop was still gained between the last eighth and the one before.
        final_train: clean training loss over the last eighth.
        flaw: why the run may not be called healthy: ``"nonfinite"``, ``"not learned"``, ``"rose"``, ``"falling"``;
            empty when it may.
    """

    finite: bool
    initial: float
    final: float
    best: float
    best_step: int
    rise: float
    rise_level: float
    tail: float
    final_train: float
    flaw: str

    @property
    def verified(self) -> bool:
        """Whether a run without a fault may be called healthy."""
        return not self.flaw


def _smooth(values: NDArray[np.float64], width: int = 5) -> NDArray[np.float64]:
    """Centred running mean; the ends use what there is."""
    half = width // 2
    return np.array([values[max(0, i - half) : i + half + 1].mean() for i in range(len(values))])


def assess(run: Run) -> Truth:
    """The facts about one run."""
    test = np.array([t["test"] for t in run.truth])
    train = np.array([t["train"] for t in run.truth])
    logged = np.array([v for row in run.rows for k, v in row.items() if k in _LOSSES])
    finite = bool(np.isfinite(logged).all() and np.isfinite(test).all() and np.isfinite(train).all())
    eighth = max(1, len(test) // 8)
    final = float(test[-eighth:].mean())
    smooth = _smooth(np.where(np.isfinite(test), test, np.inf))
    at = int(np.argmin(smooth))
    best = float(smooth[at])
    drop = max(run.initial - best, 1e-12)
    rise = (final - best) / drop
    level = (final - best) / best if best > 0 else 0.0
    tail = (float(test[-2 * eighth : -eighth].mean()) - final) / drop if len(test) >= 2 * eighth else math.nan
    spec = SPECS[run.config.task]
    good, slack = spec.good, spec.slack
    flaw = ""
    if not finite:
        flaw = "nonfinite"
    elif final > good + UNLEARNED * (run.initial - good):
        flaw = "not learned"
    elif rise > slack * RISE_OF_DROP or (level > RISE_OF_LEVEL and rise > slack * 0.002 and slack == 1.0):
        flaw = "rose"
    elif tail > slack * STILL_FALLING:
        flaw = "falling"
    return Truth(
        finite=finite,
        initial=run.initial,
        final=final,
        best=best,
        best_step=int(run.truth[at]["step"]),
        rise=rise,
        rise_level=level,
        tail=tail,
        final_train=float(train[-eighth:].mean()),
        flaw=flaw,
    )


def compare(sick: Run, twin: Run) -> dict[str, object]:
    """A sick run against its healthy twin: ``visible``, ``outcome`` in a word, and by how much it is worse."""
    s, t = assess(sick), assess(twin)
    if not s.finite:
        return {"visible": True, "outcome": "nonfinite", "worse_level": None, "worse_drop": None}
    drop = max(t.initial - t.final, 1e-12)
    worse_drop = max(s.final - t.final, s.final_train - t.final_train) / drop
    worse_level = worse_drop
    if t.final > 0 and t.final_train > 0:
        worse_level = max(s.final / t.final, s.final_train / t.final_train) - 1.0
    if faults.get(sick.config.fault).spoils_validation:  # it harms what is logged, and not the model
        shown, wanted = _last(sick, "val_loss"), _last(twin, "val_loss")
        worse_drop = (shown - wanted) / drop
        worse_level = shown / wanted - 1.0 if wanted > 0 else worse_drop
    leaked = sick.config.fault == "label_leak"
    learned_by_heart = s.final_train <= t.final_train + 0.05 * drop
    if leaked:  # what is logged is too good, and what is held out is bad
        worse_drop = worse_level = (s.final - t.final) / drop
    outcome = "none"
    if leaked:
        outcome = "worse" if worse_level >= WORSE else "none"
    elif s.final_train > s.initial * (1 if s.initial > 0 else -1) + drop:
        outcome = "diverged"
    elif s.rise > RISE_OF_DROP and s.rise_level > 2 * RISE_OF_LEVEL and learned_by_heart:
        outcome = "overfitted"
    elif s.initial - s.final < 0.05 * drop:
        outcome = "nothing learned"
    elif worse_level >= WORSE and worse_drop >= 0.01:
        outcome = "worse"
    elif _spiked(sick) and not _spiked(twin):
        outcome = "spiked"
    elif sick.config.fault in ("resume_no_state", "resume_no_schedule") and _jumped(sick):
        outcome = "jumped"
    elif sick.config.fault == "masked_labels" and _collapsed(sick):
        outcome = "collapsed"
    elif sick.config.fault == "catapult" and _leapt(sick):
        outcome = "spiked"
    elif sick.config.fault == "tiny_validation" and _misled(sick, s.final, drop):
        outcome = "misled"
    return {"visible": outcome != "none", "outcome": outcome, "worse_level": worse_level, "worse_drop": worse_drop}


def _last(run: Run, metric: str) -> float:
    """Mean of the last tenth of a logged metric; NaN when it is not logged."""
    values = [row[metric] for row in run.rows if metric in row]
    return float(np.mean(values[-max(1, len(values) // 10) :])) if values else math.nan


def _jumped(run: Run) -> bool:
    """Whether the clean training loss rose by a tenth where the run was resumed."""
    at = int(run.config.param("at") / run.config.end * len(run.truth))
    train = [t["train"] for t in run.truth]
    before, after = train[max(0, at - 3) : at], train[at : at + 3]
    return bool(before and after) and max(after) - min(before) > WORSE * abs(min(before))


def _collapsed(run: Run) -> bool:
    """Whether the logged training loss ends at exactly nothing."""
    losses = [row["loss"] for row in run.rows if "loss" in row]
    return bool(losses) and all(v == 0.0 for v in losses[-max(1, len(losses) // 10) :])


def _leapt(run: Run) -> bool:
    """Whether the loss first leapt clearly above where it began."""
    losses = [row["loss"] for row in run.rows if "loss" in row]
    start = losses[: max(2, len(losses) // 10)]
    return max(start) - start[0] > 0.2 * abs(start[0])


def _misled(run: Run, true: float, drop: float) -> bool:
    """Whether the logged validation says something else of the end than the held-out data: a fifth of the level."""
    shown = _last(run, "val_loss")
    return abs(shown - true) > 0.2 * max(abs(true), 0.1 * drop)


def _spiked(run: Run) -> bool:
    """Whether a logged loss stands far out of its 20 neighbours: 8 robust deviations."""
    losses = np.array([row["loss"] for row in run.rows if "loss" in row])
    for i in range(10, len(losses)):
        near = np.delete(losses[max(0, i - 10) : i + 11], min(i, 10))
        middle = float(np.median(near))
        spread = 1.4826 * float(np.median(np.abs(near - middle))) + 1e-12
        if losses[i] - middle > 8.0 * spread:
            return True
    return False
