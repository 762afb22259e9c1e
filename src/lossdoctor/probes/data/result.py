"""The result of the check of the data: what was found, which loss fits, and up to which rate the scale allows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from lossdoctor.core.numbers import percent, short
from lossdoctor.probes.chart import Chart, Line
from lossdoctor.probes.data.case import WORST
from lossdoctor.probes.data.finding import DataFinding
from lossdoctor.probes.data.loss_choice import LossSuggestion
from lossdoctor.probes.data.remedy import Remedy
from lossdoctor.probes.result import ProbeResult


@dataclass(frozen=True, kw_only=True)
class DataResult(ProbeResult):
    """What :func:`~lossdoctor.probes.data.front.check_data` found.

    Attributes:
        findings: the worst first.
        suggestion: which loss fits the target, and why; None without a target.
        examples, validation_examples: how many were read.
        features: inputs of an example that are quantities (pixels and time steps counted).
        classes: of a classification, else 0.
        critical_rate: up to which learning rate gradient descent on a linear model is stable at this scale, with the
            squared error or (a bound that is always safe) the cross-entropy; NaN without quantities.
        critical_rate_standardized: the same for standardised inputs.
        baseline_score, baseline_chance: R² of a linear baseline on held-out examples and 0, or its accuracy and that of
            answering always the commonest class; NaN where it was not fitted.
        spreads: standard deviation by feature, of the ten that are furthest from the typical one.
        balance: examples per class, of the ten most and least frequent.
        residuals: ``(quantile of |normal|, |residual| / its robust standard deviation)`` of the baseline, at most 200
            pairs, the largest in full.
        notes: what was not read or left out, and how the data were understood.
    """

    test: ClassVar[str] = "check_data"
    title: ClassVar[str] = "Data"

    findings: tuple[DataFinding, ...] = ()
    suggestion: LossSuggestion | None = None
    examples: int = 0
    validation_examples: int = 0
    features: int = 0
    classes: int = 0
    critical_rate: float = math.nan
    critical_rate_standardized: float = math.nan
    baseline_score: float = math.nan
    baseline_chance: float = math.nan
    spreads: Mapping[str, float] = field(default_factory=dict)
    balance: Mapping[str, int] = field(default_factory=dict)
    residuals: tuple[tuple[float, float], ...] = ()
    notes: tuple[str, ...] = ()

    def found(self, check: str) -> tuple[DataFinding, ...]:
        """The findings of one check."""
        return tuple(f for f in self.findings if f.check == check)

    @property
    def remedies(self) -> tuple[Remedy, ...]:
        """What to do, the most pressing first, each once."""
        return tuple(dict.fromkeys(f.remedy for f in self.findings if f.remedy is not None))

    def rows(self) -> tuple[tuple[str, str], ...]:
        told = [("examples", f"{self.examples:,}")]
        if self.validation_examples:
            told.append(("validation examples", f"{self.validation_examples:,}"))
        if self.features:
            told.append(("inputs", f"{self.features:,}"))
        if self.classes:
            told.append(("classes", f"{self.classes:,}"))
        if math.isfinite(self.critical_rate):
            told.append(
                (
                    "largest stable learning rate of a linear model",
                    f"{short(self.critical_rate)}; standardised {short(self.critical_rate_standardized)}",
                )
            )
        if math.isfinite(self.baseline_score):
            score, chance = percent(max(0.0, self.baseline_score)), percent(self.baseline_chance)
            what = f"{score} right ({chance} by guessing)" if self.classes else f"{score} of the variance explained"
            told.append(("linear baseline, held out", what))
        if self.suggestion is not None:
            told.append(("loss that fits", str(self.suggestion)))
        told += [(f"{f.severity}: {f.check}", f.summary) for f in self.findings[:WORST]]
        if len(self.findings) > WORST:
            told.append(("further findings", f"{len(self.findings) - WORST:,}"))
        return tuple(told + [("note", n) for n in self.notes])

    def charts(self) -> tuple[Chart, ...]:
        charts = []
        values = [v for v in self.spreads.values() if v > 0]
        if len(values) > 1 and max(values) >= 10 * min(values):
            bars = tuple(sorted(self.spreads.items(), key=lambda kv: -kv[1]))
            charts.append(Chart("Spread of the features", "standard deviation", bars=bars, log_x=True))
        missing = [f for f in self.found("missing") if f.feature][:WORST]
        if missing:
            charts.append(
                Chart("Missing values", "share of the rows", bars=tuple((f.feature, f.value) for f in missing))
            )
        if self.found("imbalance"):
            charts.append(Chart("Examples per class", "examples", bars=tuple(self.balance.items()), log_x=True))
        if self.residuals and self.suggestion is not None and self.suggestion.loss in ("Huber", "MAE"):
            x, y = zip(*self.residuals, strict=True)
            lines = (
                Line("residuals of the baseline", x, y, "points"),
                Line("normal distribution", x, x, "faint"),
            )
            x_label, y_label = "size expected of a normal one", "size / robust standard deviation"
            charts.append(Chart("Tails of the target", x_label, y_label, lines, log_y=True))
        return tuple(charts)
