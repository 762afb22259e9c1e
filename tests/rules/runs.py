"""Real runs for tests of what must hold for every rule: trained by the clinic, public logs, and drawn families."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lossdoctor
from lossdoctor.core.context import RunContext
from lossdoctor.core.curve import Curve
from lossdoctor.core.errors import LossdoctorError
from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes

DATA = Path(__file__).parents[1] / "data"
REAL = DATA / "real"


@dataclass(frozen=True)
class Trained:
    """A run of the clinic with what is true of it. ``fault`` is ``"healthy"`` where there is none."""

    name: str
    fault: str
    task: str
    variant: str
    schedule: str
    onset: int | None
    history: TrainingHistory


@cache
def trained() -> tuple[Trained, ...]:
    """The 240 healthy and 80 sick runs of ``tests/data/clinic``."""
    text = lzma.decompress((DATA / "clinic" / "runs.jsonl.xz").read_bytes()).decode()
    return tuple(_trained(i, json.loads(line)) for i, line in enumerate(text.splitlines()))


def _trained(index: int, row: dict[str, Any]) -> Trained:
    curves = {n: Curve.make(_steps(c["steps"]), np.array(c["values"])) for n, c in row["curves"].items()}
    name = f"{index:03d} {row['task']} {row['fault']}"
    history = TrainingHistory(curves, name=name, step_unit=row["step_unit"], context=RunContext(**row["context"]))
    return Trained(name, row["fault"], row["task"], row["variant"], row["schedule"], row.get("onset"), history)


def _steps(written: dict[str, int] | list[int]) -> NDArray[np.int64]:
    if isinstance(written, dict):
        return written["first"] + written["every"] * np.arange(written["n"], dtype=np.int64)
    return np.array(written, dtype=np.int64)


def healthy() -> list[Trained]:
    """The healthy ones, in the order of the clinic."""
    return [r for r in trained() if r.fault == "healthy"]


def sick() -> list[Trained]:
    """Those with a fault that did visible harm."""
    return [r for r in trained() if r.fault != "healthy"]


def real_files() -> Iterator[tuple[str, Path]]:
    """The public logs as (``"textlog/24"``, path)."""
    for path in sorted(REAL.glob("*/*/*")):
        if path.is_file():
            yield f"{path.parts[-3]}/{path.parts[-2]}", path


@cache
def real() -> tuple[tuple[str, TrainingHistory], ...]:
    """Every run of the public logs that can be read."""
    found = []
    for name, path in real_files():
        try:
            histories = lossdoctor.read(path)
        except LossdoctorError:  # a log without a single curve
            continue
        found += [(f"{name}#{i}" if i else name, h) for i, h in enumerate(histories)]
    return tuple(found)


def drawn(per_family: int, seed: int = 11) -> list[tuple[str, TrainingHistory]]:
    """So many runs of every family of :mod:`tests.rules.shapes`, healthy and sick."""
    return [
        (f"{family.__name__} {k}", shapes.history(family(np.random.default_rng([seed, k]))))
        for family in (*shapes.HEALTHY, *shapes.SICK)
        for k in range(per_family)
    ]
