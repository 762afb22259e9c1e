"""The verdict of eval_mode_gap: which mode is worse, by what, and which modules make it so."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from lossdoctor.core.finding import Measurement
from lossdoctor.core.numbers import percent, short
from lossdoctor.probes.chart import Chart
from lossdoctor.probes.modes.measure import Seen
from lossdoctor.probes.result import ProbeResult

FAR = 0.5  # gap over the loss in training mode, as in the rule of batch normalisation
WORTH = 0.05  # the same, that is worth a word
SURE = 4.0  # standard errors
_FRESH = 0.05  # share of initial values in kept statistics up to which they may be judged
_SMALL, _ENOUGH = 8, 32  # examples per batch: few for statistics of a batch, and enough


@dataclass(frozen=True, kw_only=True)
class EvalModeResult(ProbeResult):
    """What :func:`lossdoctor.probes.eval_mode_gap` found.

    Attributes:
        train_mode, eval_mode: mean loss of the same batches.
        gap: evaluation minus training mode; ``standard_error`` of it, paired by batch (NaN from one batch).
        kinds: what acts differently in the two modes: ``"dropout"``, ``"norm"``.
        dropout: what dropout adds to the loss, alone; None without.
        norm: what the kept statistics add to the loss in place of the batch's own, alone; None without.
        recomputed: loss in evaluation mode after the statistics were made anew; None where that was not tried.
        val_loss: of the validation batches, in evaluation mode; None without. ``val_error`` is its standard error.
        batches, batch_size: what was looked at.
    """

    test: ClassVar[str] = "eval_mode_gap"
    title: ClassVar[str] = "Training and evaluation mode"

    train_mode: float = math.nan
    eval_mode: float = math.nan
    gap: float = math.nan
    standard_error: float = math.nan
    kinds: tuple[str, ...] = ()
    dropout: float | None = None
    norm: float | None = None
    recomputed: float | None = None
    val_loss: float | None = None
    val_error: float | None = None
    batches: int = 0
    batch_size: int = 0

    def charts(self) -> tuple[Chart, ...]:
        bars = [("training mode", self.train_mode), ("evaluation mode", self.eval_mode)]
        if self.recomputed is not None:
            bars.append(("evaluation, statistics made anew", self.recomputed))
        if self.val_loss is not None:
            bars.append(("validation data, evaluation mode", self.val_loss))
        if not all(math.isfinite(v) for _, v in bars):
            return ()
        return (Chart("Loss of the same training batches", x_label="loss", bars=tuple(bars)),)

    def rows(self) -> tuple[tuple[str, str], ...]:
        error = f" ± {short(self.standard_error)}" if math.isfinite(self.standard_error) else ""
        rows = [
            ("training mode", short(self.train_mode)),
            ("evaluation mode", short(self.eval_mode)),
            ("gap", f"{short(self.gap)}{error} over {self.batches} batches of {self.batch_size}"),
        ]
        if self.dropout is not None:
            rows.append(("dropout alone adds", short(self.dropout)))
        if self.norm is not None:
            rows.append(("kept statistics alone add", short(self.norm)))
        if self.recomputed is not None:
            rows.append(("evaluation mode, statistics made anew", short(self.recomputed)))
        if self.val_loss is not None:
            known = self.val_error is not None and math.isfinite(self.val_error)
            spread = f" ± {short(self.val_error or 0)}" if known else ""
            rows.append(("validation, evaluation mode", short(self.val_loss) + spread))
        return tuple(rows)


def concluded(seen: Seen, steps: int, seconds: float) -> EvalModeResult:
    """The result of the losses."""
    gap, error = seen.apart("eval", "train")
    train, evaluation = seen.mean("train"), seen.mean("eval")
    val_loss = val_error = None
    if seen.validation is not None:
        val_loss, count = float(seen.validation.mean()), len(seen.validation)
        val_error = float(seen.validation.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    outcome, verdict, causes = _judged(seen, train, gap, error)
    if val_loss is not None and val_error is not None and outcome != "unknown":
        text, more = _validation(train, evaluation, gap, val_loss, math.hypot(val_error, _error(seen)))
        verdict += text
        causes = {**causes, **more}
    detail = {"train_mode": train, "eval_mode": evaluation, "standard_error": error}
    measured = () if outcome == "unknown" else (Measurement("eval_mode_gap", gap, "loss", detail=detail),)
    return EvalModeResult(
        outcome=outcome,
        verdict=verdict,
        causes=causes,
        measurements=measured,
        steps=steps,
        seconds=seconds,
        train_mode=train,
        eval_mode=evaluation,
        gap=gap,
        standard_error=error,
        kinds=seen.kinds,
        dropout=seen.apart("dropout", "eval")[0] if "dropout" in seen.tables else None,
        norm=seen.apart("eval", "norm")[0] if "norm" in seen.tables else None,
        recomputed=seen.mean("recomputed") if "recomputed" in seen.tables else None,
        val_loss=val_loss,
        val_error=val_error,
        batches=seen.tables["eval"].shape[1],
        batch_size=seen.batch_size,
    )


Judged = tuple[str, str, dict[str, float]]


def _judged(seen: Seen, train: float, gap: float, error: float) -> Judged:
    if not math.isfinite(gap):
        losses = f"{short(train)} in training mode and {short(seen.mean('eval'))} in evaluation mode"
        return "unknown", f"The loss is {losses}: not finite, which must be mended first.", {}
    size = abs(train)
    if gap == 0 and not error > 0:
        return "passed", "Both modes give the same loss: nothing in this model depends on the mode.", dict(_SAME)
    if math.isnan(error):
        return "unknown", "One batch alone does not tell a difference of the modes from noise: give at least two.", {}
    z = gap / error if error else math.copysign(math.inf, gap)
    numbers = f"{short(train)} in training mode and {short(train + gap)} in evaluation mode"
    if gap > WORTH * size and z > SURE:
        if seen.fresh > _FRESH and "norm" in seen.kinds:
            return "unknown", (
                f"The loss is {numbers}, but {percent(seen.fresh)} of the statistics of batch normalisation are still"
                " their initial values: test again after more training steps."
            ), {}  # fmt: skip
        return _worse(seen, numbers, gap, far=gap > FAR * size and gap > FAR * seen.spread())
    if gap < -WORTH * size and z < -SURE:
        return _better(seen, train, gap, numbers)
    if abs(gap) + SURE * error > FAR * size:
        return (
            "unknown",
            f"The loss is {numbers}, a difference within its noise of {short(error)}: take more batches.",
            {},
        )
    return "passed", f"On the same batches the loss is {numbers}: the modes agree.", dict(_SAME)


_SAME = {"eval-mode-mismatch": 0.1, "over-regularized": 0.5}


def _worse(seen: Seen, numbers: str, gap: float, *, far: bool) -> Judged:
    """Evaluation is worse, which dropout cannot do."""
    text = f"On the same training batches the loss is {numbers}"
    causes = {"eval-mode-mismatch": 8.0 if far else 2.0, "validation-differs": 0.6, "over-regularized": 0.7}
    if "norm" not in seen.kinds:
        text += ", though there is no batch normalisation: look for code that depends on self.training."
        return ("failed" if far else "noted"), text, causes
    if "recomputed" in seen.tables and seen.apart("recomputed", "train")[0] < 0.3 * gap:
        text += "; with statistics made anew from these batches the gap closes: the kept ones are stale, recompute them"
        text += " before evaluating, or raise their momentum."
        causes["batch-too-small"] = 1.0 if seen.batch_size < _ENOUGH else 0.5
    else:
        text += f"; statistics made anew do not close the gap: batches (of {seen.batch_size}) differ too much from one"
        text += (
            " another, or dropout before a normalisation shifts its variance. Shuffle the data, enlarge the batch per"
        )
        text += " per device, or use group or layer normalisation."
        causes["batch-too-small"] = 4.0 if seen.batch_size <= _SMALL else 2.0 if seen.batch_size < _ENOUGH else 0.7
        causes["data-unshuffled"] = 2.0
    return ("failed" if far else "noted"), text, causes


def _better(seen: Seen, train: float, gap: float, numbers: str) -> Judged:
    share = -gap / abs(train) if train else math.inf
    text = f"On the same training batches the loss is {numbers}: the training loss is overstated by {percent(share)}"
    dropout = seen.apart("dropout", "eval")[0] if "dropout" in seen.tables else 0.0
    norm = seen.apart("norm", "eval")[0] if "norm" in seen.tables else 0.0
    strong = share > FAR
    if norm > max(dropout, -gap / 2):
        text += f" by the noise of normalising over {seen.batch_size} examples; enlarge the batch per device."
        causes = {"batch-too-small": 4.0 if seen.batch_size <= _SMALL else 2.0, "eval-mode-mismatch": 0.5}
    else:
        who = f"dropout makes {percent(min(dropout / -gap, 1.0))} of that" if dropout > 0 else "it is no dropout module"
        text += f" ({who}); compare validation with the loss in evaluation mode."
        if strong:
            text += " So strong a regularisation slows learning: lower it while the model underfits."
        causes = {"over-regularized": 4.0 if strong else 2.0, "eval-mode-mismatch": 0.3}
    return "noted", text, {**causes, "data-leak": 0.5}


def _validation(train: float, evaluation: float, gap: float, val: float, error: float) -> tuple[str, dict[str, float]]:
    """What remains between validation and training when both are in evaluation mode."""
    left, logged = val - evaluation, val - train
    size = max(abs(evaluation), abs(train))
    text = f" Validation is at {short(val)}, {short(abs(left))} {'above' if left > 0 else 'below'} the training data"
    text += (
        f" in the same mode ({short(abs(logged))} {'above' if logged > 0 else 'below'} the training loss as logged)."
    )
    if not math.isfinite(error):
        return text, {}
    differs = abs(left) > SURE * error and abs(left) > WORTH * size
    explained = abs(logged) > WORTH * size and abs(gap) > 0.5 * abs(logged) and gap * logged > 0
    if explained and not differs:
        return text, {"validation-differs": 0.3, "data-leak": 0.4}
    if differs:
        return text, {"validation-differs": 2.0 if left < 0 else 1.5}
    return text, {}


def _error(seen: Seen) -> float:
    values = seen.tables["eval"][0]
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
