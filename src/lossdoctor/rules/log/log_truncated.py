"""LD403 log-truncated."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.signal.reading import Reading

# How readers say that a file ends in the middle of something, or that the run did not end by itself.
_CUT = re.compile(
    r"cut off (?:or damaged )?(?:at|after)|is cut off|compressed data is damaged"
    r"|nothing can be read from .* to the end|status is (?:FAILED|KILLED)"
)


class LogTruncated(Rule):
    """The log ends before the run should have.

    ## What it sees
    A last record or line that is cut off in the middle, a run that its tracker calls failed or killed, or a last
    step well before the planned one (``--context planned_steps=N``, or the log's own configuration).

    ## Why it matters
    What happened last is not in the log: a crash, a full disk, a killed job. A learning-rate schedule that was cut
    off leaves a model that was never annealed, and its last loss says little about what the run would have reached.

    ## When it is wrong
    A run that is still going on, and one that early stopping ended.

    ## What to try
    Look at the job's own output for the reason, and resume from the last checkpoint.

    ## References
    None: it is a property of the log.
    """

    code = "LD403"
    name = "log-truncated"
    severity = "info"
    needs = "a loss, and the planned number of steps (context planned_steps=N)"
    options = (
        Option("missing", 0.05, "share of the planned steps that is missing", "share", 0.001, 1),
        Option("intervals", 3.0, "logging intervals that are missing at least", "count", 1, 100),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        primary = case.primary
        if primary is None or len(primary[1]) < 2:
            yield self.abstain()
            return
        metric = primary[0]
        last = max(r.summary.last_step for r in case.readings.values() if r.summary.n)
        note = next((n for n in case.notes if _CUT.search(n)), None)
        planned = self._unreached(case, primary[1], last)
        if note is None and planned is None:
            if case.context.planned_steps is None:
                yield self.abstain()
            return
        yield self._describe(case, metric, note, planned, last)

    def _unreached(self, case: Case, reading: Reading, last: int) -> int | None:
        """The planned number of steps, when the log stops well before it; else None."""
        planned = case.context.planned_steps
        if planned is None or case.step_unit in ("row", "token"):
            return None
        steps = reading.summary.tail_steps
        interval = float(np.median(np.diff(steps))) if len(steps) > 1 else 1.0
        missing = planned - last
        least = max(case.option(self, "missing") * planned, case.option(self, "intervals") * max(interval, 1.0))
        return planned if missing > least else None

    def _describe(self, case: Case, metric: str, note: str | None, planned: int | None, last: int) -> Finding:
        said = []
        if planned is not None:
            said.append(f"the log stops at {case.step_unit} {last} of {planned} planned ({percent(last / planned)})")
        if note is not None:
            said.append(note)
        return self.finding(
            case,
            metric=metric,
            summary="; ".join(said),
            confidence=0.9 if note else 0.75,
            onset_step=last,
            evidence={"last_step": last, **({"planned_steps": planned} if planned is not None else {})},
            causes=(
                Cause("normal", 0.5, None),
                Cause("training-loop-bug", 0.3, "log_more"),
                Cause("budget-too-short", 0.2, None),
            )
            if note is None
            else (Cause("training-loop-bug", 0.6, "log_more"), Cause("normal", 0.4, None)),
            actions=(Action("none", "look at the job's own output for why it ended; resume from the last checkpoint"),),
        )
