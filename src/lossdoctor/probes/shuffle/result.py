"""What shuffle_test returns, and its verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import ClassVar

from lossdoctor.core.finding import Measurement
from lossdoctor.core.numbers import percent, short
from lossdoctor.probes.chart import Chart, Line
from lossdoctor.probes.result import ProbeResult
from lossdoctor.probes.shuffle.order import Grouping

_T = 4.30  # of Student's distribution with two degrees of freedom, one-sided 2.5 %: the noise comes from three runs
_HARM = 0.05  # loss above that of shuffled runs, relative, that counts
_BLOCKED = 0.5  # share of the variation between batches that needs no trial to be called wrong


@dataclass(frozen=True)
class Trial:
    """Held-out loss while training on the loader's order, and on random orders of the same examples.

    Attributes:
        at: steps at which it was measured.
        ordered: in the loader's order.
        shuffled: of each random order.
    """

    at: tuple[int, ...]
    ordered: tuple[float, ...]
    shuffled: tuple[tuple[float, ...], ...]

    @property
    def levels(self) -> tuple[float, float, float]:
        """Mean over the later half: in order, shuffled, and the standard error of their difference by chance."""
        late = len(self.at) // 2
        runs = [mean(r[late:]) for r in self.shuffled]
        finite = len(runs) > 1 and all(map(math.isfinite, runs))
        error = stdev(runs) * math.sqrt(1 + 1 / len(runs)) if finite else math.nan
        return mean(self.ordered[late:]), mean(runs), error

    @property
    def harm(self) -> bool | None:
        """Whether the loader's order is worse, beyond the noise; None when losses are not finite."""
        ordered, shuffled, error = self.levels
        if not math.isfinite(shuffled) or math.isnan(error):
            return None
        if not math.isfinite(ordered):
            return True
        return ordered - shuffled > max(_T * error, _HARM * abs(shuffled))


@dataclass(frozen=True, kw_only=True)
class ShuffleResult(ProbeResult):
    """What :func:`lossdoctor.probes.shuffle_test` found.

    Attributes:
        same_order: whether two passes begin with the same batches; None from one batch per pass.
        label_share, input_share: of the variation of targets and of inputs that lies between batches, beyond chance (0
            to 1); None where it cannot be told. ``label_z``, ``input_z``: in standard deviations of chance.
        trial: the paired training; None where there was no need, no optimizer, or batches that cannot be mixed.
        ordered_loss, shuffled_loss: held-out loss over the later half of the trial.
        batches, examples: that were read.
    """

    test: ClassVar[str] = "shuffle_test"
    title: ClassVar[str] = "Order of the batches"

    same_order: bool | None = None
    label_share: float | None = None
    label_z: float | None = None
    input_share: float | None = None
    input_z: float | None = None
    trial: Trial | None = None
    ordered_loss: float | None = None
    shuffled_loss: float | None = None
    batches: int = 0
    examples: int = 0

    def charts(self) -> tuple[Chart, ...]:
        if self.trial is None:
            return ()
        lines = [
            Line("shuffled" if i == 0 else f"shuffled, run {i + 1}", self.trial.at, run, "line" if i == 0 else "faint")
            for i, run in enumerate(self.trial.shuffled)
        ]
        lines.append(Line("order of the loader", self.trial.at, self.trial.ordered))
        return (Chart("Loss of held-out training examples", "step", "loss", lines=tuple(lines)),)

    def rows(self) -> tuple[tuple[str, str], ...]:
        rows = [("read", f"{self.batches} batches, {self.examples} examples")]
        if self.same_order is not None:
            rows.append(("order of two passes", "the same" if self.same_order else "different"))
        for what, share, z in (("targets", self.label_share, self.label_z), ("inputs", self.input_share, self.input_z)):
            if share is not None and z is not None:
                rows.append((f"variation of {what} between batches", f"{percent(share)} beyond chance (z = {z:.1f})"))
        if self.ordered_loss is not None and self.shuffled_loss is not None:
            rows.append(("held-out loss, in order", short(self.ordered_loss)))
            rows.append(("held-out loss, shuffled", short(self.shuffled_loss)))
        return tuple(rows)


