"""LD103 loss-spike."""

from __future__ import annotations

from collections.abc import Iterable

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent, short, sureness
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.stability.evidence import sharpened
from lossdoctor.signal.reading import Reading
from lossdoctor.signal.shape import turn
from lossdoctor.signal.swings import Excursion, excursions


class LossSpike(Rule):
    """The loss jumped far above its level, and came back (or did not).

    ## What it sees
    A stretch at least six noise units above the level before it. A spike that returns soon is information. It is
    a warning when it undid most of what had been learned for more than a moment, when the level before was never
    reached again, or when spikes keep coming.

    ## Why it matters
    A spike costs the steps until the loss is back, and an unrecovered one costs quality for good. Spikes that
    keep coming announce a divergence.

    ## When it is wrong
    Warm restarts of the learning rate lift the loss on purpose; their excursions stay far below the starting
    level. Noise with heavy tails (very small batches) looks like spikes; they are then rare in the binned curve.

    ## What to try
    Clip gradients near the 90th percentile of their norm; look at the batch of the onset. Unrecovered: restore
    the checkpoint before it and skip the next 200 to 500 batches (Chowdhery et al. 2022); for Adam try a lower
    beta2.

    ## References
    Chowdhery et al. 2022, PaLM, arXiv:2204.02311. Molybog et al. 2023, A Theory on Adam Instability,
    arXiv:2304.09871.
    """

    code = "LD103"
    name = "loss-spike"
    severity = "info"
    per_segment = True
    needs = "a loss with at least 12 points"
    options = (
        Option("score", 6.0, "height of a spike above the level before it, in noise units", "sigma", 3, 50),
        Option("share", 0.6, "share of the learned drop that a spike must undo to be a warning", "share", 0.1, 10),
        Option("bins", 3.0, "length from which a tall spike is a warning, in 128ths of the run", "bins", 1, 64),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        primary = case.primary
        if primary is None or len(primary[1]) < 12:
            yield self.abstain()
            return
        metric, reading = primary
        # Before anything was learned there is nothing to undo: an early rise is LD102's or a re-weighted loss.
        seen = [e for e in excursions(reading, case.option(self, "score")) if e.share != float("inf")]
        first_events = _rare_spikes(reading)
        if not seen and not first_events:
            return
        tall = [e for e in seen if e.share >= case.option(self, "share") and e.bins >= case.option(self, "bins")]
        lost = [e for e in seen if not e.recovered and e.share >= 0.15 and e.bins >= len(reading) // 8]
        shape = turn(reading)
        if shape is not None and shape.recovered > 0.5:
            lost = []  # on its way back, in a steady fall
        if len(reading) >= 24 and (lost or tall):
            yield self._warn(case, metric, reading, seen, max(lost or tall, key=lambda e: e.height), bool(lost))
        elif seen:
            yield self._inform(case, metric, len(seen), seen[0].step, max(e.height for e in seen))
        else:
            yield self._inform(case, metric, len(first_events), first_events[0][0], first_events[0][1])

    def _warn(
        self, case: Case, metric: str, reading: Reading, seen: list[Excursion], worst: Excursion, lost: bool
    ) -> Finding:
        undone = f"undoing {percent(min(worst.share, 99))} of what had been learned"
        back = (
            "the level before was not reached again"
            if lost
            else f"it took {percent(worst.bins / len(reading))} of the run to return"
        )
        summary = f"{metric} jumped by {short(worst.height)} at {case.step_unit} {worst.step}, {undone}; {back}"
        if len(seen) > 1:
            summary += f" ({len(seen)} such jumps)"
        restore = Action(
            "restore_checkpoint",
            f"restore the checkpoint before {case.step_unit} {worst.step} and skip the next 200 to 500 batches",
        )
        clip = Action("clip_gradients", "clip near the 90th percentile of the gradient norm")
        lower = Action("reduce_learning_rate", "divide the learning rate by 3")
        return self.finding(
            case,
            metric=metric,
            severity="warning",
            summary=summary,
            confidence=sureness(worst.score, case.option(self, "score"), 0.7),
            onset_step=worst.step,
            evidence={
                "height": worst.height,
                "score": worst.score,
                "share": worst.share,
                "jumps": len(seen),
                "recovered": not lost,
            },
            causes=sharpened(case, _CAUSES, reading, worst.step),
            actions=(restore, clip, lower) if lost else (clip, lower, restore),
            explains=("LD204",),
        )

    def _inform(self, case: Case, metric: str, count: int, step: int, height: float) -> Finding:
        times = "once" if count == 1 else f"{count} times"
        return self.finding(
            case,
            metric=metric,
            severity="info",
            summary=f"{metric} spiked {times} and came back, first at {case.step_unit} {step} by {short(height)}",
            confidence=0.8,
            onset_step=step,
            evidence={"jumps": count, "height": height},
            causes=_CAUSES,
            actions=(
                Action("clip_gradients", "clip near the 90th percentile of the gradient norm"),
                Action("clean_data", ""),
            ),
        )


_CAUSES = (
    Cause("bad-batch", 0.4, "check_data"),
    Cause("learning-rate-too-high", 0.35, "lr_trial"),
    Cause("precision-overflow", 0.15, "check_gradients"),
    Cause("momentum-too-high", 0.1, "lr_trial"),
)


def _rare_spikes(reading: Reading) -> list[tuple[int, float]]:
    """Single raw points far outside the noise, as (step, height); at most those that the summary kept."""
    scale = max(reading.raw_sigma, 0.0)
    if scale <= 0 or reading.width == 1:
        return []
    return [(int(e.step), float(e.score) * scale) for e in reading.summary.events if e.kind == "spike" and e.score > 12]
