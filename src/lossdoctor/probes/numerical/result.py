"""What gradient_check returns, and its verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lossdoctor.core.finding import Measurement
from lossdoctor.core.numbers import short
from lossdoctor.probes.chart import Chart, Mark
from lossdoctor.probes.numerical.differences import EPS, Derivative
from lossdoctor.probes.result import ProbeResult

WRONG, UNCLEAR, GOOD = 1e-2, 1e-4, 1e-7  # relative errors; kinks and low precision excuse up to the middle one
_COARSE = 1e4 * EPS  # noise over value from which something in between was not computed in float64
_SHOWN = 24


@dataclass(frozen=True)
class CoordinateCheck:
    """One derivative, computed twice.

    Attributes:
        name: of the parameter or the input.
        index: place in it; empty for the derivative along a random direction of the whole tensor.
        analytic, numerical: from autograd, and from differences of values.
        error: |analytic - numerical| over the larger one.
        beyond: the same without what rounding and truncation explain; decides.
        kink: left and right derivative differ here.
        judged: whether the difference tells anything: rounding is less than a hundredth of the derivative.
    """

    name: str
    index: tuple[int, ...]
    analytic: float
    numerical: float
    error: float
    beyond: float
    kink: bool
    judged: bool

    @classmethod
    def of(cls, name: str, index: tuple[int, ...], analytic: float, found: Derivative) -> CoordinateCheck:
        size = max(abs(analytic), abs(found.value)) if math.isfinite(analytic) else math.inf
        off = found.beyond(analytic)
        inside = found.low <= analytic <= found.high
        error = 0.0 if size == 0 or inside else abs(analytic - found.value) / size if size < math.inf else math.inf
        beyond = 0.0 if size == 0 else off / size if size < math.inf else math.inf
        judged = found.error <= WRONG * size or beyond > WRONG or size == 0
        return cls(name, index, analytic, found.value, error, beyond, found.kink, judged)

    @property
    def place(self) -> str:
        """Its name with the index."""
        return f"{self.name}[{', '.join(map(str, self.index))}]" if self.index else f"{self.name} (along a direction)"


@dataclass(frozen=True, kw_only=True)
class GradientCheckResult(ProbeResult):
    """What :func:`lossdoctor.probes.gradient_check` found.

    Attributes:
        worst: the coordinate with the largest error that the numerics do not explain; None when none was judged.
        tensors: of each parameter or input its worst coordinate, in order.
        coordinates: derivatives that were computed, those along directions too; ``judged`` of them could be compared.
        kinks: how many lie at a kink.
        value: of the loss.
        noise: standard deviation of one evaluation; about 1e-16 of the value where all is computed in float64.
    """

    test: ClassVar[str] = "check_gradients"
    title: ClassVar[str] = "Numerical gradient check"

    worst: CoordinateCheck | None = None
    tensors: tuple[CoordinateCheck, ...] = ()
    coordinates: int = 0
    judged: int = 0
    kinks: int = 0
    value: float = math.nan
    noise: float = math.nan

    def charts(self) -> tuple[Chart, ...]:
        bars = sorted(((c.name, c.error) for c in self.tensors if c.judged), key=lambda bar: -bar[1])[:_SHOWN]
        if not any(error > 0 for _, error in bars):
            return ()
        marks = (Mark(GOOD, "good", good=True), Mark(WRONG, "wrong"))
        title = "Gradient by autograd against centred differences"
        label = "largest relative error, rounding included"
        return (Chart(title, x_label=label, bars=tuple(bars), marks=marks, log_x=True),)

    def rows(self) -> tuple[tuple[str, str], ...]:
        rows = [("derivatives compared", f"{self.judged} of {self.coordinates}, {self.kinks} at a kink")]
        if self.worst is not None:
            w = self.worst
            rows.append(("worst", f"{w.place}: {short(w.analytic)} by autograd, {short(w.numerical)} by differences"))
            rows.append(
                ("its relative error", f"{short(w.error)}, of which rounding leaves {short(w.beyond)} unexplained")
            )
        return tuple(rows)


def concluded(
    checks: Sequence[CoordinateCheck], value: float, noise: float, *, graph: bool, steps: int, seconds: float
) -> GradientCheckResult:
    """The result of the comparisons."""
    judged = [c for c in checks if c.judged]
    worst = max(judged, key=lambda c: (c.beyond, c.error), default=None)
    kinks = sum(c.kink for c in checks)
    coarse = noise > _COARSE * abs(value)
    if not math.isfinite(value):
        return GradientCheckResult(
            outcome="unknown", verdict=f"The value is {value}: there is no derivative to compare.", value=value,
            steps=steps, seconds=seconds,
        )  # fmt: skip
    outcome, verdict = _verdict(checks, judged, worst, kinks > 0, coarse, graph)
    causes = {"failed": {"loss-misused": 3.0, "training-loop-bug": 2.0}, "passed": {"loss-misused": 0.7}}.get(
        outcome, {}
    )
    if worst is not None and worst.analytic == 0 and outcome == "failed":
        causes = {**causes, "frozen-or-detached": 5.0}
    groups: dict[str, list[CoordinateCheck]] = {}
    for check in checks:
        groups.setdefault(check.name, []).append(check)
    measured = (
        () if worst is None else (Measurement("gradient_error", worst.error, "ratio", detail={"at": worst.place}),)
    )
    return GradientCheckResult(
        outcome=outcome,
        verdict=verdict,
        measurements=measured,
        causes=causes,
        steps=steps,
        seconds=seconds,
        worst=worst,
        tensors=tuple(max(g, key=lambda c: (c.judged, c.beyond, c.error)) for g in groups.values()),
        coordinates=len(checks),
        judged=len(judged),
        kinks=kinks,
        value=value,
        noise=noise,
    )


def _verdict(
    checks: Sequence[CoordinateCheck],
    judged: Sequence[CoordinateCheck],
    worst: CoordinateCheck | None,
    kinks: bool,
    coarse: bool,
    graph: bool,
) -> tuple[str, str]:
    low = " Something in it is not computed in float64, which limits the check." if coarse else ""
    if worst is None or (2 * len(judged) < len(checks) and worst.beyond <= WRONG):
        return "unknown", (
            f"Only {len(judged)} of {len(checks)} derivatives are large enough beside the rounding to be compared.{low}"
        )
    if worst.beyond > WRONG:
        wrong = sum(c.beyond > WRONG for c in judged)
        numbers = f"autograd says {short(worst.analytic)}, differences of the value say {short(worst.numerical)}"
        advice = (
            "Look at the backward of what this goes through, or for a detach() on its way."
            if graph
            else "The value has no graph at all: look for detach(), no_grad or .data."
        )
        return "failed", (
            f"{wrong} of {len(judged)} derivatives are wrong, most at {worst.place}: {numbers} (relative error"
            f" {short(worst.error)}). {advice}"
        )
    if worst.beyond > UNCLEAR:
        return "noted", (
            f"The gradient at {worst.place} is {short(worst.error)} off: not exact, yet not clearly wrong;"
            f" an approximation, or lower precision in the backward?{low}"
        )
    if worst.beyond > GOOD and not (kinks or coarse):
        return "noted", (
            f"A relative error of {short(worst.beyond)} at {worst.place} is more than rounding; below 1e-7 is good."
        )
    more = " At kinks it lies between the left and the right derivative." if kinks else ""
    return "passed", (
        f"Autograd and centred differences agree in {len(judged)} derivatives to within rounding"
        f"{f' and relative errors up to {short(worst.beyond)}' if worst.beyond else ''}.{more}{low}"
    )