def concluded(
    same: bool | None,
    labels: Grouping | None,
    inputs: Grouping | None,
    trial: Trial | None,
    why_no_trial: str,
    counts: tuple[int, int],
    steps: int,
    seconds: float,
) -> ShuffleResult:
    """The result of what was seen."""
    seen = [g for g in (labels, inputs) if g is not None]
    grouped = [g for g in seen if g.found]
    outcome, verdict, causes = _judged(same, labels, grouped, bool(seen), trial, why_no_trial, counts[0])
    levels = trial.levels if trial is not None else None
    measured = [Measurement("batch_grouping", max(g.share for g in seen), "share")] if seen else []
    if levels is not None and levels[1] and all(map(math.isfinite, levels[:2])):
        measured.append(Measurement("order_harm", (levels[0] - levels[1]) / abs(levels[1]), "share"))
    return ShuffleResult(
        outcome=outcome,
        verdict=verdict,
        causes=causes,
        measurements=tuple(measured),
        steps=steps,
        seconds=seconds,
        same_order=same,
        label_share=labels.share if labels is not None else None,
        label_z=labels.z if labels is not None else None,
        input_share=inputs.share if inputs is not None else None,
        input_z=inputs.z if inputs is not None else None,
        trial=trial,
        ordered_loss=levels[0] if levels is not None else None,
        shuffled_loss=levels[1] if levels is not None else None,
        batches=counts[0],
        examples=counts[1],
    )


def _judged(
    same: bool | None,
    labels: Grouping | None,
    grouped: Sequence[Grouping],
    seen: bool,
    trial: Trial | None,
    why_no_trial: str,
    batches: int,
) -> tuple[str, str, dict[str, float]]:
    if batches < 2:
        return "passed", "An epoch is a single batch: there is no order to shuffle.", {"data-unshuffled": 0.1}
    if not seen and not same:
        return "unknown", f"{batches} batches are too few, or hold too little that varies, to tell their order.", {}
    order = "comes in the same order in each pass" if same else "comes in a new order in each pass"
    mixed = "batches are as mixed as chance makes them"
    if grouped:
        what = "targets" if labels is not None and labels in grouped else "inputs"
        share = (labels if what == "targets" and labels is not None else grouped[0]).share
        mixed = f"{percent(share)} of the variation of the {what} lies between batches: examples come grouped"
    text = f"The data {order}, and {mixed}."
    if not grouped and not same:
        return "passed", text, {"data-unshuffled": 0.05}
    told = "" if trial is None else _told(trial)
    harm = None if trial is None else trial.harm
    if harm:
        return "failed", f"{text} {told} Shuffle the data (shuffle=True).", {"data-unshuffled": 12.0}
    if harm is None:
        note = f" {told or why_no_trial}"
        if grouped and max(g.share for g in grouped) > _BLOCKED:
            return "failed", f"{text}{note} Shuffle the data (shuffle=True).", {"data-unshuffled": 6.0}
        return "noted", f"{text}{note}", {"data-unshuffled": 3.0 if grouped else 1.5}
    # A fixed order shows in the curve with the period of an epoch, harmless or not.
    return "noted", f"{text} {told}", {"data-unshuffled": 2.0 if same else 0.5}


def _told(trial: Trial) -> str:
    ordered, shuffled, error = trial.levels
    if trial.harm is None:
        return "Training on shuffled data did not stay finite, so that the orders could not be compared."
    said = f"Trained on in this order, held-out examples are at {short(ordered)}, in random orders at {short(shuffled)}"
    if trial.harm:
        return f"{said} ± {short(error)}."
    return f"{said} ± {short(error)}: no harm in {trial.at[-1]} steps."
