"""Results made by hand, so that what shows them can be tested without torch and without the tests themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lossdoctor.core.finding import Measurement
from lossdoctor.probes.chart import Chart, Line, Mark
from lossdoctor.probes.checkups.report import CheckupError, CheckupReport, Skipped
from lossdoctor.probes.result import ProbeResult
from tests.render.samples import EVIL, wobble

NAMES = tuple(f"blocks.{i}.attention.query_projection.weight" for i in range(12))


@dataclass(frozen=True, kw_only=True)
class Shown(ProbeResult):
    """A result with whatever charts and rows it is given."""

    test: ClassVar[str] = "lr_range_test"
    title: ClassVar[str] = "Learning-rate range test"

    panels: tuple[Chart, ...] = ()
    numbers: tuple[tuple[str, str], ...] = ()

    def charts(self) -> tuple[Chart, ...]:
        return self.panels

    def rows(self) -> tuple[tuple[str, str], ...]:
        return self.numbers


@dataclass(frozen=True, kw_only=True)
class Gradients(Shown):
    test: ClassVar[str] = "check_gradients"
    title: ClassVar[str] = "Gradients"


def sweep() -> Chart:
    """Marks close together on both axes, a band, raw and smoothed curves, a logarithmic axis."""
    rates = np.logspace(-7, 1, 200)
    loss = 2.3 - 1.9 / (1 + np.exp(-(np.log10(rates) + 3) * 3)) + np.where(rates > 0.3, 3 * (rates - 0.3), 0)
    lines = (
        Line("loss of each batch", rates.tolist(), (loss + wobble(200, 0.2)).tolist(), "faint"),
        Line("smoothed", rates.tolist(), loss.tolist()),
    )
    marks = (
        Mark(0.01, "suggestion 0.01", good=True),
        Mark(0.013, "steepest"),
        Mark(0.05, "valley 0.05"),
        Mark(0.3, "largest stable"),
        Mark(2.30, "chance: ln 10", "y"),
        Mark(2.25, "at the start", "y"),
        Mark(2.28, "after one step", "y"),
    )
    bands = ((1e-3, 3e-2, "usable range"), (2.0, 1e9, "diverges"))
    return Chart("Loss while the learning rate rises", "learning rate", "loss", lines, (), marks, True, False, bands)


def bars() -> Chart:
    """A logarithmic axis, a bar of zero and one that is not finite."""
    values = [10 ** (-i / 2) for i in range(10)] + [0.0, math.nan]
    return Chart(
        "Gradient norm per layer, from the input to the output",
        "norm of the gradient",
        bars=tuple(zip(NAMES, values, strict=True)),
        marks=(Mark(1e-4, "vanishes below"), Mark(1.2e-4, "last step")),
        log_x=True,
    )


def signed() -> Chart:
    """Bars to both sides of zero."""
    values = (0.02, -0.01, 0.003, 0.005, 0.03, 0.01, 0.004, 0.002, 0.01, 0.015, -0.02, 0.01)
    return Chart("How far one step moves each layer", bars=tuple(zip(NAMES, values, strict=True)), y_label="moved")


def several() -> Chart:
    """Three curves, a gap, points, and names of level marks that would touch."""
    x = list(range(20))
    y = [math.exp(-i / 4) for i in x]
    y[7] = math.nan
    lines = (Line("real inputs", x, y), Line("random inputs", x, [0.9] * 20), Line("test", x, [0.5] * 20, "points"))
    marks = (Mark(0.05, "target 0.05", "y", good=True), Mark(0.06, "noise floor", "y"), Mark(0.95, "chance", "y"))
    return Chart("Loss on the batch, with real and with random inputs", "step", "loss", lines, marks=marks)


def passed() -> Shown:
    return Shown(
        outcome="passed",
        verdict="Train with a learning rate of 0.01: the loss falls fastest there, and it is stable up to 0.3.",
        panels=(sweep(),),
        numbers=(("suggestion", "0.01"), ("largest stable rate", "0.3"), ("confidence", "90%")),
        causes={"learning-rate-too-high": 0.3},
        steps=180,
        seconds=3.21,
    )


def failed(**changes: object) -> Gradients:
    given: dict[str, object] = {
        "outcome": "failed",
        "verdict": "The first layers get gradients 2e-5 times as large as the last ones: they hardly learn. Add"
        " normalisation or skip connections.",
        "panels": (bars(), signed(), several()),
        "numbers": (("first layers over last", "2e-05 (healthy: 0.001 to 70)"),),
        "causes": {"gradients-vanish": 20.0, "bad-initialization": 5.0},
        "steps": 12,
        "seconds": 0.5,
    }
    return Gradients(**{**given, **changes})  # type: ignore[arg-type]


def evil() -> Shown:
    """Everything that a user's names could be, where they are shown."""
    bad = f"{EVIL}$x_1$"
    lines = (Line(bad, [1, 2, 3], [1.0, math.inf, 3.0]), Line("empty", [], []))
    chart = Chart(bad, bad, bad, lines, marks=(Mark(2.0, bad), Mark(2.0, bad, "y")), bands=((1.2, 1.8, bad),))
    rows = ((bad, bad),)
    return Shown(
        outcome="noted", verdict=bad, panels=(chart, Chart(bad, bad, bars=((bad, 1.0), (bad, -2.0)))), numbers=rows
    )


def checkup() -> CheckupReport:
    unknown = Shown(outcome="unknown", verdict="Batches differ too much to tell.")
    infinite = failed(verdict="Gradients are not finite.", measurements=(Measurement("nonfinite_gradients", 0.5),))
    return CheckupReport(
        "examples/checkup_target.py:make",
        (passed(), failed(), unknown, infinite),
        (
            CheckupError("curvature", "the model, on batch 0 raised ValueError: no <b>", "train.py:12"),
            CheckupError("gradient_noise_scale", "the model, on batch 1 raised ValueError: no <b>", "train.py:12"),
        ),
        (Skipped("compare_splits", "there is no 'val' in what was given"),),
        (("model", "MLP"), ("parameters", "12,345"), ("on", "cpu")),
        0,
        {"curvature": "Curvature", "gradient_noise_scale": "Gradient noise", "compare_splits": "Splits"},
    )
