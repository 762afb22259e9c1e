"""A corpus of runs whose truth is known: ``python -m benchmarks.clinic.corpus [--part N] [--healthy N] [--sick M]``.

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
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.clinic import faults, tasks
from benchmarks.clinic.config import Config
from benchmarks.clinic.draws import (
    HELD_OUT,
    HELD_OUT_PARTS,
    MORE_FAULTS,
    MORE_TASKS,
    OTHER_TASKS,
    SIZES,
    candidates,
    fault_of,
    fully_logged,
    healthy_config,
)
from benchmarks.clinic.train import Run, run
from benchmarks.clinic.truth import OUTCOME_CODES, Truth, assess, compare

__all__ = [
    "CACHE", "HELD_OUT", "HELD_OUT_PARTS", "MORE_FAULTS", "MORE_TASKS", "OTHER_TASKS", "SIZES", "candidates",
    "fault_of", "fully_logged", "generate", "healthy_config", "index_row", "is_cached", "load", "path_of", "restored",
    "sick_config",
]  # fmt: skip

CACHE = Path(__file__).parents[1] / ".cache" / "clinic"


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


# Faults that set in when the run begins to get worse.
_FROM_ITS_BEST = ("overfitting", "capacity_large", "little_data")


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
        if config["fault"] in _FROM_ITS_BEST:
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
    parser.add_argument("--part", type=int, default=0, choices=tuple(SIZES), help="first index of the part")
    parser.add_argument("--out", type=Path, help="folder for the logs as JSON lines and index.jsonl")
    options = parser.parse_args(arguments)
    started = time.time()
    first = options.part
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
