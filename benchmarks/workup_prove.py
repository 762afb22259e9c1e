"""What proving the advice is worth: ``python -m benchmarks.workup_prove [--runs 24] [--held-out]``.

Sick runs of the clinic whose fault a configuration can mend are diagnosed from their logs, and what is advised is
proved: short runs by the configuration's own keys, on other splits, weights and orders of the data. Then the run is
trained at its full length (a) as it was, (b) by the first advice that a key can express, (c) by the configuration
that the proof says to go on with. The final loss on held-out data, which neither log nor proof saw, tells what each is
worth.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.clinic import draws, frozen, tasks
from benchmarks.clinic.config import Config
from benchmarks.clinic.train import Loop, loop_of
from benchmarks.workup_fit import TUNING
from benchmarks.workup_patients import Case, cases, diagnosis
from lossdoctor.core.errors import UsageError
from lossdoctor.workup.proving import prove
from lossdoctor.workup.remedies import Keys, actions_of, changes

# What a configuration of the clinic can say of a run, and what all these tasks can do.
KEYS = (
    "lr",
    "weight_decay",
    "clip_norm",
    "schedule",
    "warmup",
    "momentum",
    "batch_size",
    "dropout",
    "width",
    "optimizer",
)
FAULTS = frozenset(
    """
    lr_diverging lr_nan lr_oscillating lr_low no_warmup momentum_high clipping_low batch_small over_regularized
    underfitting overfitting little_data decayed_early unscaled_inputs large_init
    """.split()
)
LENGTHS = 14  # full-length runs that a proof may cost
REPORTS = 12
BETTER = 0.05  # share of the loss from which a change is one


@dataclass(frozen=True)
class Proved:
    """Final held-out losses at the full length, infinite where the run was lost."""

    case: Case
    before: float
    first: float
    proved: float
    best: str
    helped: bool
    steps: int

    def gain(self, after: float) -> float:
        """By what share the loss is lower; 1 for a run saved, -1 for one lost."""
        if not math.isfinite(self.before) or not math.isfinite(after):
            return float(math.isfinite(after)) - float(math.isfinite(self.before))
        return (self.before - after) / max(abs(self.before), 1e-9)


def settings_of(config: Config) -> dict[str, Any]:
    """A run's configuration, as a user would write it down."""
    settings = {key: getattr(config, key) for key in KEYS}
    shape = tasks.SPECS[config.task].shape
    settings["dropout"] = shape.dropout if config.dropout is None else config.dropout
    settings["width"] = shape.width if config.width is None else config.width
    settings["warmup"] = config.warmup if "warmup" in config.schedule else 0.0
    if config.optimizer != "momentum":
        del settings["momentum"]
    return settings


def with_settings(config: Config, settings: dict[str, Any]) -> Config:
    """The run with other settings; the names of the clinic's optimizers and schedules are few."""
    changed = {key: settings[key] for key in settings if key in KEYS}
    if changed["optimizer"] == "sgd" and changed.get("momentum"):
        changed["optimizer"] = "momentum"
    if changed["warmup"] and "warmup" not in changed["schedule"]:
        changed["schedule"] = "warmup" if changed["schedule"] == "constant" else "warmup_cosine"
    changed["warmup"] = changed["warmup"] or config.warmup
    return config.change(**changed)


