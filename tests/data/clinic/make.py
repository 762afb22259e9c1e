"""Writes runs.jsonl.xz: real trainings of the clinic, healthy ones and sick ones, for tests that need many true runs.

``python -m tests.data.clinic.make``, from the root of the repository. What is not in the clinic's cache is trained
first, which takes about an hour. Only the half that thresholds may be tuned on; values are rounded to five digits,
as loggers print them.
"""

from __future__ import annotations

import json
import lzma
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.clinic import corpus

from lossdoctor.core.history import TrainingHistory

TARGET = Path(__file__).with_name("runs.jsonl.xz")
HEALTHY = 240
SICK_EACH = 3  # of every fault, where its effect is visible
_FACTS = ("classes", "planned_steps", "steps_per_epoch", "batch_size", "clip_norm", "optimizer")


def line(history: TrainingHistory, **more: Any) -> str:
    """One run as a line: steps of evenly logged curves as [first, interval, count], values to five digits."""
    curves = {}
    for name, curve in history.curves.items():
        steps = [int(s) for s in curve.steps]
        gap = steps[1] - steps[0] if len(steps) > 1 else 1
        even = steps == list(range(steps[0], steps[0] + gap * len(steps), gap)) if gap else False
        curves[name] = {
            "steps": {"first": steps[0], "every": gap, "n": len(steps)} if even else steps,
            "values": [float(f"{v:.5g}") for v in curve.values],
        }
    facts = {k: v for k in _FACTS if (v := getattr(history.context, k)) is not None}
    return json.dumps({**more, "step_unit": history.step_unit, "context": facts, "curves": curves})


def lines() -> Iterator[str]:
    """The healthy runs in the order of the clinic, then the sick ones."""
    count = 0
    for index in range(corpus.SIZES[0][0]):
        entry = corpus.load(corpus.healthy_config(index))
        if entry["truth"]["flaw"] or count >= HEALTHY:
            continue
        count += 1
        c = entry["config"]
        history = corpus.restored(entry).history
        yield line(history, fault="healthy", task=c["task"], variant=c["variant"], schedule=c["schedule"])
    taken: Counter[str] = Counter()
    for index in range(corpus.SIZES[0][1]):
        fault = corpus.fault_of(index).name
        pair = corpus.sick_config(index) if taken[fault] < SICK_EACH else None
        if pair is None:
            continue
        entry = corpus.load(pair[0])
        if not corpus.index_row(entry, corpus.load(pair[1]))["visible"]:
            continue
        taken[fault] += 1
        c = entry["config"]
        yield line(
            corpus.restored(entry).history,
            fault=fault, task=c["task"], variant="", schedule=c["schedule"], onset=entry["onset"],
        )  # fmt: skip


if __name__ == "__main__":
    text = "\n".join(lines()) + "\n"
    TARGET.write_bytes(lzma.compress(text.encode(), preset=9))
    print(f"{text.count(chr(10))} runs, {TARGET.stat().st_size} bytes")
