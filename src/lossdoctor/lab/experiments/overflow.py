"""From a rate too large to NaN: the step at which each number format overflows, predicted and measured."""

from __future__ import annotations

import math

import numpy as np

from lossdoctor.core.history import TrainingHistory
from lossdoctor.lab.experiments.base import LR, STEPS, Option, experiment, found
from lossdoctor.lab.experiments.regression import Array
from lossdoctor.lab.result import Experiment, Line, Panel, Table

FORMATS = ("float16", "bfloat16", "float32", "float64")


@experiment(
    "From divergence to NaN",
    "At a rate beyond the critical one, the step at which the loss is Inf and the one at which it is NaN, by format.",
    LR,
    STEPS,
    Option("start", "where w begins", low=-100, high=100),
)
def overflow(*, lr: float = 1.5, steps: int = 600, start: float = 0.0) -> Experiment:
    """Gradient descent on (w − 3)² in four formats, w − lr·2(w − 3) as each of them rounds it."""
    import torch

    growth = abs(1 - 2 * lr)
    rows, runs, lines = [], {}, []
    numbers: dict[str, float | str] = {"growth per step": growth}
    for name in FORMATS:
        kind = getattr(torch, name)
        losses = _losses(kind, lr, steps, start)
        largest = float(torch.finfo(kind).max)
        predicted = math.inf
        if growth > 1 and start != 3:
            predicted = float(math.ceil(math.log(math.sqrt(largest) / abs(start - 3)) / math.log(growth)))
        inf, nan = (_first(np.isinf(losses)), _first(np.isnan(losses)))
        rows.append((name, largest, predicted, inf, nan))
        numbers[f"first Inf, {name}"] = math.inf if inf is None else float(inf)
        numbers[f"first NaN, {name}"] = math.inf if nan is None else float(nan)
        numbers[f"predicted, {name}"] = predicted
        numbers[f"largest, {name}"] = largest
        runs[name] = TrainingHistory({"loss": (np.arange(len(losses)), losses)}, name=f"{name}, lr {lr:g}")
        lines.append(
            Line(name, np.arange(len(losses), dtype=np.float64), np.where(np.isfinite(losses), losses, np.nan))
        )
    half, full = (rows[i][3] for i in (0, 2))
    told = (
        f"leaves float16 (largest value 65,504) at step {half} and float32 (3.4·10³⁸, what networks are trained in) at "
        f"step {full}"
        if growth > 1 and half is not None and full is not None
        else f"stays finite in these {steps} steps"
    )
    return found(
        f"At lr {lr:g} every step multiplies w − 3 by {growth:g} in size. The loss, its square, {told}; "
        "only double precision reaches 1.8·10³⁰⁸. bfloat16 has the range of float32 and overflows with it: it loses "
        "digits, not range. NaN comes later, when w itself has become Inf and Inf − Inf is taken. From then on nothing "
        "brings the weights back: reload a checkpoint and lower the rate; more steps do not help.",
        panels=(
            Panel("The loss up to where each format ends", "step", "loss", tuple(lines), log_y=True,
                  note="Each line ends at its last finite value."),
        ),
        tables=(
            Table("Overflow by number format", ("format", "largest value", "predicted step of Inf", "step of Inf",
                                                "step of NaN"), tuple(rows)),
        ),
        numbers=numbers,
        runs=runs,
        sources=("Micikevicius et al., Mixed Precision Training (2018)",),
    )  # fmt: skip


def _losses(kind: object, lr: float, steps: int, start: float) -> Array:
    import torch

    w = torch.tensor(start, dtype=kind)  # type: ignore[arg-type]
    out = np.empty(steps + 1)
    for i in range(steps + 1):
        out[i] = float((w - 3) ** 2)
        w = w - lr * (2 * (w - 3))
    return out


def _first(which: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int | None:
    at = np.flatnonzero(which)
    return int(at[0]) if len(at) else None
