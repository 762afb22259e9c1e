"""LD207 initial-loss-wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.names import tokens
from lossdoctor.core.numbers import short
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.known import is_cross_entropy
from lossdoctor.signal.reading import Reading

# No vocabulary in use is larger: a cross-entropy in nats that starts above its logarithm is worse than chance.
_LARGEST_VOCABULARY = 1_000_000


class InitialLossWrong(Rule):
    """An untrained classifier is worse than guessing: its loss starts far above ln K.

    ## What it sees
    The first logged loss (at the very start of the run), or the loss measured on the untrained model (measurement
    ``initial_loss``), against what guessing gives: ln K for K classes (``--context classes=10``). Of a cross-entropy
    whose K is unknown only a start above the logarithm of any vocabulary is told. It is a warning when the start is
    several times too high and the loss later comes below ln K, which shows that it is in this unit.

    ## Why it matters
    A start above ln K means outputs that are confident and wrong before any training. The first steps only shrink
    them (the "hockey stick"), and a learning rate that survives them is too small for the rest. Near a whole
    multiple of ln K the loss is rather summed, over tokens, heads or accumulation steps, and with it the gradients.

    ## When it is wrong
    A loss that is not a plain cross-entropy over K classes: several heads, added penalties, sums by intention. A
    start *below* ln K says nothing: the run may go on from a trained model.

    ## What to try
    Evaluate the untrained model on one batch. Make the last layer small or zero, set its bias to the labels' log
    frequencies, normalise the inputs; take the mean, not the sum, over tokens and accumulation steps.

    ## References
    Karpathy 2019, A Recipe for Training Neural Networks ("verify loss @ init", "init well").
    """

    code = "LD207"
    name = "initial-loss-wrong"
    severity = "info"
    needs = "the first steps of a loss and what it should start at (context classes=K)"
    options = (
        Option("above", 2.0, "first loss over the loss of guessing from which it is told", "ratio", 1.1, 100),
        Option("far", 4.0, "the same from which it is a warning", "ratio", 1.1, 1000),
        Option("multiple", 0.05, "distance from a whole multiple of ln K that counts as one", "share", 0, 0.5),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        measured = next((m for m in case.measurements if m.name == "initial_loss"), None)
        name = case.roles.primary("train_loss")
        reading = case.readings.get(name) if name else None
        expected = _expected(case, name, reading)
        if measured is not None and "expected" in measured.detail:
            expected = Expected(float(measured.detail["expected"]), "the measurement's expectation")
        if name is None or reading is None or expected is None:
            yield self.abstain()
            return
        first = _first(case, reading) if measured is None else (measured.value, measured.step or 0)
        if first is None:
            yield self.abstain("the loss of the first steps, not an average over the first epoch")
            return
        value, step = first
        ratio = value / expected.value
        if ratio < case.option(self, "above") or _binary_sum(case, value):
            return
        yield self._describe(case, name, reading, expected, value, step)

    def _describe(
        self, case: Case, metric: str, reading: Reading, expected: Expected, value: float, step: int
    ) -> Finding:
        ratio = value / expected.value
        in_unit = len(reading) > 0 and reading.best.value < expected.value
        quickly = _fell_quickly(reading, value)
        whole = round(ratio)
        summed = 2 <= whole <= 8 and not quickly and abs(ratio / whole - 1) < case.option(self, "multiple")
        severe = ratio >= case.option(self, "far") and in_unit and not summed and expected.exact
        how = ", and loses nine tenths of that in the first tenth of the run" if quickly else ""
        times = f"{whole} times" if summed else f"{short(ratio)} times"
        return self.finding(
            case,
            metric=metric,
            severity="warning" if severe else "info",
            summary=(
                f"{metric} starts at {short(value)}, {times} the {short(expected.value)} of guessing "
                f"({expected.source}){how}"
            ),
            confidence=0.8 if expected.exact else 0.7,
            onset_step=step,
            evidence={"initial": value, "expected": expected.value, "ratio": ratio, "lowest": reading.best.value},
            causes=_SUMMED if summed else _INITIALISED,
            actions=(
                Action("fix_initialization", "make the last layer small or zero, its bias the labels' log frequencies"),
                Action("normalize_inputs", "scale inputs to zero mean and unit variance"),
                Action(
                    "check_training_loop",
                    "divide the loss by what it is summed over (tokens, heads, accumulation steps)"
                    if summed
                    else "evaluate the untrained model on one batch and compare with the loss of guessing",
                ),
            ),
        )


_SUMMED = (
    Cause("loss-misused", 0.6, "initial_loss"),
    Cause("bad-initialization", 0.2, "initial_loss"),
    Cause("inputs-unscaled", 0.1, "check_data"),
    Cause("normal", 0.1, None),
)
_INITIALISED = (
    Cause("bad-initialization", 0.4, "initial_loss"),
    Cause("inputs-unscaled", 0.3, "check_data"),
    Cause("loss-misused", 0.2, "initial_loss"),
    Cause("learning-rate-too-high", 0.1, "lr_range_test"),
)


@dataclass(frozen=True, slots=True)
class Expected:
    """The loss of guessing, where it comes from, and whether it is the value itself or only its upper limit."""

    value: float
    source: str
    exact: bool = True


def _expected(case: Case, name: str | None, reading: Reading | None) -> Expected | None:
    if case.context.classes is not None and case.context.classes >= 2:
        return Expected(math.log(case.context.classes), f"ln {case.context.classes}")
    if name is None or reading is None or "nll" in tokens(name):  # a likelihood of many dimensions has no such limit
        return None
    if is_cross_entropy(case, name, reading):
        limit = math.log(_LARGEST_VOCABULARY)
        return Expected(limit, f"a cross-entropy over at most {_LARGEST_VOCABULARY:,} classes", exact=False)
    return None


def _first(case: Case, reading: Reading) -> tuple[float, int] | None:
    """The loss of the first step and that step; None where the log begins too late or averages over an epoch.

    A first point beyond step 1 may already have been driven up: there the loss must fall from it at once.
    """
    s = reading.summary
    head = s.head_values[:6]
    if len(head) < 2 or not np.isfinite(head[:2]).all() or case.epoch_averaged or case.step_unit == "epoch":
        return None
    step, interval = int(s.head_steps[0]), int(s.head_steps[1] - s.head_steps[0])
    if step > max(interval, 1):
        return None
    if step > 1 and float(head[0]) < float(np.nanmax(head)):
        return None
    return float(head[0]), step


def _binary_sum(case: Case, value: float) -> bool:
    """Whether it is the start of K yes-or-no decisions, summed or averaged: a multi-label loss."""
    classes = case.context.classes or 0
    return any(abs(value / (n * math.log(2)) - 1) < 0.1 for n in (1, classes) if n)


def _fell_quickly(reading: Reading, first: float) -> bool:
    """Whether nine tenths of the fall were done in the first tenth of the run."""
    if len(reading) < 10:
        return False
    early = float(reading.level[len(reading) // 10])
    return first - early > 0.9 * (first - reading.best.value)
