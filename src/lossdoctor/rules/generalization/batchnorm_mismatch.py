"""LD309 batchnorm-mismatch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lossdoctor.core.finding import Abstention, Action, Cause, Finding, Measurement
from lossdoctor.core.names import parse, tokens
from lossdoctor.core.numbers import short, sureness
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.signal.arrays import median
from lossdoctor.signal.reading import Reading

_EVAL = frozenset({"eval", "evaluation", "evalmode", "inference"})


@dataclass(frozen=True, slots=True)
class _Modes:
    """The loss of the same data in both modes of the model."""

    train: float
    evaluation: float
    metric: str
    step: int | None
    z: float


class BatchnormMismatch(Rule):
    """On the same data the loss in evaluation mode is far above the loss in training mode.

    ## What it sees
    A measurement named ``eval_mode_gap`` (its value: loss in evaluation mode minus loss in training mode on the
    same examples; its detail may hold ``train_mode`` and ``eval_mode``, both losses), or a logged curve of the
    training data evaluated in evaluation mode (``train_eval_loss``) beside the training loss.

    ## Why it matters
    Dropout makes evaluation mode better, never worse. When it is worse, the statistics that batch normalisation
    keeps do not describe the data, and every evaluation and every use of the model suffers.

    ## When it is wrong
    Statistics lag behind a model that still changes fast, in the first steps of a run.

    ## What to try
    Switch modes on one batch. Lower the momentum of the statistics or recompute them before evaluating, enlarge
    the batch per device, synchronise batch normalisation, or use group or layer normalisation.

    ## References
    Wu and Johnson 2021, Rethinking "Batch" in BatchNorm, arXiv:2105.07576.
    """

    code = "LD309"
    name = "batchnorm-mismatch"
    severity = "warning"
    needs = "the loss of the same training data in evaluation mode: run the eval_mode_gap test, or log train_eval_loss"
    options = (
        Option("relative", 0.5, "evaluation mode above training mode over the latter", "share", 0.05, 10),
        Option("share", 0.1, "the same over what training gained, where that is known", "share", 0, 10),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        train = case.reading("train_loss")
        modes = _measured(case, train) or _logged(case, train)
        if modes is None:
            yield self.abstain()
            return
        gap = modes.evaluation - modes.train
        far = gap > case.option(self, "relative") * abs(modes.train) and modes.z > 4
        if train is not None and train.drop > 0:
            far = far and gap > case.option(self, "share") * train.drop
        if far:
            yield self._describe(case, modes, gap)

    def _describe(self, case: Case, modes: _Modes, gap: float) -> Finding:
        ratio = gap / abs(modes.train) if modes.train else float("inf")
        return self.finding(
            case,
            metric=modes.metric,
            summary=(
                f"on the same training data the loss is {short(modes.train)} in training mode and "
                f"{short(modes.evaluation)} in evaluation mode"
            ),
            confidence=min(sureness(ratio, case.option(self, "relative"), 0.7), 0.95),
            onset_step=modes.step,
            evidence={"train_mode": modes.train, "eval_mode": modes.evaluation, "gap": gap},
            causes=(
                Cause("eval-mode-mismatch", 0.75, "eval_mode_gap"),
                Cause("batch-too-small", 0.25, "eval_mode_gap"),
            ),
            actions=(
                Action("check_validation", "recompute the statistics of batch normalisation before evaluating"),
                Action("increase_batch_size", "per device, or synchronise batch normalisation between devices"),
            ),
            explains=("LD303", "LD305"),
        )


def _measured(case: Case, train: Reading | None) -> _Modes | None:
    """The latest measurement, with the level of training where it does not say both losses."""
    found: Measurement | None = next((m for m in reversed(case.measurements) if m.name == "eval_mode_gap"), None)
    metric = case.roles.primary("train_loss") or case.roles.primary("val_loss")
    if found is None or metric is None or not np.isfinite(found.value):
        return None
    low, high = found.detail.get("train_mode"), found.detail.get("eval_mode")
    if isinstance(low, int | float) and isinstance(high, int | float):
        return _Modes(float(low), float(high), metric, found.step, float("inf"))
    if train is None or not len(train):
        return None
    base = train.end.value
    return _Modes(base, base + found.value, metric, found.step, float("inf"))


def _logged(case: Case, train: Reading | None) -> _Modes | None:
    """A curve of training data in evaluation mode, compared with the training loss over its last third."""
    primary = case.roles.primary("train_loss")
    if train is None or len(train) < 4:
        return None
    for name in case.roles.auxiliary:
        reading = case.readings.get(name)
        said = parse(name)
        if name == primary or reading is None or len(reading) < 6 or said.split != "train":
            continue
        if not _EVAL & set(tokens(name)) or said.bare != parse(primary or "").bare:
            continue
        late = slice(len(reading) - max(len(reading) // 3, 3), None)
        steps = reading.steps[late]
        if steps[0] < train.steps[0] or steps[-1] > train.steps[-1] + (train.steps[-1] - train.steps[0]) * 0.05:
            continue
        above = reading.y[late] - np.interp(steps, train.steps, train.level)
        noise = float(np.hypot(reading.noise_between(0, len(reading)), train.sigma)) / len(steps) ** 0.5
        base = median(np.interp(steps, train.steps, train.level))
        z = median(above) / noise if noise > 0 else float("inf")
        return _Modes(base, base + median(above), name, int(steps[0]), z)
    return None
