"""The short runs of one proof: screening by successive halving, then measuring the best by several seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lossdoctor.core.errors import LossdoctorError
from lossdoctor.probes.progress import Progress
from lossdoctor.workup.proof import Effect, Trial
from lossdoctor.workup.remedies import Change
from lossdoctor.workup.training import Prune, Ran, Training

if TYPE_CHECKING:
    import optuna

AS_IT_IS = "as it is"
HALVING = 2  # of what runs at a length, this share goes on: one in two
RUNGS = 2  # lengths before the full one at which remedies are left behind: a quarter and a half of it
FINALISTS = 2  # remedies that are measured by several seeds


class ShortRuns:
    """The runs of one proof, and their book-keeping."""

    def __init__(
        self,
        study: optuna.Study,
        training: Training,
        config: Mapping[str, Any],
        budget: int,
        length: int,
        tell: Progress,
    ) -> None:
        self.study, self.training, self.config = study, training, config
        self.budget, self.length, self.tell = budget, length, tell
        self.spent = 0
        self.trials: list[Trial] = []
        self.ends: dict[tuple[str, int], float] = {}  # (remedy, seed) -> loss at the full length

    @property
    def left(self) -> int:
        return self.budget - self.spent

    def was_tried(self, name: str) -> bool:
        return any(t.remedy == name for t in self.trials)

    def screen(self, tried: Sequence[Change], seeds: int) -> None:
        """The run as it is and every change by one seed, pruned at each length; what is kept back measures them."""
        most = sum(self.lengths) if not self.training.goes_on else self.length
        reserve = seeds * (1 + min(FINALISTS, len(tried))) * self.length
        if self.budget < reserve + 2 * most:
            reserve = 2 * 2 * self.length  # one change by two seeds is the least that says anything
        for change in (Change(AS_IT_IS, ""), *tried):
            if self.trials and self.left < most + reserve:
                break
            self._screened(change)

    @property
    def lengths(self) -> list[int]:
        """At which changes are compared, the full one last."""
        return [max(1, self.length // HALVING**k) for k in range(RUNGS, -1, -1)]

    def _screened(self, change: Change) -> None:
        trial = self._asked(change)

        def prune(step: int, loss: float) -> bool:
            trial.report(loss, step)
            return trial.should_prune()

        ran = self._run(change, self.length, 0, prune) if self.training.goes_on else self._afresh(change, prune)
        self._note(change, "screening", 0, ran, trial)

    def _afresh(self, change: Change, prune: Prune) -> Ran:
        """A run at each length, all told as one."""
        whole = Ran()
        for length in self.lengths:
            ran = self._run(change, length, 0)
            whole.points += [(length, ran.value)]
            whole.steps, whole.error = whole.steps + ran.steps, ran.error
            whole.stopped = length < self.length and (not math.isfinite(ran.value) or prune(length, ran.value))
            if whole.error or whole.stopped:
                break
        return whole

    def measure(self, tried: Sequence[Change], seeds: int) -> list[Effect]:
        """The best changes, and the run as it is, by seeds that have not been used."""
        chosen = self._finalists(tried)
        number = len(chosen)
        for seed in range(1, seeds + 1):
            if self.left < self.length * (1 + number):  # a seed counts only where all were trained by it
                break
            for change in (Change(AS_IT_IS, ""), *chosen):
                self._measured(change, "measuring", seed)
        return [e for c in chosen if (e := self._effect(c, number)).before]

    def combine(self, effects: list[Effect], by_name: Mapping[str, Change], seeds: int) -> list[Effect]:
        """The two best together, where both help and differ in what they change, and budget is left."""
        helping = [by_name[e.remedy] for e in sorted(effects, key=worth, reverse=True) if e.verdict == "helps"]
        if len(helping) < 2 or not helping[0].joins(helping[1]) or self.left < 2 * self.length:
            return effects
        both = helping[0].and_(helping[1])
        for seed in range(1, seeds + 1):
            if (AS_IT_IS, seed) in self.ends and self.left >= self.length:
                self._measured(both, "combining", seed)
        return [*effects, self._effect(both, len(effects) + 1)]

    def _finalists(self, tried: Sequence[Change]) -> list[Change]:
        """Those that came far and low; the second one such that it can be joined to the first, where there is one."""
        screened = {t.remedy: t for t in self.trials if t.phase == "screening" and t.state != "failed"}
        ranked = sorted(
            (c for c in tried if c.name in screened and math.isfinite(_last(screened[c.name]))),
            key=lambda c: (-_reached(screened[c.name]), _last(screened[c.name])),
        )
        base = _last(screened[AS_IT_IS]) if AS_IT_IS in screened else math.inf
        better = [c for c in ranked if _reached(screened[c.name]) == self.length and _last(screened[c.name]) < base]
        joining = [c for c in better[1:] if c.joins(better[0])]
        in_order = {c.name: c for c in [*ranked[:1], *joining, *ranked]}
        return list(in_order.values())[:FINALISTS]

    def _measured(self, change: Change, phase: str, seed: int) -> None:
        trial = self._asked(change)
        ran = self._run(change, self.length, seed)
        self.ends[change.name, seed] = ran.value
        self._note(change, phase, seed, ran, trial)

    def _effect(self, change: Change, number: int) -> Effect:
        seeds = [seed for name, seed in self.ends if name == change.name and (AS_IT_IS, seed) in self.ends]
        before = tuple(self.ends[AS_IT_IS, seed] for seed in seeds)
        after = tuple(self.ends[change.name, seed] for seed in seeds)
        return Effect(change.name, change.action, dict(change.values), before, after, number)

    def _asked(self, change: Change) -> optuna.Trial:
        trial = self.study.ask()  # what is to be tried is ours to say: there is nothing to sample
        trial.set_user_attr("remedy", change.name)
        return trial

    def _run(self, change: Change, length: int, seed: int, prune: Prune | None = None) -> Ran:
        ran = self.training.run(change.of(self.config), length, seed, prune)
        self.spent += ran.steps
        self.tell(min(self.spent, self.budget), self.budget)
        return ran

    def _note(self, change: Change, phase: str, seed: int, ran: Ran, trial: optuna.Trial) -> None:
        from optuna.trial import TrialState

        lost = ran.stopped and not math.isfinite(ran.value)  # it was stopped by its NaN, not left behind
        pruned = ran.stopped and not lost
        state = "failed" if ran.error else "pruned" if pruned else "complete"
        told = {"failed": TrialState.FAIL, "pruned": TrialState.PRUNED, "complete": TrialState.COMPLETE}[state]
        self.study.tell(trial, ran.value if state == "complete" else None, told)
        points = tuple(ran.points)
        self.trials.append(Trial(change.name, phase, seed, ran.steps, ran.value, state, ran.error, points))


def _last(trial: Trial) -> float:
    return trial.points[-1][1] if trial.points else math.inf


def _reached(trial: Trial) -> int:
    return trial.points[-1][0] if trial.points else 0


def worth(effect: Effect) -> tuple[float, float, float]:
    """More runs saved, then a larger gain; where all were lost before, a lower loss after."""
    ends = [a for a in effect.after if math.isfinite(a)]
    level = sum(ends) / len(ends) if ends else math.inf
    return (effect.saved - effect.lost, effect.gain if math.isfinite(effect.gain) else -math.inf, -level)


def study_maker() -> Callable[[int], optuna.Study]:
    """What makes the study of a length of runs.

    Raises:
        LossdoctorError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise LossdoctorError(
            "prove() runs its trials by the package 'optuna', which is not installed; run: pip install"
            " 'lossdoctor[prove]'"
        ) from None

    def make(length: int) -> optuna.Study:
        with _silent(optuna):
            pruner = optuna.pruners.SuccessiveHalvingPruner(
                min_resource=max(1, length // HALVING**RUNGS), reduction_factor=HALVING
            )
            return optuna.create_study(pruner=pruner)

    return make


@contextmanager
def _silent(optuna: Any) -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
