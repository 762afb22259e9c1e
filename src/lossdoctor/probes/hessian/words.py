"""What curvatures mean: the outcome, the verdict, the causes they speak for, rows and the chart."""

from __future__ import annotations

import math

from lossdoctor.probes.chart import Chart, Mark
from lossdoctor.probes.hessian.numbers import Curvatures, is_flat, is_linear

FAR_BEYOND = 2.0  # times the limit; a high rate at the start may leave a region up to there (Lewkowycz et al. 2020)
# Shares of the limit. Small tasks at their tuned rate stand between 0.005 and 0.7 of it, at a tenth of that rate mostly
# below 0.005, at ten times mostly above 0.1: noise bounds the rate of small batches before curvature does.
VERY_LOW, LOW, HIGH = 0.005, 0.05, 0.15
USUAL = 0.9  # momentum, where no optimizer says its own

Causes = dict[str, float]


def judged(found: Curvatures) -> tuple[str, str, Causes]:
    """(outcome, verdict, causes)."""
    if is_flat(found):
        verdict = (
            "The loss is flat: the gradient and the curvature are zero in every direction, so no learning rate moves"
            " these parameters. check_gradients says whether units are dead or parameters cut off from the loss."
        )
        return "failed", verdict, {"saddle-or-plateau": 3.0, "dead-units": 2.0, "frozen-or-detached": 2.0}
    if is_linear(found):
        verdict = (
            f"The loss has a slope (gradient norm {found.gradient_norm:.3g}) but no curvature: it is made of planes, as"
            " absolute errors are, and curvature says nothing of the rates that are stable. Use lr_range_test."
        )
        return "unknown", verdict, {}
    outcome, parts, causes = _stability(found)
    if found.saddle is not None:
        _add_saddle(found, parts, causes)
        outcome = "noted" if found.saddle and outcome == "passed" else outcome
    return outcome, " ".join([_sharpness(found), *parts]), causes


def listed(found: Curvatures) -> tuple[tuple[str, str], ...]:
    """Rows below the verdict."""
    sharp = found.sharpness
    told = [("largest curvature λ", _spanned(sharp.value, sharp.low, sharp.high))]
    if not math.isnan(sharp.held_out):
        told.append(("its direction on other batches", f"{sharp.held_out:.4g}"))
    own = found.preconditioned
    if own is not None and own.value != sharp.value:
        told.append((f"as {found.optimizer} sees it", _spanned(own.value, own.low, own.high)))
    told.append(("stable rate, plain gradient descent", f"{found.critical_rate():.4g}"))
    beta = found.momentum if found.momentum > 0 and found.optimizer == "SGD" else USUAL
    told.append((f"stable rate, momentum {beta:g}", f"{found.critical_rate(beta):.4g}"))
    if own is not None:
        told.append((f"stable rate, {_named(found)}", f"{found.critical_lr:.4g} (now {found.lr:.4g})"))
        told.append(("share of the limit", _spanned(found.ratio, found.ratio_low, found.ratio_high)))
    if not math.isnan(found.gradient_curvature):
        told.append(("curvature along the gradient", f"{found.gradient_curvature:.4g}"))
    if not math.isnan(found.trace):
        error = "" if math.isnan(found.trace_error) else f" ± {found.trace_error:.2g}"
        told.append(("trace", f"{found.trace:.4g}{error}"))
    if found.smallest is not None:
        told.append(("smallest curvature", f"{found.smallest.value:.4g} ± {found.smallest.residual:.2g}"))
    mode = "evaluation mode" if found.mode == "eval" else "training mode without dropout"
    held = f", held against {found.held_out:,} more" if found.held_out else ", all there are" if found.whole else ""
    told.append(("sample", f"{found.batches:,} batches, {found.examples:,} examples{held}; {mode}"))
    draw = ", at one random draw" if found.random else ""
    told.append(("measured with", f"{found.products:,} products on {found.size:,} parameters{draw}"))
    return tuple(told)


def chart(found: Curvatures) -> tuple[Chart, ...]:
    """The curvatures, times the rate where there is one, against the limit of stability."""
    own = found.preconditioned
    known = own is not None and found.lr > 0
    sharp = own if known and own is not None else found.sharpness
    unit = found.lr if known else 1.0
    bars = [("largest", unit * sharp.value)]
    if not math.isnan(sharp.held_out):
        bars.append(("same direction, other batches", unit * sharp.held_out))
    if len(sharp.per_batch) > 1:
        bars.append(("same direction, sharpest batch", unit * max(sharp.per_batch)))
    # A preconditioner, for which a search of its own was made, changes what lies along the gradient.
    if not (known and sharp.products) and not math.isnan(found.gradient_curvature):
        bars.append(("along the gradient", unit * found.gradient_curvature))
    if not known and found.smallest is not None:
        bars.append(("smallest", found.smallest.value))
    if known:
        label = f"edge of stability: {found.bound:.3g}"
        title = f"Rate × curvature, and the limit of {found.optimizer}"
        return (Chart(title, x_label="rate × curvature", bars=tuple(bars), marks=(Mark(found.bound, label),)),)
    return (Chart("Curvature of the loss", x_label="curvature", bars=tuple(bars)),)


