"""Verdicts and events to tell."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Action, Cause, Finding
from lossdoctor.core.history import TrainingHistory
from lossdoctor.live.monitor import Monitor
from lossdoctor.live.rows import LiveEvent, Verdict

OVERFITTING = Finding(
    *("LD301", "overfitting", "warning", 0.93, "val_loss", "val_loss is up 31 % from its best"),
    onset_step=840,
    evidence={"rise": 0.31, "worst": math.inf},
    causes=(Cause("capacity-exceeds-data", 0.7, "overfit_subset"),),
    actions=(Action("stop_early", "restore step 840"),),
)
EXPLOSION = Finding(
    *("LD101", "loss-nonfinite", "critical", 0.99, "loss", "loss is NaN at step 900"),
    onset_step=900,
    actions=(Action("restore_checkpoint", "before step 900"),),
)
REMARK = Finding("LD405", "noisy", "info", 0.6, "loss", "quite noisy", actions=(Action("none"),))


def verdict(
    announced: tuple[Finding, ...] = (), updated: tuple[Finding, ...] = (), withdrawn: tuple[Finding, ...] = ()
) -> Verdict:
    """A verdict at step 950 of a run whose status is critical."""
    diagnosis = Diagnosis("critical", "loss is NaN", (*announced, *updated), TrainingHistory())
    return Verdict(diagnosis, 950, announced, updated, withdrawn)


def event(kind: str = "stalled", message: str = "no row for 9 min", step: int = 40) -> LiveEvent:
    return LiveEvent(kind, step, message, 1_700_000_000.0, {"seconds": 540.0})


class Standing:
    """As much of a monitor as those who tell use; it records nothing and judges nothing."""

    def __init__(self, name: str, run_dir: str | None) -> None:
        self.name = name
        self.run_dir = None if run_dir is None else Path(run_dir)
        self.step: int | None = None
        self.diagnosis: Diagnosis | None = None
        self.events: list[LiveEvent] = []

    def event(self, kind: str, message: str, **details: Any) -> None:
        self.events.append(LiveEvent(kind, self.step or 0, message, 0.0, details))


def standing(name: str = "", run_dir: str | None = None) -> Monitor:
    return cast("Monitor", Standing(name, run_dir))
