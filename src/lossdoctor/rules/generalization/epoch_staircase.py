"""LD308 epoch-staircase."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent, short, sureness
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.signal.arrays import median
from lossdoctor.signal.reading import Reading

Floats = NDArray[np.float64]
_LEAST = 3  # values that each third of an epoch must hold


class EpochStaircase(Rule):
    """The training loss falls only where a new epoch begins, and is level within each epoch.

    ## What it sees
    From the second epoch on, the level of the first third of each epoch lies clearly below that of the last third
    of the epoch before, while within the epochs nothing like it happens: the steps at the boundaries make nearly all
    of the fall.

    ## Why it matters
    The model remembers examples from having seen them once: what falls at the boundary is memory, not
    understanding. Common when large models are fine-tuned on little data; validation tells whether it harms.

    ## When it is wrong
    A learning rate that drops at every epoch, or data sorted from easy to hard, draw the same picture.

    ## What to try
    Look at validation at each boundary and keep the best; fewer epochs, a smaller learning rate, more data.

    ## References
    Howard and Whitaker 2023, Can LLMs learn from a single example? (fast.ai).
    """

    code = "LD308"
    name = "epoch-staircase"
    severity = "info"
    needs = "the training loss of single steps over at least 3 epochs, with the epoch logged or steps_per_epoch given"
    options = (
        Option("part", 0.8, "share of the fall after the first epoch that happens at boundaries", "share", 0.5, 1),
        Option("z", 4.0, "drop at the boundaries in standard errors", "sigma", 1, 20),
        Option("relative", 0.05, "typical drop at a boundary over the level before it", "share", 0, 1),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        train = case.reading("train_loss")
        metric = case.roles.primary("train_loss")
        edges = None if train is None or case.epoch_averaged else _boundaries(case, train)
        epochs = [] if train is None or edges is None else _epochs(train, edges)
        if train is None or metric is None or len(epochs) < 3:
            yield self.abstain()
            return
        heads = np.array([median(e[: len(e) // 3]) for e in epochs])
        tails = np.array([median(e[-(len(e) // 3) :]) for e in epochs])
        drops = tails[:-1] - heads[1:]
        inside = heads[1:] - tails[1:]  # of the first epoch everything falls
        total = float(drops.sum() + max(float(inside.sum()), 0.0))
        se = 1.2533 * 2**0.5 * _noise(train) / np.sqrt(min(len(e) for e in epochs) // 3)
        typical = median(drops)
        z = typical / se if se > 0 else float("inf")
        if float(drops.min()) <= 2 * se or z < case.option(self, "z") or total <= 0:
            return
        part = float(drops.sum()) / total
        # In a smooth fall the boundary takes half of what falls between an epoch's first and last third.
        steep = typical > 2 * median(np.abs(inside))
        relative = median(drops / np.abs(tails[:-1])) if train.positive else typical / train.drop if train.drop else 1.0
        if part < case.option(self, "part") or not steep or relative < case.option(self, "relative"):
            return
        yield self._describe(case, metric, train, len(epochs), drops, part, z)

    def _describe(
        self, case: Case, metric: str, train: Reading, epochs: int, drops: Floats, part: float, z: float
    ) -> Finding:
        return self.finding(
            case,
            metric=metric,
            summary=(
                f"{metric} falls at epoch boundaries only: by {short(median(drops))} at each of {len(drops)}, "
                f"{percent(part)} of its fall after the first epoch"
            ),
            confidence=min(sureness(z, case.option(self, "z"), 0.5), 0.9),
            onset_step=int(train.steps[0]),
            evidence={"epochs": epochs, "drop_per_boundary": median(drops), "share_at_boundaries": part, "z": z},
            causes=(
                Cause("capacity-exceeds-data", 0.5, "compare_splits"),
                Cause("learning-rate-too-high", 0.25, "lr_trial"),
                Cause("too-little-data", 0.25, "compare_splits"),
            ),
            actions=(
                Action("stop_early", "keep the checkpoint of the epoch with the lowest validation loss"),
                Action("reduce_learning_rate", "divide by 3, or train for fewer epochs"),
            ),
        )


def _boundaries(case: Case, train: Reading) -> Floats | None:
    """The steps at which epochs begin, from the logged epoch or the known number of steps per epoch."""
    epoch = case.reading("epoch")
    first, last = float(train.summary.first_step), float(train.summary.last_step)
    if epoch is not None and len(epoch) >= 4 and bool(np.all(np.diff(epoch.y) >= 0)):
        if case.step_unit == "epoch" or epoch.y[-1] - epoch.y[0] < 2:
            return None
        if np.allclose(epoch.y, np.round(epoch.y)):  # whole numbers: an epoch begins where the number changes
            at = np.flatnonzero(np.diff(epoch.y) > 0)
            inner = (epoch.steps[at] + epoch.steps[at + 1]) / 2
        else:
            whole = np.arange(np.floor(epoch.y[0]) + 1, epoch.y[-1])
            inner = np.interp(whole, epoch.y, epoch.steps)
        return np.concatenate(([first], inner, [last + 1]))
    length = case.context.steps_per_epoch
    if length is None or case.step_unit == "epoch" or length < 2:
        return None
    start = np.floor(first / length) * length
    return np.concatenate((np.arange(start, last, length), [last + 1]))


def _noise(train: Reading) -> float:
    """The standard deviation of one of the values that :func:`_epochs` gives."""
    return train.raw_sigma if train.summary.raw() is not None else train.sigma


def _epochs(train: Reading, edges: Floats) -> list[Floats]:
    """The values in each epoch, of a run logged densely enough: single points where all are kept, else whole bins."""
    raw = train.summary.raw()
    if raw is not None:
        finite = np.isfinite(raw[1])
        steps, y, half = raw[0][finite].astype(np.float64), raw[1][finite], 0.0
    else:
        steps, y = train.steps, train.y
        half = 0.5 * float(np.median(np.diff(steps))) if len(steps) > 1 else 0.0
    at = np.searchsorted(steps - half, edges), np.searchsorted(steps + half, edges)
    parts = [y[a:b] for a, b in zip(at[0][:-1], at[1][1:], strict=True) if b > a]
    if len(parts) > 3 and len(parts[-1]) < 3 * _LEAST:
        parts = parts[:-1]  # the last epoch was cut off
    return parts if parts and min(len(p) for p in parts) >= 3 * _LEAST else []
