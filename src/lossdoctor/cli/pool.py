"""Judging many runs: in this process, or in several where there are enough runs to pay for starting them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lossdoctor.cli.io import Progress
from lossdoctor.core.history import TrainingHistory

if TYPE_CHECKING:
    from lossdoctor.core.context import RunContext
    from lossdoctor.core.diagnosis import Diagnosis
    from lossdoctor.core.options import Settings

# Below this many runs a second process costs more than it saves.
SERIAL_RUNS = 200
_MOST_JOBS = 16
_NOTHING = TrainingHistory()


def diagnose_all(
    histories: Sequence[TrainingHistory],
    context: RunContext | None,
    settings: Settings,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> list[Diagnosis]:
    """One diagnosis per history, in their order. ``jobs`` None chooses by the number of runs and processors."""
    if jobs is None:
        jobs = min(os.cpu_count() or 1, _MOST_JOBS) if len(histories) >= SERIAL_RUNS else 1
    jobs = min(jobs, len(histories))
    if jobs > 1:
        return _parallel(histories, context, settings, jobs, progress)
    return _serial(histories, context, settings, progress)


def _serial(
    histories: Sequence[TrainingHistory], context: RunContext | None, settings: Settings, progress: Progress | None
) -> list[Diagnosis]:
    from lossdoctor.engine import diagnose

    out = []
    for done, history in enumerate(histories):
        if progress is not None:
            progress(done, len(histories), history.path or history.name)
        out.append(diagnose(history, context=context, settings=settings))
    return out


def _parallel(
    histories: Sequence[TrainingHistory],
    context: RunContext | None,
    settings: Settings,
    jobs: int,
    progress: Progress | None,
) -> list[Diagnosis]:
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    size = max(1, min(50, len(histories) // (jobs * 4)))
    chunks = [list(histories[i : i + size]) for i in range(0, len(histories), size)]
    out: list[Diagnosis] = []
    try:
        # Spawned, not forked: a reader may have started threads, and a fork of those can hang.
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            for chunk, judged in zip(
                chunks, pool.map(_chunk, chunks, [context] * len(chunks), [settings] * len(chunks)), strict=True
            ):
                # The runs stay here: only findings travel back.
                out += [replace(d, history=h) for d, h in zip(judged, chunk, strict=True)]
                if progress is not None:
                    progress(len(out), len(histories), chunk[-1].path or chunk[-1].name)
    except BrokenProcessPool:  # a worker was killed (out of memory, say): do the rest here, one by one
        out += _serial(histories[len(out) :], context, settings, progress)
    return out


def _chunk(histories: list[TrainingHistory], context: RunContext | None, settings: Settings) -> list[Diagnosis]:
    return [replace(d, history=_NOTHING) for d in _serial(histories, context, settings, None)]
