"""LD303 generalization-gap."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.names import parse
from lossdoctor.core.numbers import percent, short, sureness
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.continued import begins_late
from lossdoctor.rules.generalization.paired import Paired, pair
from lossdoctor.signal.arrays import median
from lossdoctor.signal.reading import Reading
from lossdoctor.signal.shape import fall

_FIRST = 0.05  # share of the run within which the first logged loss is that of a model that has learned little


class GeneralizationGap(Rule):
    """Validation stands far above training, from the first evaluation on or since the training set was memorised.

    ## What it sees
    *From the start*: at the first evaluations, when training still had most of its fall before it and both losses
    normally agree, validation already stood clearly above training, by an amount (or a factor) that then stayed the
    same; or every evaluation lies far above the level at which training started. *Opened since*: training ends
    near zero while validation is level at a large share of the level where the run began. Where both accuracies
    are logged they decide instead: training near 100 %, validation far below.

    ## Why it matters
    A gap that is there from the start is not learned: both losses measure different things (preprocessing, a
    different distribution, an evaluation bug), and no regularisation closes it. A gap that memorisation opened
    means that longer training improves nothing but the training loss.

    ## When it is wrong
    A moderate gap (validation at one and a half times training) is normal and not told. Strong label smoothing in
    only one of both losses. A validation set that is harder on purpose.

    ## What to try
    Send training examples through the validation path in evaluation mode: if the gap stays, it is a bug in that
    path. If it goes, compare both sets; regularise or get more data.

    ## References
    Zhang et al. 2017, Understanding deep learning requires rethinking generalization, arXiv:1611.03530.
    """

    code = "LD303"
    name = "generalization-gap"
    severity = "warning"
    needs = "training and validation loss of one quantity with at least 5 evaluations, or both accuracies"
    options = (
        Option("gap", 0.5, "gap over the fall of training from which a constant one is a warning", "share", 0.1, 10),
        Option("told", 0.25, "gap over the fall of training from which a constant one is told", "share", 0.05, 10),
        Option("memorised", 0.03, "training's end over the starting level that counts as near zero", "share", 0, 0.5),
        Option("kept", 0.3, "validation's end over the starting level that counts as high", "share", 0.05, 1),
        Option("accuracy", 0.3, "least difference of the accuracies after memorisation", "share", 0.05, 1),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        accuracies = _accuracies(case)
        p = pair(case, 5)
        if p is None and accuracies is None:
            yield self.abstain()
            return
        if accuracies is not None and accuracies[0] - accuracies[1] < 0.1:
            return  # whatever the losses say, the model does as well on new data: it is only surer than it should be
        if p is not None:
            known = self._from_start(case, p)
            if known is not None:
                yield known
                return
        memorised = self._memorised(case, p, accuracies)
        if memorised is not None:
            yield memorised

    def _from_start(self, case: Case, p: Paired) -> Finding | None:
        train, above = p.train, p.above
        drop, start, end = p.drop, train.start.value, train.end.value
        clear = fall(train)
        if drop <= 0 or len(above) < 6 or clear is None or clear.z < 4:
            return None
        if train.summary.first_step > _FIRST * train.summary.last_step:
            return None  # most may have been learned before the first row
        if train.positive and end > 0.6 * start:
            return None  # little was learned: any gap is large beside it
        first, last = median(above[:3]), median(above[-max(3, len(above) // 4) :])
        z = first / p.noise if p.noise > 0 else float("inf")
        if float(p.val.y.min()) >= start + drop:
            words = f"every evaluation lies far above where training started ({short(start)})"
            return self._constant(case, p, first, last, "warning", 0.85, words)
        share = float(above[:3].min()) / drop
        early = float(p.at[0]) - end >= 0.4 * (start - end)
        if not early or z < 4 or share <= 0:
            return None
        if share >= case.option(self, "told") and _constant(above):
            warn = share >= case.option(self, "gap")
            words = f"{short(first)} above it at the first evaluations, {short(last)} at the end"
            sure = sureness(share, case.option(self, "told"), 0.5)
            return self._constant(case, p, first, last, "warning" if warn else "info", min(sure, 0.85), words)
        if train.positive and end < 0.35 * start:
            ratio = np.log(p.val.y[-len(above) :] / p.at)
            if float(ratio[:3].min()) >= np.log(1.8) and _constant(ratio):
                factor = float(np.exp(median(ratio)))
                words = f"{short(factor)} times as high throughout, while training fell by {percent(1 - end / start)}"
                return self._constant(case, p, first, last, "warning", 0.75, words)
        return None

    def _constant(
        self, case: Case, p: Paired, first: float, last: float, severity: str, confidence: float, words: str
    ) -> Finding:
        metric = case.roles.primary("val_loss") or ""
        return self.finding(
            case,
            metric=metric,
            severity=severity,
            summary=f"{metric} stands above the training loss from the first evaluation on: {words}",
            confidence=confidence,
            onset_step=int(p.steps[0]),
            evidence={"first_gap": first, "last_gap": last, "gap_over_fall": first / p.drop},
            causes=(
                Cause("validation-differs", 0.6, "compare_splits"),
                Cause("eval-mode-mismatch", 0.2, "eval_mode_gap"),
                Cause("loss-misused", 0.2, "compare_splits"),
            ),
            actions=(
                Action("check_validation", "send training examples through the validation path: the gap should vanish"),
                Action("check_data", "compare preprocessing and distribution of both sets"),
            ),
            explains=("LD302", "LD305"),
        )

    def _memorised(self, case: Case, p: Paired | None, accuracies: tuple[float, float] | None) -> Finding | None:
        metric = case.roles.primary("val_loss" if p is not None else "val_accuracy") or ""
        val = case.reading("val_loss") if p is not None else None
        if accuracies is not None:
            high, low = accuracies
            if high < 0.95 or high - low < case.option(self, "accuracy"):
                return None
            words = f"training accuracy {percent(high)}, validation accuracy {percent(low)}"
            evidence: dict[str, object] = {"train_accuracy": high, "val_accuracy": low}
            confidence = sureness(high - low, case.option(self, "accuracy"), 1.0)
        else:
            if p is None or not (p.train.positive and p.val.positive) or begins_late(p.train):
                return None
            base = max(p.train.start.value, p.val.start.value)
            end, level = p.train.end.value, p.val.end.value
            fell = end < 0.1 * p.train.start.value and end <= case.option(self, "memorised") * base
            if not fell or level < case.option(self, "kept") * base:
                return None
            words = f"training fell to {short(end)}, validation is at {short(level)}"
            evidence = {"train_end": end, "val_end": level, "starting_level": base}
            confidence = sureness(level / base, case.option(self, "kept"), 1.0)
        if val is not None and _still_falls(val):
            return None
        return self.finding(
            case,
            metric=metric,
            summary=f"the training set is memorised and validation does not follow: {words}",
            confidence=min(confidence, 0.9),
            onset_step=val.best_step if val is not None else None,
            evidence=evidence,
            causes=(
                Cause("capacity-exceeds-data", 0.4, "overfit_subset"),
                Cause("too-little-data", 0.3, "compare_splits"),
                Cause("validation-differs", 0.3, "compare_splits"),
            ),
            actions=(
                Action("add_regularization", "augmentation first, then dropout and weight decay"),
                Action("get_more_data", "or start from a pretrained model"),
                Action("check_validation", "send training examples through the validation path: the gap should vanish"),
            ),
            explains=("LD204", "LD205", "LD203", "LD307", "LD305", "LD306"),
        )


def _constant(values: NDArray[np.float64]) -> bool:
    """Whether a gap neither opens nor closes: its thirds agree within a quarter."""
    third = len(values) // 3
    levels = [median(values[:3]), median(values[third : 2 * third]), median(values[-third:])]
    return min(levels) > 0 and max(levels) <= 1.25 * min(levels)


def _still_falls(val: Reading) -> bool:
    last = fall(val, len(val) - max(len(val) // 3, 4))
    return last is not None and last.trend_z < -2 and last.relative > 0.1


def _accuracies(case: Case) -> tuple[float, float] | None:
    """The last training and validation accuracy as shares, where both are logged and of one kind."""
    names = [case.roles.primary(r) for r in ("train_accuracy", "val_accuracy")]
    readings = [case.reading(r) for r in ("train_accuracy", "val_accuracy")]
    if None in names or any(r is None or len(r) < 5 for r in readings):
        return None
    if parse(names[0] or "").bare != parse(names[1] or "").bare:
        return None
    unit = 100.0 if max(float(r.y.max()) for r in readings if r is not None) > 1.5 else 1.0
    train, val = (r.end.value / unit for r in readings if r is not None)
    return train, val
