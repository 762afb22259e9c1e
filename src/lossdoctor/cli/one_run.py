"""What ``plot``, ``export`` and ``compare`` share: reading what they were pointed at, one run or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lossdoctor.cli.io import pairs, progress, remark
from lossdoctor.core.errors import UsageError, nearest

if TYPE_CHECKING:
    from lossdoctor.core.history import TrainingHistory


def read_runs(paths: Sequence[str], metric: Sequence[str] | None) -> list[TrainingHistory]:
    """The runs at some paths.

    Raises:
        UsageError: there is none, or ``--metric`` does not fit.
    """
    from lossdoctor.cli.settings import check_roles
    from lossdoctor.readers import scan

    metrics = pairs(metric or (), "--metric", "ROLE=NAME")
    check_roles(metrics)
    with progress("reading") as told:
        found = scan(paths, metrics=metrics, context=None, progress=told)
    if not found.histories:
        if found.errors:
            raise UsageError("; ".join(str(e) for e in found.errors))
        raise UsageError(f"no run found in {', '.join(paths)}; `lossdoctor formats` lists what can be read")
    for error in found.errors:
        remark(str(error))
    return list(found.histories)


def read_one(path: str, run: str | None, metric: Sequence[str] | None) -> TrainingHistory:
    """The one run at a path, chosen by ``--run`` (its name, or its number from 1) where there are several."""
    histories = read_runs([path], metric)
    if len(histories) == 1 and run is None:
        return histories[0]
    labels = [h.name or h.path for h in histories]
    listed = ", ".join(f"{i} {label}" for i, label in enumerate(labels[:20], 1))
    listed += f" and {len(labels) - 20:,} more" if len(labels) > 20 else ""
    if run is None:
        raise UsageError(f"{path} holds {len(histories):,} runs; choose with --run NAME or --run NUMBER from {listed}")
    if run.isdecimal() and 1 <= int(run) <= len(histories):
        return histories[int(run) - 1]
    for history in histories:
        if run in (history.name, history.path):
            return history
    raise UsageError(f"{path} has no run {run!r}{nearest(run, labels)}; it has {listed}")
