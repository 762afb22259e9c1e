"""What resume_test returns, and its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lossdoctor.core.finding import Measurement
from lossdoctor.core.numbers import short
from lossdoctor.probes.chart import Chart, Line
from lossdoctor.probes.result import ProbeResult
from lossdoctor.probes.resume.state import PARTS, Difference

_SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class ResumeResult(ProbeResult):
    """What :func:`lossdoctor.probes.resume_test` found.

    Attributes:
        agree: whether the next losses and learning rates are the same, but for the order of sums.
        lost: parts that are not as they were saved, of ``weights``, ``buffers``, ``mode``, ``optimizer``, ``groups``,
            ``scheduler``, ``scaler``.
        differences: the values in them.
        losses, resumed_losses: of the next steps, without the interruption and after it.
        rates, resumed_rates: their learning rates (of the first parameter group).
        rng_restored: whether loading put the random generators back; None where the test saved by itself.
        random: whether the loss depends on them (dropout).
        repeats: whether each pass over the loader begins with the same batch, so that a resumed epoch begins with
            examples that were just seen.
        own: whether the caller's ``save`` and ``load`` were tested.
    """

    test: ClassVar[str] = "resume_test"
    title: ClassVar[str] = "Save and resume"

    agree: bool = True
    lost: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    losses: tuple[float, ...] = ()
    resumed_losses: tuple[float, ...] = ()
    rates: tuple[float, ...] = ()
    resumed_rates: tuple[float, ...] = ()
    rng_restored: bool | None = None
    random: bool = False
    repeats: bool = False
    own: bool = False

    def charts(self) -> tuple[Chart, ...]:
        steps = list(range(1, len(self.losses) + 1))
        if self.agree or not steps:
            return ()
        lines = (Line("uninterrupted", steps, self.losses), Line("resumed", steps, self.resumed_losses))
        return (Chart("The next steps with and without the interruption", "step", "loss", lines=lines),)

    def rows(self) -> tuple[tuple[str, str], ...]:
        rows = []
        for what, here, there in (
            ("losses", self.losses, self.resumed_losses),
            ("learning rates", self.rates, self.resumed_rates),
        ):
            same = (
                ", the same after resuming"
                if self.agree or here == there
                else f"; resumed {', '.join(map(short, there))}"
            )
            rows.append((f"next {what}", ", ".join(map(short, here)) + same))
        rows += [(f"{d.part}: {d.name}", f"{d.saved}, resumed {d.resumed}") for d in self.differences[:_SHOWN]]
        if len(self.differences) > _SHOWN:
            rows.append(("and", f"{len(self.differences) - _SHOWN} more differences"))
        return tuple(rows)


def concluded(
    found: Sequence[Difference],
    losses: tuple[Sequence[float], Sequence[float]],
    rates: tuple[Sequence[float], Sequence[float]],
    agree: bool,
    rng_restored: bool | None,
    random: bool,
    repeats: bool,
    own: bool,
    counted: tuple[int, float],
) -> ResumeResult:
    """The result of the comparison."""
    lost = tuple(part for part in PARTS if any(d.part == part for d in found))
    notes = _notes(rng_restored, random, repeats)
    if lost or not agree:
        outcome = "failed"
        verdict = _told(found, lost, losses, rates, agree)
        schedule = any(p in ("scheduler", "groups") for p in lost) and tuple(rates[0]) != tuple(rates[1])
        only = set(lost) <= {"scheduler", "groups"} and bool(lost)
        causes = {"state-lost-on-resume": 3.0 if only else 10.0}
        if schedule or "scheduler" in lost:
            causes["schedule-restart"] = 10.0 if only else 5.0
    else:
        outcome = "noted" if notes else "passed"
        whose = "Your save and load bring" if own else "The state_dicts bring"
        verdict = f"{whose} everything back: the next {len(losses[0])} losses and learning rates are those of the"
        verdict += " uninterrupted run."
        verdict += "" if own else " Give save and load to test your own checkpoints."
        causes = dict.fromkeys(("state-lost-on-resume", "schedule-restart"), 0.05 if own else 0.6)
    return ResumeResult(
        outcome=outcome,
        verdict=" ".join([verdict, *notes]),
        agree=agree,
        causes=causes,
        measurements=(Measurement("resume_differences", float(len(found)), detail={"parts": ", ".join(lost)}),),
        steps=counted[0],
        seconds=counted[1],
        lost=lost,
        differences=tuple(found),
        losses=tuple(losses[0]),
        resumed_losses=tuple(losses[1]),
        rates=tuple(rates[0]),
        resumed_rates=tuple(rates[1]),
        rng_restored=rng_restored,
        random=random,
        repeats=repeats,
        own=own,
    )


def _told(
    found: Sequence[Difference],
    lost: Sequence[str],
    losses: tuple[Sequence[float], Sequence[float]],
    rates: tuple[Sequence[float], Sequence[float]],
    agree: bool,
) -> str:
    if not lost:
        text = "All state is as it was saved, but the next losses differ: something outside of it decides"
        return f"{text} ({short(losses[1][0])} instead of {short(losses[0][0])})."
    parts = []
    for part in lost:
        mine = [d for d in found if d.part == part]
        first = mine[0]
        more = f" and {len(mine) - 1} more" if len(mine) > 1 else ""
        parts.append(f"{PARTS[part]} ({first.name}: {first.resumed} instead of {first.saved}{more})")
    text = f"Not restored: {'; '.join(parts)}."
    if agree:
        text += f" The next {len(losses[0])} steps are the same even so; later ones may not be."
    for what, (here, there) in (("learning rate", rates), ("loss", losses)):
        apart = next((i for i, (a, b) in enumerate(zip(here, there, strict=True)) if a != b), None)
        if apart is not None and (what != "loss" or not agree):
            when = "next" if apart == 0 else f"{apart + 1}th next"
            when = {1: "second", 2: "third"}.get(apart, when)
            text += f" The {when} {what} is {short(there[apart])} instead of {short(here[apart])}."
            break
    owners = {"weights": "model", "buffers": "model", "optimizer": "optimizer", "groups": "optimizer"}
    names = dict.fromkeys(owners.get(p, p) for p in lost if p != "mode")
    if names:
        text += f" Save and load the state_dict() of the {' and the '.join(names)}."
    return text + (" Call model.train() after loading." if "mode" in lost else "")


def _notes(rng_restored: bool | None, random: bool, repeats: bool) -> list[str]:
    notes = []
    if rng_restored is False and random:
        notes.append("The random generators are not saved: after a resume dropout draws other masks. That is harmless.")
    if repeats:
        notes.append(
            "Each pass over the loader begins with the same batch: resumed within an epoch, the run sees the first ones"
            " again; shuffle, or save the loader's position."
        )
    return notes
