"""LD210 dead-units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from lossdoctor.core.finding import Abstention, Action, Cause, Finding, Measurement
from lossdoctor.core.names import tokens
from lossdoctor.core.numbers import percent
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.signal.reading import Reading
from lossdoctor.signal.shape import fall

_FADED = 1e-3  # last norm over the largest one, before there was none, that tells a minimum reached from a death


class DeadUnits(Rule):
    """Most units, or the layers before the last one, pass no gradient at all.

    ## What it sees
    The measurement ``dead_fraction`` of an active test (the share of units whose output or gradient is zero for
    every example), or logged gradient norms that are exactly zero: of most of the layers while other layers still
    have one, or of the whole model, over the later half of the run while the loss stands still above zero. Layers
    that had a gradient and lost it are told with the step; layers that never had one may be frozen on purpose,
    which is information unless the loss did not fall either.

    ## Why it matters
    A rectifier whose input is negative for every example passes no gradient and never comes back: the model is as
    large as what is still alive.

    ## When it is wrong
    Frozen layers have no gradient on purpose. Some trainers write a norm of zero although there is one: where the
    loss falls all the same, nothing is reported for the whole model.

    ## What to try
    Lower the learning rate or add warmup: one step that is too long kills units for good. Start biases at zero, use
    He initialisation, a leaky rectifier or normalisation, and begin again.

    ## References
    Lu et al. 2019, Dying ReLU and Initialization, arXiv:1903.06733.
    """

    code = "LD210"
    name = "dead-units"
    severity = "warning"
    needs = "gradient norms of layers, or of the model (or the active test of gradients)"
    options = (
        Option("dead", 0.7, "share of units without output or gradient, as measured", "share", 0.05, 1),
        Option("layers", 0.5, "share of the logged layers whose gradient is exactly zero", "share", 0.05, 1),
        Option("zero", 0.95, "share of the later points of a norm that are zero", "share", 0.5, 1),
        Option("tiny", 1e-12, "norm over the largest one of its curve that counts as zero", "share", 0, 1e-4),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        measured = next((m for m in reversed(case.measurements) if m.name == "dead_fraction"), None)
        layers = _layers(case)
        whole = case.reading("grad_norm")
        judged = whole is not None and whole.n >= 8 and case.primary is not None
        if measured is None and len(layers) < 2 and not judged:
            yield self.abstain()
        elif measured is not None and measured.value >= case.option(self, "dead"):
            yield self._measured(case, measured)
        elif len(layers) >= 2 and (found := self._dead_layers(case, layers)):
            yield found
        elif whole is not None and whole.n >= 8 and case.primary is not None:
            yield from self._no_gradient(case, whole, case.primary[1])

    def _measured(self, case: Case, m: Measurement) -> Finding:
        metric = case.primary[0] if case.primary is not None else m.name
        where = f" in {m.detail['layer']}" if "layer" in m.detail else ""
        return self._describe(
            case,
            metric,
            f"{percent(m.value)} of the units{where} give nothing for any example",
            0.9,
            m.step,
            {"dead_fraction": m.value},
        )

    def _dead_layers(self, case: Case, layers: Mapping[str, Reading]) -> Finding | None:
        """The finding where enough layers have no gradient while another one has."""
        largest = max(r.summary.max_value for r in layers.values())
        dead = {n: s for n, r in layers.items() if (s := self._silent(case, r, largest))}
        share = len(dead) / len(layers)
        if not largest > 0 or not dead or len(dead) == len(layers) or share < case.option(self, "layers"):
            return None
        died = [s.since for s in dead.values() if s.since is not None]
        loss = case.primary
        stands = loss is not None and len(loss[1]) >= 8 and not _falls(loss[1])
        names = ", ".join(list(dead)[:3]) + (", …" if len(dead) > 3 else "")
        when = f" since {case.step_unit} {max(died)}" if died else " from the start"
        return self._describe(
            case,
            next(iter(dead)),
            f"the gradient of {len(dead)} of {len(layers)} layers is zero{when} ({names})",
            0.85 if died else 0.7,
            max(died) if died else None,
            {"dead_layers": len(dead), "layers": len(layers), "share": share},
            severity="warning" if died or stands else "info",
            causes=_DIED if died else _FROZEN,
        )

    def _no_gradient(self, case: Case, norm: Reading, loss: Reading) -> Iterable[Finding]:
        silent = self._silent(case, norm, norm.summary.max_value)
        if silent is None or silent.since is None or len(loss) < 8:
            return  # never a gradient: detached, frozen, or not written; a flat line says it
        before = norm.y[np.searchsorted(norm.steps, silent.since) - 1]
        if abs(float(before)) < _FADED * norm.summary.max_value:
            return  # it faded away through every size: an exact minimum was reached; units die at once
        start = int(np.searchsorted(loss.steps, silent.since))
        rest = fall(loss, start)
        at_zero = loss.end.value == 0 or loss.summary.min_value == 0
        if at_zero or rest is None or rest.z > 2 or rest.trend_z < -2:
            return
        metric = case.roles.primary("grad_norm") or ""
        what = f"{metric} is zero since {case.step_unit} {silent.since} and the loss stands still"
        seen = {"since": silent.since}  # says less of the cause than a flat line does: beside one, not instead of it
        yield self._describe(case, metric, what, 0.7, silent.since, seen, causes=_NONE_AT_ALL, explains=("LD106",))

    def _silent(self, case: Case, r: Reading, largest: float) -> Silence | None:
        """Since when a norm is zero; None when it is not in the later half of the run."""
        s = r.summary
        tail = s.tail_values[-max(len(s.tail_values) // 2, 1) :] if s.complete else s.tail_values
        limit = case.option(self, "tiny") * largest
        late, zero = r.y[len(r) // 2 :], case.option(self, "zero")
        if min(np.mean(np.abs(tail) <= limit), np.mean(np.abs(late) <= limit)) < zero:
            return None
        alive = np.flatnonzero(np.abs(r.y[: len(r) // 2 + 1]) > limit)
        if len(alive) < 2:
            return Silence(None)
        return Silence(int(r.steps[min(alive[-1] + 1, len(r) - 1)]))

    def _describe(
        self,
        case: Case,
        metric: str,
        summary: str,
        confidence: float,
        onset: int | None,
        evidence: Mapping[str, object],
        severity: str = "warning",
        causes: tuple[Cause, ...] = (),
        explains: tuple[str, ...] = ("LD106", "LD203", "LD204"),
    ) -> Finding:
        return self.finding(
            case,
            metric=metric,
            severity=severity,
            summary=summary,
            confidence=confidence,
            onset_step=onset,
            evidence=evidence,
            causes=causes or _DIED,
            actions=(
                Action("fix_initialization", "biases at zero, He initialisation, a leaky rectifier or normalisation"),
                Action("reduce_learning_rate", "divide by 10 and begin again: dead units do not recover"),
                Action("check_training_loop", "are these layers frozen or detached on purpose?"),
            ),
            explains=explains,
        )


@dataclass(frozen=True, slots=True)
class Silence:
    """A norm that is zero: ``since`` a step, or None when from the start."""

    since: int | None


# Words of a parameter's name; without one, "embedding_grad_l2_norm_effective" is some statistic and no layer.
_PARAMETER = frozenset({"weight", "bias", "kernel", "layer", "layers", "block", "blocks", "conv", "linear", "fc"})


def _layers(case: Case) -> dict[str, Reading]:
    """The gradient norms of layers that are long enough to judge."""
    names = [n for n in case.roles.names.get("layer_grad_norm", ()) if set(tokens(n)) & _PARAMETER]
    return {n: r for n in names if (r := case.readings.get(n)) is not None and r.n >= 8}


def _falls(loss: Reading) -> bool:
    whole = fall(loss)
    return whole is not None and whole.z > 3 and not whole.relative < 0.05


_DIED = (
    Cause("dead-units", 0.5, "check_gradients"),
    Cause("learning-rate-too-high", 0.3, "lr_trial"),
    Cause("bad-initialization", 0.2, "check_gradients"),
)
_FROZEN = (
    Cause("frozen-or-detached", 0.5, "check_gradients"),
    Cause("dead-units", 0.3, "check_gradients"),
    Cause("bad-initialization", 0.2, "check_gradients"),
)
_NONE_AT_ALL = (
    Cause("dead-units", 0.35, "check_gradients"),
    Cause("frozen-or-detached", 0.25, "check_gradients"),
    Cause("precision-overflow", 0.2, "check_gradients"),
    Cause("gradients-vanish", 0.2, "check_gradients"),
)
