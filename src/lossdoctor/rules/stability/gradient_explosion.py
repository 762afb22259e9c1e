"""LD105 gradient-explosion."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import short, sureness
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.layers import first_over_last
from lossdoctor.rules.stability.evidence import Surge, jump_step, response, surge, weighed
from lossdoctor.rules.stability.loss_divergence import has_turned, is_blow_up
from lossdoctor.signal.reading import Reading
from lossdoctor.signal.shape import turn


class GradientExplosion(Rule):
    """The gradient norm jumped far above its usual level, and the loss went with it.

    ## What it sees
    A gradient norm more than ten times its rolling median, and clear of everything before it. A warning when the
    loss rises with it or after it; critical when the loss then blew up for good (the finding names the cause, and
    the divergence of the loss is told by it); information when the norm stays up and the loss does not mind. Also,
    from the norms of single layers or the measurement ``layer_grad_ratio``: gradients that grow more than 70-fold
    from the last layers to the first.

    ## Why it matters
    One step along an exploded gradient can undo thousands of good ones. The gradient norm shows it before the loss
    does, while there is still a good checkpoint.

    ## When it is wrong
    Near a loss of zero the norm is tiny, and single hard batches stand far above it: a surge must therefore also
    exceed three times anything before. The first layers of some healthy models (embeddings) have large gradients:
    a ratio of layers alone is information.

    ## What to try
    Clip the gradient norm near its 90th percentile; divide the learning rate by 3 to 10; look at the batch of the
    onset for outliers; in recurrent nets shorten the unrolled length.

    ## References
    Pascanu et al. 2013, On the difficulty of training recurrent neural networks, arXiv:1211.5063. Seetharaman et
    al. 2020, AutoClip, arXiv:2007.14469.
    """

    code = "LD105"
    name = "gradient-explosion"
    severity = "warning"
    per_segment = True
    needs = "a gradient norm with at least 8 points"
    options = (
        Option("factor", 10.0, "gradient norm over its rolling median", "ratio", 3, 1000),
        Option("response", 6.0, "rise of the loss after it, in noise units", "sigma", 3, 50),
        Option("layers", 70.0, "gradient norm of the first layers over the last ones'", "ratio", 5, 1e6),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        norms, primary = case.reading("grad_norm"), case.primary
        metric = case.roles.primary("grad_norm")
        if norms is not None and metric is not None and len(norms) >= 7 and primary is not None:
            found = surge(norms, case.option(self, "factor"))
            if found is not None:
                yield from self._surged(case, metric, norms, found, *primary)
            return
        ratio = first_over_last(case)
        if ratio is None:
            yield self.abstain()
        elif ratio[0] > case.option(self, "layers"):
            yield self._layers(case, *ratio)

    def _surged(
        self, case: Case, metric: str, norms: Reading, s: Surge, loss_name: str, loss: Reading
    ) -> list[Finding]:
        bad = loss.summary.first_nonfinite_step
        loss_did = response(loss, s.step)
        died = bad is not None and bad >= s.step
        responds = loss_did.score > case.option(self, "response") or died
        harmless = not died and loss_did.brief and s.bins < 4
        if not responds and (s.bins < 4 or s.kept < case.option(self, "factor") / 3):
            return []
        t = turn(loss)
        # The loss blew up for good, and not before the gradient did.
        led = (
            responds
            and t is not None
            and is_blow_up(loss, t)
            and has_turned(t, 3.5, 0.6)
            and s.step <= jump_step(loss, t.onset_step)
        )
        then = (
            f"{loss_name} blew up with it"
            if led
            else f"{loss_name} became non-finite at {case.step_unit} {bad}"
            if responds and bad is not None
            else f"{loss_name} rose with it"
            if responds
            else f"{loss_name} shows nothing of it yet"
        )
        clip = short(_usual_limit(norms, s.step))
        return [
            self.finding(
                case,
                metric=metric,
                severity="critical" if led else "warning" if responds and not harmless else "info",
                summary=(
                    f"{metric} jumped to {short(s.ratio)} times its usual level at {case.step_unit} {s.step}; {then}"
                ),
                confidence=max(sureness(s.ratio, case.option(self, "factor"), 0.3), 0.75) if responds else 0.6,
                onset_step=s.step,
                evidence={
                    "ratio": s.ratio,
                    "kept": s.kept,
                    "bins": s.bins,
                    "loss_rise_in_noise": min(loss_did.score, 1e6),
                    "loss_blew_up": led,
                },
                # A surge that passed at once is more often a batch than the learning rate.
                causes=weighed(_CAUSES, {"outliers": 3.0} if s.bins <= 2 else {}),
                actions=(
                    Action("clip_gradients", f"clip the gradient norm at {clip}, its 90th percentile before the jump"),
                    Action("reduce_learning_rate", "divide the learning rate by 10" if led else "divide it by 3"),
                    Action("clean_data", f"look for extreme values in the batches of {case.step_unit} {s.step}"),
                    Action("restore_checkpoint", f"restore the checkpoint before {case.step_unit} {s.step}"),
                ),
                explains=("LD102", "LD104", "LD108", "LD204") if led else ("LD108", "LD204"),
            )
        ]

    def _layers(self, case: Case, ratio: float, metric: str) -> Finding:
        primary = case.primary
        troubled = primary is not None and len(primary[1]) >= 8 and not primary[1].fell
        return self.finding(
            case,
            metric=metric or (primary[0] if primary is not None else ""),
            severity="warning" if troubled else "info",
            summary=f"gradients grow {short(ratio)}-fold from the last layers to the first",
            confidence=sureness(ratio, case.option(self, "layers"), 0.3),
            evidence={"first_over_last": ratio},
            causes=_CAUSES_LAYERS,
            actions=(
                Action("fix_initialization", "smaller weights (Xavier or He), or normalisation between the layers"),
                Action("clip_gradients", "clip the gradient norm at 1.0"),
            ),
            explains=("LD204",) if troubled else (),
        )


def _usual_limit(norms: Reading, step: int) -> float:
    """The 90th percentile of the binned norm before a step; of all of it where the step axis begins there again."""
    before = norms.y[norms.steps < step]
    return float(np.percentile(before if len(before) else norms.y, 90))


_CAUSES = (
    Cause("learning-rate-too-high", 0.5, "lr_trial"),
    Cause("outliers", 0.2, "check_data"),
    Cause("gradients-explode", 0.2, "check_gradients"),
    Cause("bad-initialization", 0.1, "initial_loss"),
)
_CAUSES_LAYERS = (
    Cause("gradients-explode", 0.5, "check_gradients"),
    Cause("bad-initialization", 0.5, "check_gradients"),
)
