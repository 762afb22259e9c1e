"""Trying the advised remedies: many for a short time, the best of them for longer and by several seeds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from lossdoctor.core.errors import UsageError
from lossdoctor.core.numbers import percent, short
from lossdoctor.probes.progress import Progress, shown
from lossdoctor.workup.proof import Effect, Proof
from lossdoctor.workup.remedies import Change, Keys, actions_of, changes, why_not
from lossdoctor.workup.short_runs import AS_IT_IS, FINALISTS, HALVING, RUNGS, ShortRuns, study_maker, worth
from lossdoctor.workup.training import Training

LEAST_LENGTH = 8
MOST_CHANGES = 16


def prove(
    train_fn: Callable[..., Any],
    config: Mapping[str, Any],
    findings: Any,
    budget: int,
    *,
    steps: int | None = None,
    seeds: int = 4,
    accepts: Collection[str] = (),
    remedies: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Progress | bool | None = None,
) -> Proof:
    """Which of the advised remedies help on this very training, by how much, and with what noise.

    Each advised action becomes changes of the configuration (a lower rate: a third and a tenth of it). The run as it is
    and every change are trained shortly by one seed; by successive halving (Jamieson and Talwalkar 2016, asynchronous
    as in Li et al. 2020, by Optuna's ``SuccessiveHalvingPruner``) the worse ones are left behind at a quarter and at
    half of the length. The best two are then measured against the run as it is by ``seeds`` new seeds, in pairs of the
    same seed, so that no remedy is judged by the runs that chose it. Where both help and budget is left, they are also
    tried together.

    Args:
        train_fn: ``train_fn(config, steps)`` trains afresh for so many steps and returns the final validation loss
            (lower is better). It may take ``seed`` and ``report`` by name: ``report(step, val_loss)`` says whether to
            stop, which saves the rest of a hopeless run. Or it is a generator that yields ``(step, val_loss)``.
            Functions that do neither are trained afresh at each length. A learning-rate schedule should span ``steps``.
        config: keys -> values; the usual names of the keys are known (``lr``, ``weight_decay``, ``batch_size``, …).
        findings: a diagnosis, a work-up, findings, or actions by name; what is advised first is tried first.
        budget: training steps that all runs together may take.
        steps: length of a full short run; by default what the budget allows.
        seeds: how many measure the effects, at least 2.
        accepts: keys that ``train_fn`` also reads, though ``config`` leaves them out (``{"clip_norm", "warmup"}``).
        remedies: changes of your own that are tried too: name -> keys with new values.
        progress: see :func:`lossdoctor.probes.progress.shown`.

    Returns:
        A :class:`~lossdoctor.workup.proof.Proof`. Runs that end in NaN count as infinitely bad; runs that raise are in
        it with their error. What helps in short runs need not help in long ones: the longer, the surer.

    Raises:
        UsageError: ``train_fn`` cannot be called so or gives no loss, nothing is advised that can be tried, or the
            budget is too small.
        LossdoctorError: Optuna is not installed (the extra ``prove``).

    >>> def train(config, steps, seed):
    ...     w = 4.0 + 0.1 * seed
    ...     for _ in range(steps):
    ...         w -= config["lr"] * 2.0 * w
    ...     return w * w
    >>> prove(train, {"lr": 0.001}, ["increase_learning_rate"], budget=1000).best
    'lr 0.001 to 0.01'
    """
    started = time.perf_counter()
    training = Training(train_fn)
    if seeds < 2:
        raise UsageError(f"seeds is {seeds}; at least 2 are needed to know the noise")
    study = study_maker()
    keys = Keys(config, accepts, steps or LEAST_LENGTH)
    tried, not_tested = _plan(findings, keys, remedies or {})
    length = _length(budget, len(tried), seeds, steps, goes_on=training.goes_on)
    if steps is None:
        tried, not_tested = _plan(findings, Keys(config, accepts, length), remedies or {})
    with shown("proving", progress) as tell:
        runs = ShortRuns(study(length), training, config, budget, length, tell)
        runs.screen(tried, seeds)
        effects = runs.measure(tried, seeds)
        effects = runs.combine(effects, {c.name: c for c in tried}, seeds)
    missed = [(c.name, "the budget was spent before") for c in tried if not runs.was_tried(c.name)]
    return _proof(runs, config, effects, [*not_tested, *missed], time.perf_counter() - started)


def _plan(
    findings: Any, keys: Keys, own: Mapping[str, Mapping[str, Any]]
) -> tuple[list[Change], list[tuple[str, str]]]:
    """What to try, the first advice first, and what not, and why."""
    tried: list[Change] = [Change(name, "", dict(values)) for name, values in own.items()]
    not_tested: list[tuple[str, str]] = []
    for action in actions_of(findings):
        made = changes(action, keys)
        if not made:
            not_tested.append((action.action, why_not(action.action)))
        tried += [c for c in made if all(c.values != t.values for t in tried)]
    if not tried:
        told = "; ".join(f"{name}: {why}" for name, why in not_tested) or "nothing is advised"
        raise UsageError(f"there is no remedy to try: {told}")
    not_tested += [(c.name, f"only the first {MOST_CHANGES} changes are tried") for c in tried[MOST_CHANGES:]]
    return tried[:MOST_CHANGES], not_tested


def _length(budget: int, changes: int, seeds: int, steps: int | None, *, goes_on: bool) -> int:
    """Steps of a full short run, so that screening and measuring fit the budget.

    Of the changes about one half goes on at each length; runs that cannot go on are trained afresh at each.
    """
    halves = [1.0 / HALVING**k for k in range(RUNGS, -1, -1)]  # the lengths, as shares of the full one
    added = [b - a for a, b in zip([0.0, *halves], halves, strict=False)] if goes_on else halves
    screening = sum(added) + changes * sum(a / HALVING**k for k, a in enumerate(added))
    whole = screening + seeds * (1 + min(FINALISTS, changes)) + (seeds if changes > 1 else 0)
    fits = int(budget / whole)
    least = steps if steps is not None else LEAST_LENGTH
    if (steps is None and fits < least) or (steps is not None and budget < steps * (2 + 2 * 2)):
        needed = math.ceil(least * (whole if steps is None else 6))
        raise UsageError(
            f"a budget of {budget:,} steps is too small for {changes} changes by {seeds} seeds"
            + (f" in runs of {steps:,} steps" if steps is not None else "")
            + f": give at least {needed:,}"
        )
    return fits if steps is None else steps


def _proof(
    runs: ShortRuns, config: Mapping[str, Any], effects: list[Effect], not_tested: list[tuple[str, str]], seconds: float
) -> Proof:
    ranked = sorted(effects, key=lambda e: (e.verdict == "helps", *worth(e)), reverse=True)
    best = ranked[0] if ranked and ranked[0].verdict == "helps" else None
    outcome = "passed" if best else "noted" if ranked else "unknown"
    return Proof(
        outcome=outcome,
        verdict=_verdict(runs, best, ranked),
        steps=runs.spent,
        seconds=seconds,
        config=dict(config),
        best_config=dict(config) if best is None else {**config, **best.values},
        best=AS_IT_IS if best is None else best.remedy,
        effects=tuple(ranked),
        trials=tuple(runs.trials),
        not_tested=tuple(not_tested),
        length=runs.length,
        budget=runs.budget,
    )


def _verdict(runs: ShortRuns, best: Effect | None, ranked: Sequence[Effect]) -> str:
    if best is not None:
        on = f"runs of {runs.length:,} steps, {len(best.before)} seeds"
        if best.saved:
            return f"{best.remedy} saves {best.saved} of {len(best.before)} runs from NaN ({on}): go on with it."
        noise = f" ± {best.error:.2g}" if best.error > 0 else ", the same for every seed"
        return (
            f"{best.remedy} lowers the validation loss by {short(best.gain)}{noise}, {percent(best.relative)} ({on}):"
            " go on with it."
        )
    if ranked:
        return (
            f"None of the remedies helped beyond the noise of {len(ranked[0].before)} seeds in runs of"
            f" {runs.length:,} steps: keep the configuration, or try longer runs."
        )
    failed = next((t for t in runs.trials if t.error), None)
    why = f" ({failed.error})" if failed is not None else ""
    return f"No remedy could be measured: the runs failed, were lost to NaN, or the budget ended{why}."
