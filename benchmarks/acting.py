"""What acting on a live run is worth, on the clinic's tasks: when to stop, and what to do about bad batches.

    python -m benchmarks.acting [--runs 12] [--seeds 1] [--held-out]

(a) early stopping beside rules of patience: regret of the weights kept, steps saved; (b) runs that meet trouble in
mid-training: their final held-out loss against their healthy twin's, with nothing done, with plain clipping, with a
lower rate, with :class:`~lossdoctor.live.actions.Rescue`; (c) what is done to healthy runs, which should be nothing.
Everything was tuned on the clinic's first tasks; ``--held-out`` takes its other ones. Ends with 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable
from itertools import product

import numpy as np
import torch

from benchmarks.acts import rescue, stopping
from benchmarks.clinic import draws

WITHIN = 0.05  # of the healthy twin, at the end
MOST_FALSE = 2e-4  # steps left out of healthy runs, as a share of all; roll-backs and stops: none


def stopping_table(first: int, count: int) -> int:
    """Part (a); how many bars were missed."""
    runs = [stopping.evaluated(config) for config in stopping.configs(first, count)]
    runs = [run for run in runs if len(run.seen) >= stopping.FEW and np.isfinite(run.true).all()]
    scores: dict[bool, dict[str, stopping.Score]] = {}
    for sick in (False, True):
        chosen = [run for run in runs if run.sick is sick]
        print(f"\n(a) {len(chosen)} runs that {'overfit' if sick else 'are healthy'}: regret of the kept weights")
        print(f"    {'rule':34} {'mean':>8} {'9 in 10':>8} {'over 5 %':>9} {'steps saved':>12}")
        scores[sick] = {name: stopping.Score.of(rule, chosen) for name, rule in stopping.RULES.items()}
        for name, s in scores[sick].items():
            print(f"    {name:34} {s.mean:6.1f} % {s.high:6.1f} % {s.over_five:8.0%} {s.saved:12.0%}")
    over_all = {name: stopping.Score.of(rule, runs) for name, rule in stopping.RULES.items()}
    patient = {name: s for name, s in over_all.items() if name.startswith("patience")}
    ten = scores[True]["patience 10 (as people set Keras)"].saved
    ours = over_all["statistical (ours)"]
    print(
        f"    over all {len(runs)}: mean {ours.mean:.1f} %; "
        + ", ".join(f"{n.partition(' (')[0]} {s.mean:.1f} %" for n, s in patient.items())
    )
    bars = {
        "over all runs: mean regret below that of every patience": ours.mean < min(s.mean for s in patient.values()),
        "overfitted runs: at least 3/4 of the steps that patience 10 saves": scores[True]["statistical (ours)"].saved
        >= 0.75 * ten,
    }
    return _told(bars)


def rescue_table(names: tuple[str, ...], seeds: int) -> int:
    """Part (b); how many bars were missed."""
    ends: dict[tuple[str, str], list[float]] = {}
    acted: dict[str, list[int]] = {}
    for seed, (turn, name) in product(range(1, seeds + 1), enumerate(names)):
        optimizer = rescue.OPTIMIZERS[(turn + seed) % len(rescue.OPTIMIZERS)]
        twin = rescue.train(name, seed, optimizer, rescue.HEALTHY, rescue.NOTHING)
        for trouble, arm in product(rescue.TROUBLES, rescue.ARMS):
            end = rescue.train(name, seed, optimizer, trouble, arm)
            ends.setdefault((trouble.name, arm.name), []).append(end.excess(twin))
            if arm.name == "Rescue":
                acted.setdefault(trouble.name, []).append(end.skipped + end.rollbacks)
    print(f"\n(b) {len(names)} tasks, {seeds} seeds: final held-out loss over the healthy twin's, median and worst;")
    print(f"    and how many ended within {WITHIN:.0%} of it")
    print(f"    {'trouble':46}" + "".join(f"{arm.name:>24}" for arm in rescue.ARMS))
    for trouble in rescue.TROUBLES:
        cells = [_cell(ends[trouble.name, arm.name]) for arm in rescue.ARMS]
        print(f"    {trouble.name:46}" + "".join(f"{cell:>24}" for cell in cells))
    bad_batches = [t.name for t in rescue.TROUBLES if t.rate == 1.0]
    rescued = [e for name in bad_batches for e in ends[name, "Rescue"]]
    rates = [t.name for t in rescue.TROUBLES if t.rate != 1.0]
    answered = [e for name in rates for e, n in zip(ends[name, "Rescue"], acted[name], strict=True) if n]
    unseen = [e for name in rates for e, n in zip(ends[name, "Rescue"], acted[name], strict=True) if not n]
    print(
        f"    of the {len(answered) + len(unseen)} runs with a rate too high, {len(unseen)} showed nothing in loss and"
    )
    print("    gradients while it lasted, and were left alone")
    return _told(
        {
            f"bad batches: at least 95 % of rescued runs end within {WITHIN:.0%}": _within(rescued) >= 0.95,
            f"a rate too high that shows: at least 90 % end within {WITHIN:.0%}": _within(answered) >= 0.9,
        }
    )


def healthy_table(first: int, count: int, names: tuple[str, ...]) -> int:
    """Part (c); how many bars were missed."""
    outcomes = [rescue.watched(config) for config in rescue.healthy_configs(first, count)]
    for name, optimizer in product(names, rescue.OPTIMIZERS):
        outcomes.append(rescue.train(name, 5, optimizer, rescue.HEALTHY, rescue.ARMS[-1]))
    skipped, back = sum(o.skipped for o in outcomes), sum(o.rollbacks for o in outcomes)
    stopped = sum(o.stopped for o in outcomes)
    steps = sum(o.steps for o in outcomes)
    print(f"\n(c) {len(outcomes)} healthy runs of {steps:,} steps with Rescue, half of them with StopTraining too:")
    print(f"    {skipped} steps left out, {back} roll-backs, {stopped} stopped")
    return _told(
        {
            "no healthy run is put back or stopped": back + stopped == 0,
            f"at most {MOST_FALSE:.2%} of their steps are left out": skipped <= MOST_FALSE * steps,
        }
    )


def _cell(excesses: list[float]) -> str:
    middle, worst = float(np.median(excesses)), max(excesses)
    return f"{_percent(middle)} {_percent(worst)} {_within(excesses):4.0%}"


def _percent(share: float) -> str:
    return (
        "    lost" if share > 1e3 or np.isnan(share) else f"{100 * share:6.1f} %" if share < 100 else f"{share:6.0f} x"
    )


def _within(excesses: list[float]) -> float:
    return float(np.mean([e <= WITHIN for e in excesses])) if excesses else 1.0


def _told(bars: dict[str, bool]) -> int:
    for what, met in bars.items():
        print(f"    bar: {what}: {'met' if met else 'MISSED'}", flush=True)
    return sum(not met for met in bars.values())


def main(arguments: list[str] | None = None) -> int:
    """Train, act, print; 1 when a bar was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=12, help="healthy runs, and overfitted ones, of (a) and (c)")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of (b), each with the other optimizer")
    parser.add_argument("--held-out", action="store_true", help="tasks on which nothing was tuned")
    parser.add_argument("--part", choices="abc", action="append", help="only this part; can be repeated")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    logging.disable(logging.CRITICAL)  # what the monitors announce
    first = draws.OTHER_TASKS if options.held_out else 0
    names = rescue.HELD_OUT if options.held_out else rescue.TASKS
    parts: dict[str, Callable[[], int]] = {
        "a": lambda: stopping_table(first, options.runs),
        "b": lambda: rescue_table(names, options.seeds),
        "c": lambda: healthy_table(first, options.runs, names),
    }
    began, missed = time.perf_counter(), 0
    for part, run in parts.items():
        if not options.part or part in options.part:
            missed += run()
    print(f"\n{time.perf_counter() - began:.0f} s; " + (f"{missed} bars missed" if missed else "all bars met"))
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
