"""A corpus of runs whose truth is known: ``python -m benchmarks.clinic.corpus [--healthy N] [--sick M] [--out DIR]``.

Configurations are drawn by index, so the corpus is the same everywhere and a stopped generation goes on where it was.
Every sick run has a healthy twin: the same configuration and seed without the fault, which must itself be verified.
With ``--out`` the logs are also written as JSON lines beside an index.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from benchmarks.clinic import faults, tasks
from benchmarks.clinic.config import SCHEDULES, Config
from benchmarks.clinic.faults.base import Fault
from benchmarks.clinic.train import Run, run
from benchmarks.clinic.truth import OUTCOME_CODES, Truth, assess, compare

CACHE = Path(__file__).parents[1] / ".cache" / "clinic"
HELD_OUT = 100_000  # runs from this index on are for measuring only: nothing may be tuned on them
# First index of a part -> how many healthy runs (among them the twins of its sick runs) and how many sick ones.
SIZES = {0: (270, 324), HELD_OUT: (120, 162)}


@cache
def healthy_config(index: int) -> Config:
    """The healthy configuration of an index: task in turn, all else drawn."""
    rng = np.random.default_rng([index, 7])
    name = tasks.names()[index % len(tasks.names())]
    spec = tasks.SPECS[name]
    language = spec.kind == "language"
    optimizer = str(rng.choice(["adam", "adamw", "momentum", "sgd"], p=[0.4, 0.25, 0.2, 0.15]))
    if language and optimizer == "sgd":
        optimizer = "adamw"  # plain SGD needs many more steps for text than a run here has
    small_batches = [0.25, 0.5, 1.0, 2.0] if not language else [1.0, 2.0]
    batch_size = int(np.clip(spec.batch_size * rng.choice(small_batches), 4, 256))
    schedule = str(rng.choice(SCHEDULES, p=[0.3, 0.1, 0.12, 0.18, 0.14, 0.08, 0.08]))
    steps = int(spec.steps * rng.uniform(1.0, 1.3 if language else 2.2))
    cut = int(steps * rng.uniform(0.75, 1.0)) if rng.random() < 0.4 else None
    rate = tasks.learning_rate(name, optimizer, batch_size) * float(rng.choice([0.5, 1.0, 1.0]))
    config = Config(
        name,
        seed=index,
        optimizer=optimizer,
        lr=rate,
        weight_decay=spec.weight_decay,
        clip_norm=1.0 if rng.random() < (0.5 if language else 0.1) else None,
        schedule=schedule,
        warmup=float(rng.choice([0.03, 0.1])),
        steps=steps,
        stop=cut,
        batch_size=batch_size,
        log_lr=bool(rng.random() < 0.65),
        log_grad_norm=bool(rng.random() < 0.4),
        log_accuracy=bool(rng.random() < 0.3),
    )
    return _with_variant(_with_logger(config, rng), rng)


def _with_logger(config: Config, rng: Generator) -> Config:
    """How the run is written down: dense or thin, per epoch where there are enough epochs."""
    per_epoch = max(1, tasks.make(config.task, 0, batch_size=config.batch_size).steps_per_epoch)
    kinds = [(1, False), (10, False), (10, True), (50, True)]
    if config.end / per_epoch >= 15:
        kinds += [(0, False), (0, True), (0, True)]
    every, mean = kinds[int(rng.integers(len(kinds)))]
    if every == 0:
        return config.change(log_every=0, log_mean=mean, val_every=0, axis=str(rng.choice(["epoch", "step"])))
    if rng.random() < 0.08:
        return config.change(log_every=every, log_mean=mean, val_every=-1)
    evaluations = int(rng.choice([12, 25, 60]))
    if 15 <= config.end / per_epoch <= 120 and rng.random() < 0.4:
        return config.change(log_every=every, log_mean=mean, val_every=0)
    return config.change(log_every=every, log_mean=mean, val_every=max(1, config.end // evaluations))


def _with_variant(config: Config, rng: Generator) -> Config:
    """Healthy runs that look odd: a tiny validation set, or a fine-tuning that starts low and stays level."""
    draw = rng.random()
    if draw < 0.08 and config.val_every >= 0:
        return config.change(val_size=int(rng.choice([8, 16, 32])), variant="tiny_val")
    if draw < 0.14:
        schedule = "constant" if config.schedule == "restarts" else config.schedule
        return config.change(pretrain=config.steps, lr=config.lr * 0.1, schedule=schedule, variant="finetune")
    return config


def sick_config(index: int, *, ready: Callable[[Config], bool] | None = None) -> tuple[Config, Config] | None:
    """The sick configuration of an index with its verified twin, or None.

    Twins that are not cached are trained, as the choice rests on them; where ``ready`` says that a candidate is not
    ready to be looked at, None is returned instead.
    """
    for sick, twin in candidates(index):
        if ready is not None and not ready(twin):
            return None
        if not load(twin)["truth"]["flaw"]:
            return sick, twin
    return None


def fault_of(index: int) -> Fault:
    """The fault of a sick run: all in turn."""
    first = HELD_OUT if index >= HELD_OUT else 0
    return faults.ALL[(index - first) % len(faults.ALL)]


def candidates(index: int) -> Iterator[tuple[Config, Config]]:
    """What the sick run of an index may be, with its twin: the first whose twin turns out healthy is taken."""
    rng = np.random.default_rng([index, 13])
    first = HELD_OUT if index >= HELD_OUT else 0
    fault = fault_of(index)
    for k in rng.permutation(SIZES[first][0])[:60]:
        twin = healthy_config(first + int(k))
        if fault.fits(twin):
            yield fault.configure(twin, deepcopy(rng)), twin


def is_cached(config: Config) -> bool:
    """Whether a run need not be trained any more."""
    return path_of(config).exists()


def _is_quick(config: Config) -> bool:
    return is_cached(config) or tasks.SPECS[config.task].kind != "language"


def path_of(config: Config) -> Path:
    """Where a run is cached."""
    return CACHE / f"{config.key()}.json"


def load(config: Config) -> dict[str, Any]:
    """A run from the cache, trained first when it is not there: ``config``, ``rows``, ``onset``, ``truth``, …"""
    path = path_of(config)
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        found["truth"] = asdict(assess(restored(found)))  # the criteria may have changed since
        return found
    made = run(config)
    entry = _entry(made, assess(made))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(entry))
    part.replace(path)
    return entry


def _entry(made: Run, truth: Truth) -> dict[str, Any]:
    return {
        "config": asdict(made.config),
        "key": made.config.key(),
        "rows": made.rows,
        "held_out": made.truth,
        "onset": made.onset,
        "initial": made.initial,
        "steps_per_epoch": made.steps_per_epoch,
        "classes": made.classes,
        "truth": asdict(truth),
    }


def restored(entry: dict[str, Any]) -> Run:
    """The run of a cache entry."""
    fields = dict(entry["config"])
    fields["params"] = tuple((k, v) for k, v in fields["params"])
    return Run(
        Config(**fields),
        entry["rows"],
        entry["held_out"],
        entry["onset"],
        entry["initial"],
        entry["steps_per_epoch"],
        entry["classes"],
    )


def index_row(entry: dict[str, Any], twin: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the index says of a run: label, configuration, onset, final and best validation, and what is true."""
    vals = [row["val_loss"] for row in entry["rows"] if "val_loss" in row]
    config = entry["config"]
    row: dict[str, Any] = {
        "file": f"{entry['key']}.jsonl",
        "task": config["task"],
        "fault": config["fault"],
        "variant": config["variant"],
        "seed": config["seed"],
        "onset_step": entry["onset"] if twin is not None else None,
        "final_val": vals[-1] if vals else None,
        "best_val": min((v for v in vals if math.isfinite(v)), default=None),
        "verified": not entry["truth"]["flaw"],
        **entry["truth"],
    }
    if twin is not None:
        row |= {"twin": f"{twin['key']}.jsonl", **compare(restored(entry), restored(twin))}
        row["expected"] = sorted(faults.get(config["fault"]).codes | OUTCOME_CODES.get(str(row["outcome"]), set()))
        row["expected_alarm"] = faults.get(config["fault"]).alarm and row["visible"]
        if config["fault"] == "overfitting":
            row["onset_step"] = row["best_step"]
    row["classes"] = entry["classes"]
    row["steps_per_epoch"] = entry["steps_per_epoch"]
    row["config"] = config
    return row


