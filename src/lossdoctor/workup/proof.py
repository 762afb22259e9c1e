"""What the short runs showed of each remedy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from lossdoctor.core.numbers import percent, short
from lossdoctor.probes.chart import Chart, Line, Mark
from lossdoctor.probes.result import ProbeResult
from lossdoctor.signal.tails import student_quantile

MOST_LINES = 6  # that can be told apart in one chart
SURE = 0.05  # the chance of calling one remedy of all those measured helpful that is not


@dataclass(frozen=True)
class Trial:
    """One short run.

    Attributes:
        remedy: its name; ``"as it is"`` for none.
        phase: ``"screening"``, ``"measuring"`` or ``"combining"``.
        seed: of the run.
        steps: what it cost.
        value: final validation loss, infinite where it was lost or failed.
        state: ``"complete"``, ``"pruned"`` (stopped, as others did better at that length) or ``"failed"``.
        error: what the training raised.
        points: (step, validation loss) as they came.
    """

    remedy: str
    phase: str
    seed: int
    steps: int
    value: float
    state: str
    error: str = ""
    points: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Effect:
    """What a remedy did, measured by seeds that had no say in choosing it; each against the run as it is, same seed.

    Attributes:
        remedy, action, values: what was changed; keys of the configuration -> their new values.
        before, after: validation loss by seed, without and with it.
        tried: how many remedies were measured beside it: the more, the surer each must be.
    """

    remedy: str
    action: str
    values: Mapping[str, Any]
    before: tuple[float, ...]
    after: tuple[float, ...]
    tried: int = 1

    @cached_property
    def _pairs(self) -> list[tuple[float, float]]:
        both = zip(self.before, self.after, strict=True)
        return [(b, a) for b, a in both if math.isfinite(b) and math.isfinite(a)]

    @property
    def gain(self) -> float:
        """By how much the validation loss is lower, over the seeds for which both runs ended; NaN where none did."""
        return _mean([b - a for b, a in self._pairs])

    @property
    def error(self) -> float:
        """Standard error of the gain; NaN for fewer than two pairs."""
        return _error([b - a for b, a in self._pairs])

    @cached_property
    def _ratios(self) -> list[float] | None:
        """Logarithms of before / after, where losses are positive: a seed that starts high has more to gain."""
        return [math.log(b / a) for b, a in self._pairs] if all(min(pair) > 0 for pair in self._pairs) else None

    @property
    def relative(self) -> float:
        """The gain as a share of the loss as it was; of positive losses the geometric mean over the seeds."""
        if self._ratios is not None:
            return 1.0 - math.exp(-_mean(self._ratios))
        level = abs(_mean([b for b, _ in self._pairs]))
        return self.gain / level if level else math.nan

    @property
    def saved(self) -> int:
        """For how many seeds a lost run (NaN) was saved."""
        return sum(not math.isfinite(b) and math.isfinite(a) for b, a in zip(self.before, self.after, strict=True))

    @property
    def lost(self) -> int:
        """For how many seeds the remedy lost a run that ended well without it."""
        return sum(math.isfinite(b) and not math.isfinite(a) for b, a in zip(self.before, self.after, strict=True))

    @property
    def verdict(self) -> str:
        """``"helps"``, ``"harms"`` or ``"unclear"``: by a paired t-test, or by saved and lost runs where there are any.

        The test is of the ratios of positive losses, and of the differences of others. Training that gives the same
        loss for every seed has no noise to compare with: there any gain counts.
        """
        net = self.saved - self.lost
        if net:
            enough = abs(net) >= max(2.0, len(self.before) / 2)
            return "unclear" if not enough else "helps" if net > 0 else "harms"
        n = len(self._pairs)
        if n < 2:
            return "unclear"
        scores = [b - a for b, a in self._pairs] if self._ratios is None else self._ratios
        mean, limit = _mean(scores), student_quantile(1.0 - SURE / max(1, self.tried), n - 1) * _error(scores)
        return "helps" if mean > limit else "harms" if -mean > limit else "unclear"

    @property
    def told(self) -> str:
        """One line in words."""
        parts = []
        if self.saved or self.lost:
            parts.append(
                f"saves {self.saved} and loses {self.lost} of {len(self.before)} runs"
                if self.lost
                else f"saves {self.saved} of {len(self.before)} runs from NaN"
            )
        if self._pairs:
            noise = f" ± {self.error:.2g}" if math.isfinite(self.error) else ""
            way = "lower" if self.gain >= 0 else "higher"
            parts.append(f"loss {short(abs(self.gain))}{noise} {way} ({percent(abs(self.relative))})")
        return f"{self.verdict}: {'; '.join(parts) or 'no run ended'}"


@dataclass(frozen=True, kw_only=True)
class Proof(ProbeResult):
    """Which remedies helped, by how much, with their noise, and the configuration to go on with.

    Attributes:
        config: as it was.
        best_config: to go on with: of the remedy with the largest gain that is beyond its noise, else as it was.
        best: that remedy's name, or ``"as it is"``.
        effects: the measured remedies, the best first.
        trials: every run, in order.
        not_tested: (action or change, why) of what was advised and not tried.
        length: steps of a full short run.
        budget: steps that were allowed; ``steps`` is what was used.
    """

    title: ClassVar[str] = "Proof of the remedies"

    config: Mapping[str, Any] = field(default_factory=dict)
    best_config: Mapping[str, Any] = field(default_factory=dict)
    best: str = "as it is"
    effects: tuple[Effect, ...] = ()
    trials: tuple[Trial, ...] = ()
    not_tested: tuple[tuple[str, str], ...] = ()
    length: int = 0
    budget: int = 0

    @property
    def helped(self) -> tuple[Effect, ...]:
        """The remedies that helped beyond their noise, the best first."""
        return tuple(e for e in self.effects if e.verdict == "helps")

    def rows(self) -> tuple[tuple[str, str], ...]:
        measured = {e.remedy for e in self.effects}
        out = [(e.remedy, e.told) for e in self.effects]
        base, *screened = [t for t in self.trials if t.phase == "screening"]
        out += [(t.remedy, f"not pursued: {_screened(t, base)}") for t in screened if t.remedy not in measured]
        out += [(name, f"not tested: {why}") for name, why in self.not_tested]
        out.append(("cost", f"{self.steps:,} of {self.budget:,} steps in {len(self.trials)} runs"))
        return tuple(out)

    def charts(self) -> tuple[Chart, ...]:
        bars = tuple((e.remedy, round(100 * e.relative, 1)) for e in self.effects if math.isfinite(e.relative))
        base, *others = [t for t in self.trials if t.phase == "screening"]
        far = sorted(others, key=lambda t: (-len(t.points), t.value))  # those that came far, then low
        lines = tuple(
            Line(t.remedy, [p[0] for p in t.points], [p[1] for p in t.points])
            for t in (base, *far[: MOST_LINES - 1])
            if len(t.points) > 1
        )
        out = []
        if bars:
            zero = (Mark(0.0, "as it is"),)
            out.append(Chart("What each remedy does", x_label="validation loss lower by, %", bars=bars, marks=zero))
        if lines:
            positive = all(v > 0 for line in lines for v in line.y if math.isfinite(v))
            out.append(Chart("The first runs", "step", "validation loss", lines=lines, log_y=positive))
        return tuple(out)

    def as_dict(self) -> dict[str, Any]:
        told = super().as_dict()
        numbers = ("gain", "relative", "error", "saved", "lost", "verdict")
        told["effects"] = [
            {**plain, **{n: getattr(effect, n) for n in numbers}}
            for plain, effect in zip(told["effects"], self.effects, strict=True)
        ]
        return told


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _error(values: Sequence[float]) -> float:
    """Standard error of the mean; what is smaller than rounding is none."""
    n = len(values)
    if n < 2:
        return math.nan
    mean = _mean(values)
    error = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n)
    return error if error > 1e-12 * max(map(abs, values)) else 0.0


def _screened(trial: Trial, base: Trial) -> str:
    if trial.error:
        return f"the training raised {trial.error}"
    at, value = trial.points[-1] if trial.points else (trial.steps, math.inf)
    if not math.isfinite(value):
        return f"NaN or infinite at step {at:,}"
    beside = next((v for s, v in base.points if s >= at), base.value)
    return f"{short(value)} after {at:,} steps, where the run as it is had {short(beside)}"
