"""LD405 loss-negative."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.names import tokens
from lossdoctor.core.numbers import short
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.signal.reading import Reading

# Word in a metric's name -> what it is; none of these can be below zero. "nll" is not among them: the negative
# logarithm of a density may have any sign.
_NEVER_NEGATIVE = {
    **dict.fromkeys(("crossentropy", "ce", "xent", "bce", "logloss", "mlogloss"), "cross-entropy"),
    **dict.fromkeys(("mse", "rmse", "msle", "rmsle", "l2"), "squared error"),
    **dict.fromkeys(("mae", "mape", "l1", "huber"), "absolute error"),
    **dict.fromkeys(("ppl", "perplexity"), "perplexity"),
    **dict.fromkeys(("wer", "cer", "hinge"), "count or hinge of errors"),
}


class LossNegative(Rule):
    """The loss goes below zero.

    ## What it sees
    Several values below zero, by more than rounding. A warning where the metric's name says what it is and that
    cannot be negative: a cross-entropy, a squared or absolute error, a perplexity.

    ## Why it matters
    A negative cross-entropy means targets that are no probabilities (labels 0 to 255 instead of 0 to 1), or
    probabilities where the loss expects their logarithms, or the reverse: the gradient then has no bottom to reach.

    ## When it is wrong
    Log-densities (flows, autoencoders with a Gaussian decoder), rewards with a minus sign, similarities and some
    contrastive losses are rightly negative. That is why it is information by default.

    ## What to try
    Look at the range of targets and outputs just before the loss: logits or probabilities, indices or one-hot rows.

    ## References
    PyTorch documentation of CrossEntropyLoss, NLLLoss (expects log-probabilities) and BCELoss (targets in 0 to 1).
    """

    code = "LD405"
    name = "loss-negative"
    severity = "info"
    needs = "a loss"
    options = (
        Option("points", 2.0, "how many values below zero it takes", "count", 1, 1000),
        Option("rounding", 1e-6, "size over the largest value that is rounding", "share", 0, 0.1),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        names = [n for r in ("train_loss", "val_loss") if (n := case.roles.primary(r)) in case.readings and n]
        if not names:
            yield self.abstain()
            return
        judged = [(n, case.readings[n], _kind(n)) for n in names]
        judged = [j for j in judged if self._is_negative(case, j[1])]
        if judged:  # train and validation are told once; a name that says what it is goes first
            yield self._describe(case, *max(judged, key=lambda j: bool(j[2])))

    def _is_negative(self, case: Case, reading: Reading) -> bool:
        s = reading.summary
        if reading.n == 0 or not s.min_value < 0:
            return False
        if -s.min_value <= case.option(self, "rounding") * max(abs(s.max_value), abs(s.min_value)):
            return False
        return _below(reading) >= min(case.option(self, "points"), reading.n)

    def _describe(self, case: Case, metric: str, reading: Reading, kind: str) -> Finding:
        s = reading.summary
        why = f", which a {kind} cannot be" if kind else ""
        return self.finding(
            case,
            metric=metric,
            severity="warning" if kind else "info",
            summary=f"{metric} is negative: lowest {short(s.min_value)} at {case.step_unit} {s.min_step}{why}",
            confidence=0.9,
            onset_step=_first_below(reading),
            evidence={"lowest": s.min_value, "lowest_step": s.min_step, "kind": kind or "unknown"},
            causes=(
                Cause("loss-misused", 0.6, "overfit_one_batch"),
                Cause("bad-data", 0.35, "check_data"),
                Cause("normal", 0.05, None),
            )
            if kind
            else (
                Cause("normal", 0.75, None),
                Cause("loss-misused", 0.2, "overfit_one_batch"),
                Cause("bad-data", 0.05, "check_data"),
            ),
            actions=(
                Action("check_training_loop", "look at the range of outputs (logits or probabilities?) and of targets"),
            ),
        )


def _kind(metric: str) -> str:
    """What the metric is by its name, where that cannot be negative; else empty."""
    words = tokens(metric)
    if {"cross", "entropy"} <= set(words):
        return "cross-entropy"
    return next((_NEVER_NEGATIVE[w] for w in words if w in _NEVER_NEGATIVE), "")


def _below(reading: Reading) -> int:
    """How many of the values that are kept are negative; of a long curve a block's level stands for its points."""
    s = reading.summary
    raw = s.raw()
    if raw is not None:
        return int((raw[1] < 0).sum())
    ends = int((s.head_values < 0).sum() + (s.tail_values < 0).sum())
    return ends + reading.width * int((reading.y < 0).sum())


def _first_below(reading: Reading) -> int:
    """The first step that is known to be negative."""
    s = reading.summary
    for steps, values in (s.raw() or (s.head_steps, s.head_values), (reading.steps, reading.y)):
        at = np.flatnonzero(values < 0)
        if len(at):
            return int(steps[at[0]])
    return int(s.min_step)
