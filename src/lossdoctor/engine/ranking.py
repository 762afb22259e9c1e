"""Which finding comes first, which are told by another, and what the status rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lossdoctor.core.finding import Finding
from lossdoctor.core.names import parse
from lossdoctor.core.numbers import percent, short
from lossdoctor.core.vocabulary import severity_rank
from lossdoctor.rules.base import Case
from lossdoctor.signal.reading import Reading

LEAST_BINS = 8  # fewer points of the primary loss than this are too few to call a run healthy


def order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The one to act on first; findings that an earlier one explains are told by it and left out."""
    ranked = sorted(
        findings,
        key=lambda f: (-severity_rank(f.severity), *_lesser(f), -round(f.confidence, 2), f.code, f.segment),
    )
    kept: list[Finding] = []
    left = list(ranked)
    while left:
        # The first that nothing left accounts for; where they account for one another in a ring, simply the first.
        free = [f for f in left if not any(_tells(other, f) for other in left if other is not f)]
        teller = (free or left)[0]
        kept.append(teller)
        left = [f for f in left if f is not teller and not _tells(teller, f) and not _same(teller, f)]
    kept.sort(key=ranked.index)
    told = {f.code for f in ranked}
    return tuple(replace(f, explains=tuple(c for c in f.explains if c in told and c != f.code)) for f in kept)


def _lesser(finding: Finding) -> tuple[bool, bool]:
    """What puts a finding behind others of its severity.

    Information whose only advice is to look, or none; and what another signal shows: the loss itself comes first, the
    gradient norm that says why comes after it.
    """
    first = finding.actions[0].action if finding.actions else "none"
    remark = finding.severity == "info" and (first == "none" or first.startswith("check_"))
    return remark, parse(finding.metric).kind != "loss"


def _tells(teller: Finding, finding: Finding) -> bool:
    """Whether one finding accounts for another that is not worse."""
    return finding.code in teller.explains and severity_rank(teller.severity) >= severity_rank(finding.severity)


def _same(a: Finding, b: Finding) -> bool:
    """The same finding in a later segment, or on a term of the loss, is told once."""
    return a.code == b.code and (a.metric == b.metric or a.code == "LD102")


def status_of(findings: Sequence[Finding], case: Case) -> str:
    """The worst severity among warnings and criticals; else healthy, or insufficient_data when too little was seen."""
    worst = max((severity_rank(f.severity) for f in findings), default=0)
    if worst == 2:
        return "critical"
    if worst == 1:
        return "warning"
    primary = case.primary
    return "insufficient_data" if primary is None or len(primary[1]) < LEAST_BINS else "healthy"


def basis_of(status: str, findings: Sequence[Finding], case: Case) -> str:
    """One sentence saying what the status rests on."""
    primary = case.primary
    if primary is None:
        losses = [n for n in case.roles.adversarial if n in case.readings]
        if losses:
            shown = ", ".join(losses[:4])
            return f"no loss that should simply fall: {shown} are judged for NaN and Inf only"
        return "no loss was found in this log" + (f" ({case.notes[0]})" if case.notes else "")
    name, reading = primary
    if status == "insufficient_data":
        return f"{name} has only {reading.n} finite points; at least {LEAST_BINS} are needed to judge"
    if status != "healthy":
        return findings[0].summary
    train, val = case.reading("train_loss"), case.reading("val_loss")
    if train is not None and val is not None and len(val) >= 4:
        return _both(case, train, val)
    return f"{_way(name, reading)}, lowest {_when(reading)}; " + (
        "no validation loss is logged" if val is None else "too few evaluations to judge validation"
    )


def _both(case: Case, train: Reading, val: Reading) -> str:
    words = {
        (True, True): "training and validation loss fall together",
        (True, False): "the training loss falls, the validation loss is level",
        (False, True): "the validation loss falls, the training loss is level",
        (False, False): "training and validation loss move by no more than their noise",
    }[(train.fell, val.fell)]
    gap = ""
    if case.roles.comparable and train.positive and val.positive:
        share = (val.end.value - train.end.value) / abs(val.end.value)
        gap = f", gap {percent(share)}" if share >= 0 else f", validation {percent(-share)} below training"
    return f"{words}{gap}, best validation {short(val.best.value)} {_when(val)}"


def _way(name: str, reading: Reading) -> str:
    if reading.fell:
        return f"{name} falls from {short(reading.start.value)} to {short(reading.end.value)}"
    return f"{name} moves by no more than its noise, {short(reading.end.value)} at the end"


def _when(reading: Reading) -> str:
    share = reading.fraction(reading.best_step)
    return "at the end" if share > 0.9 else f"at {percent(share)} of the run"