def _sharpness(found: Curvatures) -> str:
    sharp = found.sharpness
    at_least = "" if sharp.converged else "at least "
    rate = f"plain gradient descent is stable up to a rate of {found.critical_rate():.2g}"
    if sharp.value <= 0:
        rate = "no direction curves upwards"
    return f"The largest curvature is {at_least}{_spanned(sharp.value, sharp.low, sharp.high)}: {rate}."


def _stability(found: Curvatures) -> tuple[str, list[str], Causes]:
    if not found.optimizer:
        return "passed", [f"With momentum {USUAL:g} it is {found.critical_rate(USUAL):.2g}."], {}
    if found.preconditioned is None:
        return "unknown", [f"Whether the rate {found.lr:.3g} is stable is not known: {found.missing}."], {}
    if found.lr == 0:
        return "unknown", [f"{_named(found)} has a rate of 0 now; it is stable up to {found.critical_lr:.2g}."], {}
    share = f"{_named(found)} at {found.lr:.2g} stands at {_share(found.ratio)} its limit of {found.critical_lr:.2g}"
    if not found.preconditioned.converged and found.stability != "beyond":
        return "unknown", [f"{share} at least, as the search did not converge: raise max_products."], {}
    if found.stability == "unknown":
        span = f"{found.ratio_low:.2g} to {found.ratio_high:.2g} times"
        return "unknown", [f"{share}, but batches differ too much to tell ({span}): test on more batches."], {}
    if found.stability == "below":
        return "passed", [f"{share}: below the edge of stability."], _below(found)
    if found.stability == "at":
        why = "where full-batch training settles by itself; a higher rate gains nothing"
        return "noted", [f"{share}: at the edge of stability, {why}."], {"learning-rate-too-low": 0.4}
    text = f"{share}: beyond the edge of stability, so a step along the sharpest direction overshoots"
    if found.ratio_low > FAR_BEYOND:
        causes = {"learning-rate-too-high": 3.0, "learning-rate-too-low": 0.3}
        return "failed", [f"{text} and grows. Lower the rate below {found.critical_lr:.2g}, or warm it up."], causes
    causes = {"learning-rate-too-high": 1.5, "learning-rate-too-low": 0.4}
    return "noted", [f"{text}; training may calm down by itself, or the rate is too high: try lr_trial."], causes


def _below(found: Curvatures) -> Causes:
    if found.ratio_high < VERY_LOW:
        return {"learning-rate-too-low": 2.0, "learning-rate-too-high": 0.4}
    if found.ratio_high < LOW:
        return {"learning-rate-too-high": 0.6}
    return {"learning-rate-too-low": 0.5} if found.ratio_low > HIGH else {}


def _add_saddle(found: Curvatures, parts: list[str], causes: Causes) -> None:
    least = found.smallest
    assert least is not None
    if found.saddle:
        parts.append(
            f"This is a saddle: the curvature is {least.value:.3g} along one direction while the gradient is as good as"
            " zero. Momentum, a higher rate or smaller batches leave it sooner; a better initialisation avoids it."
        )
        causes["saddle-or-plateau"] = 4.0
    elif least.value + least.residual < 0:
        parts.append(f"The smallest curvature is {least.value:.3g}, but this is no saddle that holds training up.")
        causes["saddle-or-plateau"] = 0.6
    else:
        parts.append(f"No direction curves downwards (smallest curvature {least.value:.2g}): this is no saddle.")
        causes["saddle-or-plateau"] = 0.3


def _named(found: Curvatures) -> str:
    return found.optimizer + (
        f" with momentum {found.momentum:g}" if found.optimizer == "SGD" and found.momentum else ""
    )


def _share(ratio: float) -> str:
    return (
        f"{ratio:.2g} times" if ratio >= 2 else f"{100 * ratio:.2g} % of" if ratio < 0.1 else f"{100 * ratio:.0f} % of"
    )


def _spanned(value: float, low: float, high: float) -> str:
    return f"{value:.3g}" if low == high else f"{value:.3g} (95%: {low:.3g} to {high:.3g})"