def training_of(config: Config) -> Callable[..., None]:
    """The run's training as a function for :func:`prove`."""

    def train(settings: dict[str, Any], steps: int, seed: int, report: Callable[[int, float], bool]) -> None:
        own = with_settings(config, settings).change(seed=config.seed + 7919 * (seed + 1), steps=steps, stop=None)
        loop = _silent(own)
        for _ in _stepped(loop):
            if (loop.step % max(1, steps // REPORTS) == 0 or loop.step == steps) and report(
                loop.step, loop.task.evaluate("val")
            ):
                return

    return train


def final_loss(config: Config) -> float:
    """The held-out loss at the end of a whole run."""
    torch.manual_seed(config.seed)
    loop = _silent(config)
    for _ in _stepped(loop):
        pass
    loss = loop.held_out_loss(loop.task.spec.loss_fn)
    return loss if math.isfinite(loss) else math.inf


def _silent(config: Config) -> Loop:
    return loop_of(config.change(val_every=-1, log_every=10**9, axis="step", log_accuracy=False))


def _stepped(loop: Loop) -> Any:
    loop.fault.ready(loop)
    batches = loop._batches()
    loop._note_truth = lambda: None  # type: ignore[method-assign]
    while loop.step < loop.config.end:
        loop.step += 1
        loop._one_step(*next(batches))
        yield loop.step


def proved(case: Case) -> Proved | None:
    """Diagnose, prove, and train at the full length; None where nothing that is advised can be tried."""
    config, found = case.config, diagnosis(case)
    settings = settings_of(config)
    tried = [c for a in actions_of(found) for c in changes(a, Keys(settings))]
    try:
        proof = prove(training_of(config), settings, found, LENGTHS * config.end, progress=False)
    except UsageError:
        return None
    before, first, last = (
        final_loss(with_settings(config, s)) for s in (settings, tried[0].of(settings), dict(proof.best_config))
    )
    return Proved(case, before, first, last, proof.best, bool(proof.helped), proof.steps)


def report(results: list[Proved]) -> None:
    """The table: what the first advice and the proof are worth."""
    print(
        f"\n{len(results)} sick runs of {len({r.case.task for r in results})} tasks; final held-out loss at full length"
    )
    print(f"    {'':34}{'better by 5 %':>15}{'worse by 5 %':>15}{'median gain':>15}{'mean gain':>12}")
    for name, gains in (
        ("by the first advice", [r.gain(r.first) for r in results]),
        ("by the proof's configuration", [r.gain(r.proved) for r in results]),
        ("... where the proof says it helps", [r.gain(r.proved) for r in results if r.helped]),
    ):
        kept = np.clip(gains, -1.0, 1.0)
        better, worse = int((kept >= BETTER).sum()), int((kept <= -BETTER).sum())
        middle, mean = np.median(kept), kept.mean()
        print(f"    {name:34}{f'{better} of {len(kept)}':>15}{f'{worse} of {len(kept)}':>15}{middle:15.0%}{mean:12.0%}")
    costs = np.array([r.steps / r.case.config.end for r in results])
    print(f"    a proof cost {costs.mean():.1f} full runs on average, {costs.max():.1f} at most")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workup_prove", description=__doc__)
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--held-out", action="store_true", help="of the parts on which nothing was fitted")
    parser.add_argument("--details", action="store_true", help="every run")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    parts = draws.HELD_OUT_PARTS if options.held_out else TUNING
    fit = [c for first in parts for c in cases(first, 10_000, 0) if c.config.fault in FAULTS and not c.config.pretrain]
    fit = [c for c in fit if tasks.SPECS[c.task].kind != "density"]  # shares of losses below zero mean nothing
    order = np.random.default_rng(0).permutation(len(fit))[: options.runs]
    results: list[Proved] = []
    started = time.time()
    for place in sorted(order):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            one = proved(fit[place])
        if one is not None:
            results.append(one)
            if options.details:
                case = f"{one.case.task} {one.case.config.fault}"
                gains = f"first {one.gain(one.first):6.0%}  proof {one.gain(one.proved):6.0%}"
                print(f"    {case:34} {one.before:8.4g}  {gains}  {one.best}", flush=True)
    report(results)
    if options.held_out:
        better, worse = (sum(w * r.gain(r.proved) >= BETTER for r in results) for w in (1, -1))
        table = f"held out: the configuration of a proof betters {better} and worsens {worse}"
        frozen.note(table, {"sick": len(results)})
    print(f"    {time.time() - started:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
