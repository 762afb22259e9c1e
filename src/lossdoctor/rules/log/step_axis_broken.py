"""LD402 step-axis-broken."""

from __future__ import annotations

from collections.abc import Iterable

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.rules.base import Case, Rule


class StepAxisBroken(Rule):
    """The step axis goes back: the run was restarted or resumed.

    ## What it sees
    A place where the steps fall behind ones already logged. The log is cut there into segments, which are judged
    separately; points that a later segment logged again are superseded and left out.

    ## Why it matters
    Read as one curve, a resumed run shows a jump that is not there, and a spike detector would cry.

    ## When it is wrong
    Rows written out of order by several processes: they are few and scattered, and not taken for a restart.

    ## What to try
    Nothing, when the resume was intended. Log to a new file after a restart to keep runs apart.

    ## References
    None: it is a property of the log.
    """

    code = "LD402"
    name = "step-axis-broken"
    severity = "info"
    needs = "a loss"

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        if case.index != 0 or len(case.segments) < 2 or case.primary is None:
            return
        starts = ", ".join(str(s.first_step) for s in case.segments[1:6])
        lost = sum(s.superseded for s in case.segments)
        yield self.finding(
            case,
            metric=case.primary[0],
            summary=(
                f"the steps go back {len(case.segments) - 1} times (to {case.step_unit} {starts}): "
                f"judged as {len(case.segments)} segments, {lost} superseded points left out"
            ),
            confidence=0.95,
            onset_step=case.segments[1].first_step,
            evidence={"segments": len(case.segments), "superseded": lost},
            causes=(Cause("normal", 1.0, None),),
            actions=(Action("none", ""),),
        )
