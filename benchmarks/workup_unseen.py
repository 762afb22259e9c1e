"""Diagnoses by forests that have not seen the task: of what the engine learned, what holds for a task that is new.

The causes that a diagnosis gives are the prior of a work-up, and the engine's forests were fitted on the very runs of
the tuning parts. So that a work-up is not judged there by a prior that knows the answer, the forests are fitted anew
without each task, once, and kept in ``benchmarks/.cache/workup_unseen``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.advice import dataset, forests, real
from lossdoctor.engine import experience as engine
from lossdoctor.engine.forest import Forest

CACHE = Path(__file__).parent / ".cache" / "workup_unseen"


def prepare(tasks: Sequence[str]) -> None:
    """Fit what is not kept yet."""
    todo = [task for task in sorted(set(tasks)) if not _path(task).exists()]
    if not todo:
        return
    rows = [*dataset.rows(dataset.PARTS), *real.rows()]
    causes = forests.causes_of(rows)
    CACHE.mkdir(parents=True, exist_ok=True)
    for task in todo:
        others = [r for r in rows if r.task != task]
        fit = {
            "ill": forests.written(forests.fit_detector(others), ["ill"], inner=True),
            "causes": forests.written(forests.fit_causes(others, causes), causes),
            "outcomes": forests.written(forests.fit_adviser(others), forests.OUTCOMES, forests.SIGNS),
        }
        _path(task).write_text(json.dumps(fit))
        print(f"forests without {task}", file=sys.stderr, flush=True)


@contextmanager
def without(task: str) -> Iterator[None]:
    """In the body the engine knows nothing of a task."""
    data = json.loads(_path(task).read_text())
    shipped = engine.experience
    known = shipped()
    less = engine.Experience(
        ill=Forest.from_json(data["ill"]),
        causes=Forest.from_json(data["causes"]),
        outcomes=Forest.from_json(data["outcomes"]),
        confidence=known.confidence,
        alarm=known.alarm,
        fitted=known.fitted,
    )
    engine.experience = lambda: less  # type: ignore[assignment]
    try:
        yield
    finally:
        engine.experience = shipped


def _path(task: str) -> Path:
    return CACHE / f"{task}.json"
