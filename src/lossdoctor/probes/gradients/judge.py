"""The verdict of check_gradients: what stands out, the worst first, with the causes it speaks for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lossdoctor.core.numbers import percent, short
from lossdoctor.probes.gradients.facts import DEAD, facts_of, measurements_of
from lossdoctor.probes.gradients.measure import EXPLODING, VANISHING, Measured
from lossdoctor.probes.gradients.result import HEALTHY, GradientsResult, few

NOTABLE = 0.3  # share of all units that is worth a word; a fresh rectifier net has up to 0.2
LEARNED = 0.5  # of the loss with permuted targets; below, the model has learned and small gradients are its due
_FAR = (HEALTHY[0] / 10, HEALTHY[1] * 10)  # update over weight that is worth a word
_PART = 0.1  # share of the trainable values that is no side branch any more
_SPREAD = (0.1, 4.0)  # gain of a usual initialisation, with room for what training does to it
_RAW = 10.0  # root mean square of inputs that nobody scaled
_AGAINST = {
    "gradients-vanish": 0.15, "gradients-explode": 0.25, "dead-units": 0.15, "frozen-or-detached": 0.1,
    "precision-overflow": 0.3, "bad-initialization": 0.6,
}  # fmt: skip


@dataclass(frozen=True)
class Sign:
    """Something that stands out."""

    outcome: str
    text: str
    causes: Mapping[str, float] = field(default_factory=dict)


def judged(m: Measured, seconds: float) -> GradientsResult:
    """The result of what was measured."""
    facts = facts_of(m)
    signs = list(_signs(m, facts))
    severity = {"failed": 0, "unknown": 1, "noted": 2}
    signs.sort(key=lambda s: severity[s.outcome])  # stable: in the order of looking
    outcome = signs[0].outcome if signs else "passed"
    causes = dict(_AGAINST) if outcome in ("passed", "noted") else {}
    for sign in signs:
        for cause, ratio in sign.causes.items():
            before = causes.get(cause, 1.0)
            causes[cause] = max(before if before >= 1 else 1.0, ratio)
    text = " ".join(s.text for s in signs[:3]) or _well(m, facts)
    return GradientsResult(
        outcome=outcome, verdict=text, causes=causes, steps=m.steps, seconds=seconds,
        measurements=measurements_of(m, facts), **facts,
    )  # fmt: skip


def _signs(m: Measured, f: Mapping[str, Any]) -> Iterator[Sign]:
    if not m.graph:
        yield _no_graph(m)
        return
    if not m.finite:
        yield _not_finite(m, f)
        return
    if not any(m.totals):
        yield _all_zero(m, f)
        return
    yield from _unreached(m, f)
    yield from _optimizer(m, f)
    yield from _dead(m, f)
    yield from _ratio(m, f)
    yield from _saturated(f)
    yield from _updates(m, f)


def _no_graph(m: Measured) -> Sign:
    frozen = not any(p.requires_grad for _, p in m.order)
    why = (
        "all parameters are frozen (requires_grad=False)"
        if frozen
        else "it was computed under no_grad, detached, or by something without a gradient (argmax, .item(), numpy)"
    )
    return Sign(
        "failed",
        f"The loss does not depend on any trainable parameter: {why}. Nothing can be trained before that is undone.",
        {"frozen-or-detached": 20.0},
    )


def _not_finite(m: Measured, f: Mapping[str, Any]) -> Sign:
    broken = [n for n, norm in m.weights.items() if not math.isfinite(norm)]
    if broken:
        return Sign(
            "failed",
            f"{len(broken)} of {len(m.weights)} parameters are not finite already ({few(broken)}): go back to the last"
            " good checkpoint and run this test there.",
            {"learning-rate-too-high": 2.0, "gradients-explode": 2.0, "precision-overflow": 2.0 if m.mixed else 1.0},
        )
    count = f["nonfinite_batches"]
    losses = sum(not math.isfinite(v) for v in m.losses)
    what = f"The loss of {losses} of {m.batches} batches is not finite" if losses else (
        f"In {count} of {m.batches} batches the loss is finite and gradients are not ({few(f['nonfinite'])})"
    )  # fmt: skip
    causes = {"precision-overflow": 6.0 if m.mixed else 1.0}
    if count < m.batches:
        causes |= {"bad-batch": 5.0, "bad-data": 3.0}
        advice = "look at the data of those batches"
    else:
        causes |= {"bad-data": 2.0, "loss-misused": 2.0}
        advice = "look at the inputs" if losses else "look for log(0), 0/0, the root of 0 or a norm at 0 in the loss"
    if m.mixed:
        advice += ", and repeat the test in float32: low precision overflows above 65,504"
    return Sign("failed", f"{what}: {advice}.", causes)


def _all_zero(m: Measured, f: Mapping[str, Any]) -> Sign:
    if all(v == 0 for v in m.losses):
        return Sign(
            "unknown", "The loss of every batch is exactly zero, and every gradient too: nothing is left to learn."
        )
    causes = {"dead-units": 4.0 if m.rectified else 1.5, "frozen-or-detached": 3.0, "gradients-vanish": 2.0}
    return Sign(
        "failed",
        f"Every gradient is exactly zero while the loss is {short(f['loss'])}: it does not depend on the weights here,"
        " because units are dead or saturated, or because the loss rounds, clamps or compares.",
        causes,
    )


def _unreached(m: Measured, f: Mapping[str, Any]) -> Iterator[Sign]:
    sizes = {n: p.numel() for n, p in m.order}
    trainable = sum(p.numel() for _, p in m.order if p.requires_grad)
    detached = f["detached"]
    if detached:
        share = sum(sizes[n] for n in detached) / trainable
        first = next(n for n, p in m.order if p.requires_grad)
        cut = first in detached or share > _PART
        where = "a detach(), no_grad or .data lies behind them" if cut else "the loss does not use what they compute"
        yield Sign(
            "failed" if cut else "noted",
            f"{len(detached)} parameters ({few(detached)}; {percent(share)} of the trainable values) run in the forward"
            f" pass and get no gradient: {where}.",
            {"frozen-or-detached": 12.0 if cut else 1.5},
        )
    if f["unused"]:
        yield Sign(
            "noted",
            f"{len(f['unused'])} trainable parameters are never used ({few(f['unused'])}).",
            {"frozen-or-detached": 2.0},
        )
    if f["frozen_fraction"] > 0.5:
        yield Sign(
            "noted",
            f"{percent(f['frozen_fraction'])} of the model is frozen ({len(f['frozen'])} parameters); is that meant?",
            {"frozen-or-detached": 2.0},
        )


def _optimizer(m: Measured, f: Mapping[str, Any]) -> Iterator[Sign]:
    if m.subject.optimizer is None:
        return
    if not m.steppable:
        yield Sign(
            "failed",
            "The optimizer holds none of the model's trainable parameters: it was made for another model, or before"
            " this one was rebuilt. Make it anew from model.parameters().",
            {"frozen-or-detached": 20.0},
        )
    elif f["missing"]:
        missing = set(f["missing"])
        flags = [n in missing for n, _ in m.order if n in m.norms]
        # A model whose last layers alone are trained is so on purpose, more often than not.
        head = flags == sorted(flags, reverse=True) and sum(flags) > len(flags) / 2
        yield Sign(
            "noted" if head else "failed",
            f"{len(missing)} parameters get a gradient and are not in the optimizer ({few(f['missing'])}): they never"
            f" change. {'Freeze them if that is meant, which saves time' if head else 'Give them to the optimizer'}.",
            {"frozen-or-detached": 2.0 if head else 10.0},
        )


def _dead(m: Measured, f: Mapping[str, Any]) -> Iterator[Sign]:
    overall, worst = f["dead_fraction"], f["worst_dead_fraction"]
    if overall is None or not any(n for n, _ in m.dead.values()):
        return
    many = overall >= DEAD or (worst is not None and worst >= DEAD)
    if not many and overall < NOTABLE:
        return
    advice = "begin again with a lower learning rate, biases at zero or leaky rectifiers" if many else "watch them"
    place = f", {percent(worst)} in {f['worst_layer']}" if f["worst_layer"] else ""
    yield Sign(
        "failed" if many else "noted",
        f"{percent(overall)} of the units get no gradient from any of {m.examples} examples{place}: {advice}.",
        {"dead-units": 10.0, "learning-rate-too-high": 1.5} if many else {"dead-units": 1.5},
    )


def _ratio(m: Measured, f: Mapping[str, Any]) -> Iterator[Sign]:
    ratio = f["first_over_last"]
    if ratio is None or VANISHING <= ratio <= EXPLODING:
        return
    vanish = ratio < VANISHING
    high = m.learned is None or m.learned > LEARNED
    off = [n for n, g in m.gains.items() if n in m.norms and not _SPREAD[0] <= g <= _SPREAD[1]]
    causes = {"gradients-vanish" if vanish else "gradients-explode": 10.0, "bad-initialization": 5.0 if off else 2.0}
    if not vanish and m.input_rms is not None and m.input_rms > _RAW:
        causes["inputs-unscaled"] = 5.0
    said = f"{short(ratio)} of" if vanish else f"{short(ratio)} times"
    where = f" The spread of {few(off)} is unusual: initialise anew." if off else ""
    advice = (
        "He or Xavier initialisation, ReLU-like activations, normalisation or residual connections mend that."
        if vanish
        else "clip the gradient norm, begin with smaller weights, or normalise."
    )
    known = "" if high else f" The model has learned all the same (loss {percent(m.learned or 0)} of guessing)."
    if causes.get("inputs-unscaled"):
        where += f" The inputs are of size {short(m.input_rms or 0)}: scale them to 1."
    yield Sign(
        "failed" if high else "noted",
        f"The first layers' gradients are {said} the last ones': {advice}{where}{known}",
        causes if high else {c: min(v, 2.0) for c, v in causes.items()},
    )


def _saturated(f: Mapping[str, Any]) -> Iterator[Sign]:
    if f["saturated"] and f["saturated"][0][1] > 0.5:
        name, share = f["saturated"][0]
        raw = f["input_rms"] is not None and f["input_rms"] > _RAW
        hint = f"; the inputs are of size {short(f['input_rms'])}, scale them" if raw else ""
        yield Sign(
            "noted",
            f"{percent(share)} of the values of {name} are saturated, where hardly a gradient passes{hint}.",
            {"gradients-vanish": 2.0, "bad-initialization": 2.0, "inputs-unscaled": 4.0 if raw else 1.0},
        )


def _updates(m: Measured, f: Mapping[str, Any]) -> Iterator[Sign]:
    if f["update_ratio"] is None or m.subject.optimizer is None:
        return
    rates = [float(g["lr"]) for g in m.subject.optimizer.param_groups]
    unmoved = f["unmoved"]
    if not any(rates):
        yield Sign("noted", "The learning rate is 0 now (the start of a warmup, or the end of a schedule).")
    elif unmoved:
        yield Sign(
            "noted",
            f"{len(unmoved)} parameters get a gradient and a step leaves them as they are ({few(unmoved)}): their rate"
            " is 0, or the step is lost in rounding.",
            {"frozen-or-detached": 2.0, "learning-rate-too-low": 2.0},
        )
    if any(rates) and f["update_ratio"] > _FAR[1]:
        yield Sign(
            "noted",
            f"One step moves the weights by {percent(f['update_ratio'])} of their size, where 0.01 to 1 % is usual.",
            {"learning-rate-too-high": 3.0},
        )
    elif any(rates) and 0 <= f["update_ratio"] < _FAR[0]:
        yield Sign(
            "noted",
            f"One step moves the weights by {short(f['update_ratio'])} of their size, where 1e-4 to 1e-2 is usual.",
            {"learning-rate-too-low": 3.0},
        )


def _well(m: Measured, f: Mapping[str, Any]) -> str:
    parts = [f"All {len(m.norms)} trainable parameters get a finite gradient"]
    if f["first_over_last"] is not None:
        parts.append(f"the first layers' is {short(f['first_over_last'])} times the last ones'")
    if f["dead_fraction"] is not None:
        parts.append(f"{percent(f['dead_fraction'])} of {sum(n for _, n in m.dead.values())} units are dead")
    if f["update_ratio"] is not None:
        parts.append(f"one step moves the weights by {short(f['update_ratio'])} of their size")
    return "; ".join(parts) + "."
