"""LD401 epoch-sawtooth."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent, short, sureness
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.log.epochs import LEAST_PERIODS, Seen, at_epoch, is_running_mean, swings_too
from lossdoctor.signal.arrays import median


class EpochSawtooth(Rule):
    """The training loss repeats the same pattern in every epoch.

    ## What it sees
    The autocorrelation of the training loss, without its trend, peaks at the length of an epoch: what the loss does
    within one epoch it does again in the next. The length comes from the log's epoch column, its configuration, or
    ``--context steps_per_epoch=N``; else the distance of the evaluations is tried, and must show far more clearly.

    ## Why it matters
    With shuffled data every epoch is different. A pattern that comes back means that the order of the data does:
    files sorted by class or source, shuffling switched off, or a sampler with the same seed for every epoch. The
    model forgets the beginning of the epoch while it learns the end.

    ## When it is wrong
    With Adam and a large β2 the loss falls at the start of an epoch and rises within it, although the data are
    shuffled well. A running mean that is reset at every epoch draws a saw, too (it is told by its steps, which shrink
    within each epoch), and so does a learning rate that restarts with each epoch: neither is reported.

    ## What to try
    Shuffle anew in every epoch (with several workers or shards: set the sampler's epoch). If the pattern stays,
    lower β2 or log the plain loss of each step.

    ## References
    PyTorch documentation, DistributedSampler.set_epoch. Choi et al. 2019, On Empirical Comparisons of Optimizers
    (ε and β2), arXiv:1910.05446.
    """

    code = "LD401"
    name = "epoch-sawtooth"
    severity = "warning"
    needs = "the steps of an epoch (context steps_per_epoch=N, or an epoch column) and several points in each"
    options = (
        Option("z", 6.0, "height of the peak in standard errors", "sigma", 2, 50),
        Option("strength", 0.25, "share of the loss's scatter that repeats, from which it is a warning", "share", 0, 1),
        Option("told", 0.15, "the same from which it is told at all", "share", 0, 1),
        Option("guessed", 0.6, "the same where the epoch's length is only guessed", "share", 0, 1),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        metric = case.roles.primary("train_loss")
        reading = case.readings.get(metric) if metric else None
        known = _steps_per_epoch(case)
        length = known or _between_evaluations(case)
        if metric is None or reading is None or length is None or case.epoch_averaged:
            yield self.abstain()
            return
        seen = at_epoch(reading, length)
        if seen is None:
            yield self.abstain()
            return
        factor = 1.0 if known else 2.0
        least = case.option(self, "told" if known else "guessed")
        if seen.period.strength < least or seen.period.z < factor * case.option(self, "z"):
            return
        rate = case.reading("learning_rate")
        if (rate is not None and swings_too(rate, length)) or is_running_mean(reading, length):
            return
        yield self._describe(case, metric, seen, length, known is not None)

    def _describe(self, case: Case, metric: str, seen: Seen, length: float, known: bool) -> Finding:
        strong = seen.period.strength >= case.option(self, "strength")
        when = (
            f"with every epoch of {short(length)} {case.step_unit}s"
            if known
            else f"every {short(length)} {case.step_unit}s, from evaluation to evaluation"
        )
        adam = "adam" in (case.context.optimizer or "").lower()
        return self.finding(
            case,
            metric=metric,
            severity="warning" if strong else "info",
            summary=(
                f"{metric} repeats itself {when}: "
                f"{percent(seen.period.strength)} of its scatter comes back ({short(seen.period.z)} standard errors)"
            ),
            confidence=sureness(seen.period.z, case.option(self, "z"), 0.6) * (1.0 if known else 0.85),
            onset_step=seen.first_step,
            evidence={
                "steps_per_epoch": length,
                "period_points": seen.period.period,
                "autocorrelation": seen.period.strength,
                "z": seen.period.z,
                "epochs": seen.epochs,
            },
            causes=_WITH_ADAM if adam or case.context.optimizer is None else _WITHOUT,
            actions=(
                Action("shuffle_data", "shuffle anew in every epoch; with shards, set the sampler's epoch"),
                Action("adjust_momentum", "if the data are shuffled: a lower β2, such as 0.95"),
            ),
            explains=("LD104", "LD103", "LD308"),
        )


_WITH_ADAM = (
    Cause("data-unshuffled", 0.65, "shuffle_test"),
    Cause("momentum-too-high", 0.2, "lr_trial"),
    Cause("normal", 0.15, None),
)
_WITHOUT = (
    Cause("data-unshuffled", 0.85, "shuffle_test"),
    Cause("normal", 0.15, None),
)


def _steps_per_epoch(case: Case) -> float | None:
    """How many steps an epoch has: known, or from a column that counts epochs beside the steps."""
    if case.step_unit != "step":
        return None
    if case.context.steps_per_epoch:
        return float(case.context.steps_per_epoch)
    column = case.reading("epoch")
    if column is None or len(column) < 3:
        return None
    s = column.summary
    values = s.head_values[np.isfinite(s.head_values)], s.tail_values[np.isfinite(s.tail_values)]
    if not len(values[0]) or not values[1][-1] - values[0][0] >= LEAST_PERIODS:
        return None
    return float((s.last_step - s.first_step) / (values[1][-1] - values[0][0]))


def _between_evaluations(case: Case) -> float | None:
    """The distance of the evaluations: most often one epoch. None unless they come at even distances."""
    val = case.reading("val_loss")
    if case.step_unit != "step" or val is None or len(val.summary.tail_steps) < LEAST_PERIODS + 1:
        return None
    gaps = np.diff(val.summary.tail_steps).astype(np.float64)
    gap = median(gaps)
    even = gap > 0 and float(np.mean(np.abs(gaps - gap) <= 0.05 * gap)) > 0.8
    return gap if even else None
