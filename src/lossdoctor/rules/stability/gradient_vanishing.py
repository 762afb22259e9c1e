"""LD106 gradient-vanishing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent, short, sureness
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.layers import first_over_last
from lossdoctor.signal.arrays import median
from lossdoctor.signal.reading import Reading


class GradientVanishing(Rule):
    """Gradients all but vanish while the loss is still high.

    ## What it sees
    The loss has lost little of its starting level, and the first layers' gradient norm is less than a thousandth
    of the last layers' (from logged norms of layers, or the measurement ``layer_grad_ratio`` of an active test), or
    the gradient norm of the whole model fell by three orders of magnitude, or it is a ten-thousandth of the loss
    or less from the start.

    ## Why it matters
    The layers that see the input do not learn: the model is a fixed random function with a thin trained layer on
    top, and no learning rate mends it.

    ## When it is wrong
    Gradients also vanish because everything is learned: a run whose loss fell is left alone. Frozen first layers
    have no gradient on purpose.

    ## What to try
    He or Xavier initialisation; ReLU-like instead of sigmoid or tanh activations; normalisation; residual
    connections. Look at the gradient norm of each layer.

    ## References
    Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural networks. He et al.
    2015, arXiv:1502.01852.
    """

    code = "LD106"
    name = "gradient-vanishing"
    severity = "warning"
    needs = "the gradient norm, best of every layer (or the active test of gradients)"
    options = (
        Option("layers", 1e-3, "gradient norm of the first layers over the last ones'", "ratio", 1e-9, 0.1),
        Option("fallen", 1e-3, "gradient norm at the end over that of the first tenth", "ratio", 1e-9, 0.1),
        Option("of_loss", 1e-4, "gradient norm over the loss, for positive losses", "ratio", 1e-12, 0.01),
        Option(
            "learned", 0.3, "share of the starting loss that was lost, above which it is not high", "share", 0.01, 1
        ),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        primary, norms = case.primary, case.reading("grad_norm")
        layers = first_over_last(case)
        enough = norms is not None and len(norms) >= 8 and primary is not None and len(primary[1]) >= 8
        if layers is None and not enough:
            yield self.abstain()
            return
        loss = None if primary is None else primary[1]
        if loss is not None and len(loss) >= 4 and not self._high(case, loss):
            return
        if layers is not None and layers[0] < case.option(self, "layers"):
            yield self._layers(case, layers[0], layers[1])
        elif enough and norms is not None and loss is not None:
            yield from self._whole(case, norms, loss)

    def _high(self, case: Case, loss: Reading) -> bool:
        """Whether the loss has lost little of its starting level (of its noise, where it may be negative)."""
        if not loss.positive:
            return not loss.fell
        first = loss.summary.head_values[:1]  # a bowl is at its bottom before the first bin ends
        start = max(loss.start.value, float(first[0]) if np.isfinite(first).all() else 0.0)
        return start - loss.best.value < case.option(self, "learned") * start

    def _whole(self, case: Case, norms: Reading, loss: Reading) -> list[Finding]:
        metric = case.roles.primary("grad_norm") or ""
        early, late = median(norms.y[: max(3, len(norms) // 10)]), norms.end.value
        level, limit = median(norms.y), case.option(self, "of_loss")
        if norms.summary.max_value == 0.0:
            return []  # exactly zero: detached or frozen, which a flat line says
        if early > 0 and late < case.option(self, "fallen") * early and late < limit * 100 * abs(loss.end.value):
            what = f"{metric} fell to {percent(late / early)} of its early level while the loss is still high"
            sure = sureness(early / max(late, 1e-300), 1 / case.option(self, "fallen"), 0.5)
            onset = int(norms.steps[int((norms.y < 0.03 * early).argmax())])
            return [self._describe(case, metric, what, min(sure, 0.9), onset, {"early": early, "late": late})]
        if loss.positive and 0 < level < limit * loss.end.value and not loss.fell:
            what = f"{metric} is {short(level / loss.end.value)} times the loss, and the loss does not fall"
            sure = sureness(limit * loss.end.value / level, 1.0, 0.2)
            return [
                self._describe(
                    case, metric, what, min(sure, 0.85), int(norms.steps[0]), {"norm": level, "loss": loss.end.value}
                )
            ]
        return []

    def _layers(self, case: Case, ratio: float, metric: str) -> Finding:
        name = metric or (case.primary[0] if case.primary is not None else "")
        size = f"{short(ratio)} times the last layers'" if ratio > 0 else "zero and the last layers' are not"
        what = f"the first layers' gradients are {size}, and the loss is still high"
        sure = sureness(case.option(self, "layers") / max(ratio, 1e-300), 1.0, 0.5)
        return self._describe(case, name, what, max(sure, 0.7), None, {"first_over_last": ratio})

    def _describe(
        self, case: Case, metric: str, what: str, sure: float, onset: int | None, evidence: dict[str, object]
    ) -> Finding:
        return self.finding(
            case,
            metric=metric,
            summary=what,
            confidence=sure,
            onset_step=onset,
            evidence=evidence,
            causes=(
                Cause("gradients-vanish", 0.4, "check_gradients"),
                Cause("bad-initialization", 0.3, "check_gradients"),
                Cause("dead-units", 0.2, "check_gradients"),
                Cause("frozen-or-detached", 0.1, "check_gradients"),
            ),
            actions=(
                Action("fix_initialization", "He or Xavier initialisation, normalisation, residual connections"),
                Action("check_training_loop", "look at the gradient norm of every layer; are the first ones frozen?"),
            ),
            explains=("LD204", "LD203", "LD205"),
        )