def generate(healthy: int, sick: int, first: int = 0) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Entries with their twins (None for healthy ones), healthy and sick in turn, from index ``first`` on.

    What trains quickly comes first and the rest after it, so that a stopped generation has most of the faults.
    """
    later: list[tuple[bool, int]] = []
    for i in range(max(healthy, sick)):
        if i < healthy:
            if _is_quick(healthy_config(first + i)):
                yield load(healthy_config(first + i)), None
            else:
                later.append((False, first + i))
        if i < sick:
            pair = sick_config(first + i, ready=_is_quick)
            if pair is None:
                later.append((True, first + i))
            else:
                yield load(pair[0]), load(pair[1])
    for is_sick, index in later:
        if not is_sick:
            yield load(healthy_config(index)), None
        elif (pair := sick_config(index)) is not None:
            yield load(pair[0]), load(pair[1])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clinic.corpus", description=__doc__)
    parser.add_argument("--healthy", type=int, help="how many; all of the part by default")
    parser.add_argument("--sick", type=int, help="how many; all of the part by default")
    parser.add_argument("--held-out", action="store_true", help="the runs that nothing may be tuned on")
    parser.add_argument("--out", type=Path, help="folder for the logs as JSON lines and index.jsonl")
    options = parser.parse_args(arguments)
    started = time.time()
    first = HELD_OUT if options.held_out else 0
    healthy, sick = (given or size for given, size in zip((options.healthy, options.sick), SIZES[first], strict=True))
    runs = generate(healthy, sick, first)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "index.jsonl").write_text("")
    for count, (entry, twin) in enumerate(runs, start=1):
        if options.out:
            lines = [json.dumps(row) for row in entry["rows"]]
            (options.out / f"{entry['key']}.jsonl").write_text("\n".join(lines) + "\n")
            with (options.out / "index.jsonl").open("a") as index:
                index.write(json.dumps(index_row(entry, twin)) + "\n")
        if count % 10 == 0:
            print(f"{count} runs in {time.time() - started:.0f} s", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
