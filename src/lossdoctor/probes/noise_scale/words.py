"""A noise scale in words, and as a chart."""

from __future__ import annotations

import math

import numpy as np

from lossdoctor.probes.chart import Chart, Line, Mark
from lossdoctor.probes.noise_scale.advice import BatchAdvice, Setting
from lossdoctor.probes.noise_scale.moments import Moments
from lossdoctor.probes.noise_scale.passes import Pass


def counted(value: float) -> str:
    """A number of examples for people: two digits.

    >>> counted(1234.0), counted(3.14159), counted(float("inf"))
    ('1,200', '3.1', 'unbounded')
    """
    if math.isinf(value):
        return "unbounded"
    if math.isnan(value):
        return "not known"
    if value < 10:
        return f"{value:.2g}"
    unit = 10 ** (math.floor(math.log10(value)) - 1)
    return f"{round(value / unit) * unit:,}"


def unmeasured(seen: Pass, fewest: int) -> str:
    """Why there is no estimate, and what to do."""
    if seen.nonfinite:
        bad = ", ".join(str(i) for i in seen.nonfinite[:3]) + (", …" if len(seen.nonfinite) > 3 else "")
        return (
            f"{len(seen.nonfinite)} of {len(seen.sizes)} gradients hold a NaN or an infinity (number {bad}), so the"
            " noise cannot be measured: check_gradients and check_data say where they come from."
        )
    if len(seen.sizes) < fewest:
        return (
            f"The loader gave {len(seen.sizes)} gradients, and noise shows from {fewest} on: give smaller batches, or a"
            " loader with more of them."
        )
    return "Every gradient is zero: nothing is learned here, and there is no noise either; see check_gradients."


def judged(outcome: str, found: Moments, confidence: float, setting: Setting, better: BatchAdvice | None) -> str:
    """The verdict where there is an estimate."""
    batch = f"{setting.batch_size:,}"
    if outcome == "unknown":
        share = f"at {confidence:.0%} confidence"
        return (
            f"The noise hides the gradient: it cannot be told from zero {share}, so the noise scale is not known; it is"
            f" at least {counted(found.low)} examples, and the batch has {batch}. More batches narrow it, if there are"
            " more; near a minimum, or on a plateau, this is to be expected."
        )
    if found.variance == 0:
        return (
            f"There is no noise: every batch gives the same gradient, and a batch of {batch} gains nothing from more."
        )
    span = f"{counted(found.scale)} examples ({confidence:.0%}: {counted(found.low)} to {counted(found.high)})"
    now = setting.advice(found.scale, setting.batch_size)
    cost = (
        f"a batch of {batch} takes {_times(now.steps_ratio)} the fewest possible steps and"
        f" {_times(now.examples_ratio)} the fewest possible examples"
    )
    text = f"The gradient noise scale is {span}: {cost}."
    if setting.batch_size < found.scale and outcome == "noted":
        text += f" A step is mostly noise; {_larger(better, setting)}"
    elif outcome == "noted" and better is not None:
        text += f" A batch of {better.batch_size:,} would do nearly the same in as many steps{_rate(better, setting)}."
    return text


def advised(advice: BatchAdvice, setting: Setting) -> list[tuple[str, str]]:
    """Rows of the advice."""
    told = [("advised batch", f"{advice.batch_size:,} examples per step: {_steps(advice.steps_factor)}")]
    if advice.micro_batches > 1:
        told.append(("accumulation", f"{advice.micro_batches:,} batches of {setting.memory_batch:,} per step"))
    if advice.lr is not None:
        told.append(("its learning rate", f"{advice.lr:.3g} (now {setting.lr:.3g})"))
    else:
        factors = f"times {advice.sgd_factor:.2g} with SGD, times {advice.adam_factor:.2g} with Adam"
        told.append(("its learning rate", factors))
    if advice.warmup_steps:
        told.append(("warm-up", f"over {advice.warmup_steps:,} steps"))
    return told


def trade_off(noise_scale: float, setting: Setting, better: BatchAdvice | None) -> Chart:
    """Steps against examples over batch sizes, with the present batch."""
    sizes = [setting.batch_size, noise_scale, *([better.batch_size] if better else [])]
    over = np.geomspace(max(1.0, min(sizes) / 10), max(sizes) * 10, 80)
    curve = Line("every batch size", (1 + over / noise_scale).tolist(), (1 + noise_scale / over).tolist())
    points = [_point(f"your batch: {setting.batch_size:,}", setting.batch_size, noise_scale)]
    if better is not None:
        points.append(_point(f"advised: {better.batch_size:,}", better.batch_size, noise_scale))
    points.append(_point(f"critical batch: {counted(noise_scale)}", noise_scale, noise_scale))
    return Chart(
        title="What a batch size costs: steps against examples",
        x_label="examples, over the fewest possible",
        y_label="steps, over the fewest possible",
        lines=(curve, *points),
        marks=(Mark(1.0, "fewest steps", "y"), Mark(1.0, "fewest examples", "x")),
        log_x=True,
        log_y=True,
    )


def _larger(better: BatchAdvice | None, setting: Setting) -> str:
    calmer = "a lower learning rate averages the noise as well"
    if better is None:
        return f"the data do not hold a larger batch, but {calmer}."
    fit = ""
    if better.micro_batches > 1:
        fit = f" (accumulate {better.micro_batches:,} batches of {setting.memory_batch:,} where memory forbids)"
    warm = f", with a warm-up over {better.warmup_steps:,} steps" if better.warmup_steps else ""
    return (
        f"a batch of {better.batch_size:,}{fit} would need"
        f" {_steps(better.steps_factor)}{_rate(better, setting)}{warm}; {calmer}."
    )


def _rate(advice: BatchAdvice, setting: Setting) -> str:
    if advice.lr is not None:
        return f" at a learning rate of {advice.lr:.2g} (now {setting.lr:.2g}), if the curvature allows it"
    return f" at a learning rate times {advice.sgd_factor:.2g} (SGD) or {advice.adam_factor:.2g} (Adam)"


def _times(ratio: float) -> str:
    return f"{ratio:.2f} times" if ratio < 2 else f"{ratio:,.1f} times" if ratio < 10 else f"{ratio:,.0f} times"


def _steps(factor: float) -> str:
    return f"{_times(1 / factor)} fewer steps" if factor < 1 else f"{_times(factor)} the steps"


def _point(name: str, size: float, noise_scale: float) -> Line:
    return Line(name, [1 + size / noise_scale], [1 + noise_scale / size], kind="points")
