"""LD107 nonfinite-masked."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.signal.reading import Reading


class NonfiniteMasked(Rule):
    """The loss looks finite, but the gradient norm is NaN or infinite.

    ## What it sees
    A gradient norm that is non-finite in most of the last points, while the loss logged beside it is finite.

    ## Why it matters
    Loggers hide NaN losses: the Hugging Face Trainer replaces them by the running mean or by zero
    (``logging_nan_inf_filter``), a loss scaler skips the step and halves its scale. The model does not learn, or is
    already destroyed, and the loss curve does not show it.

    ## When it is wrong
    Single infinite gradient norms under mixed precision are the loss scaler's normal work, and not reported.

    ## What to try
    Turn the logging filter off and look at the raw loss; look at the loss scale; lower the learning rate; use bf16
    instead of fp16.

    ## References
    Hugging Face Transformers, TrainingArguments.logging_nan_inf_filter. Micikevicius et al. 2018, arXiv:1710.03740.
    """

    code = "LD107"
    name = "nonfinite-masked"
    severity = "warning"
    per_segment = True
    needs = "a gradient norm"
    options = (
        Option("share", 0.5, "share of the last points of the gradient norm that are non-finite", "share", 0.01, 1),
        Option("last", 20.0, "how many of the last points are looked at", "count", 2, 2000),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        norms, primary = case.reading("grad_norm"), case.primary
        metric = case.roles.primary("grad_norm")
        if norms is None or primary is None or metric is None or norms.summary.n < 2:
            yield self.abstain()
            return
        last = norms.summary.tail_values[-int(case.option(self, "last")) :]
        share = float(np.mean(~np.isfinite(last)))
        bad = norms.summary.n - norms.summary.n_finite
        if bad < 2 or share < case.option(self, "share") or not _ends_finite(primary[1]):
            return
        yield self._describe(case, metric, primary[0], norms, share, bad)

    def _describe(self, case: Case, metric: str, loss: str, norms: Reading, share: float, bad: int) -> Finding:
        onset = norms.summary.first_nonfinite_step
        return self.finding(
            case,
            metric=metric,
            severity="critical" if share > 0.9 else "warning",
            summary=(
                f"{metric} is NaN or infinite in {percent(share)} of its last points (first at {case.step_unit} "
                f"{onset}) while {loss} is logged as finite: something hides the NaN"
            ),
            confidence=0.9,
            onset_step=onset,
            evidence={"nonfinite_points": bad, "points": norms.summary.n, "share_of_last": share},
            causes=(
                Cause("precision-overflow", 0.45, "check_gradients"),
                Cause("training-loop-bug", 0.3, "log_more"),
                Cause("learning-rate-too-high", 0.25, "lr_range_test"),
            ),
            actions=(
                Action(
                    "check_training_loop", "turn the logger's NaN filter off and look at the raw loss and loss scale"
                ),
                Action("reduce_learning_rate", "divide the learning rate by 10"),
                Action("change_precision", "bf16 instead of fp16"),
            ),
            explains=("LD208", "LD201", "LD204"),
        )


def _ends_finite(loss: Reading) -> bool:
    return len(loss.summary.tail_values) > 0 and bool(np.isfinite(loss.summary.tail_values[-1]))
