"""MLflow's file store: ``mlruns/<experiment>/<run>/`` with ``meta.yaml``, ``metrics/``, ``params/`` and ``tags/``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lossdoctor.readers._context import flat_yaml
from lossdoctor.readers._lines import text
from lossdoctor.readers._mlflow_runs import Points, Run

MAX_METRIC_BYTES = 1 << 30
_MAX_DEPTH = 12


def is_run(folder: Path, names: frozenset[str]) -> bool:
    """Whether a folder is one run."""
    return "meta.yaml" in names and "metrics" in names and "run_id" in flat_yaml(folder / "meta.yaml")


def is_experiment(folder: Path, names: frozenset[str]) -> bool:
    """Whether a folder is one experiment."""
    if "meta.yaml" not in names or "metrics" in names:
        return False
    meta = flat_yaml(folder / "meta.yaml")
    return "experiment_id" in meta and "artifact_location" in meta


def is_store(folder: Path, names: frozenset[str]) -> bool:
    """Whether a folder is a whole store: it holds an experiment's folder, which is named by a number."""
    numbered = [n for n in names if n.isdigit()][:20]
    return any(is_experiment(folder / n, frozenset(_listing(folder / n))) for n in numbered)


def _listing(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def runs_in(folder: Path, shown: str) -> Iterator[Run]:
    """The runs of a store, an experiment or a single run's folder; deleted ones are left out."""
    names = frozenset(_listing(folder))
    if is_run(folder, names):
        yield read_run(folder, shown, flat_yaml(folder.parent / "meta.yaml").get("name", ""))
        return
    if is_experiment(folder, names):
        experiment = flat_yaml(folder / "meta.yaml").get("name", "")
        for name in sorted(names):
            inner = folder / name
            if not inner.is_dir() or not is_run(inner, frozenset(_listing(inner))):
                continue
            if flat_yaml(inner / "meta.yaml").get("lifecycle_stage") != "deleted":
                yield read_run(inner, f"{shown}/{name}", experiment)
        return
    for name in sorted(names):
        inner = folder / name
        if not name.startswith(".") and inner.is_dir() and is_experiment(inner, frozenset(_listing(inner))):
            yield from runs_in(inner, f"{shown}/{name}")


def read_run(folder: Path, shown: str, experiment: str) -> Run:
    """One run's folder."""
    meta = flat_yaml(folder / "meta.yaml")
    tag = _short(folder / "tags" / "mlflow.runName")
    statuses = {"3": "FINISHED", "4": "FAILED", "5": "KILLED"}
    status = meta.get("status", "")
    run = Run(shown, meta.get("run_name") or tag, statuses.get(status, status), experiment)
    for name, path in _files(folder / "params"):
        run.params[name] = _short(path)
    for name, path in _files(folder / "metrics"):
        points, odd = _points(path)
        if odd:
            run.notes.append(f"metrics/{name}: {odd}")
        if len(points.values):
            run.metrics[name] = points
    return run


def _files(folder: Path, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Path]]:
    """Files below a folder by relative name: a slash in a metric's name makes a folder. Links are not followed."""
    try:
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_file(follow_symlinks=False):
            yield prefix + entry.name, Path(entry.path)
        elif entry.is_dir(follow_symlinks=False) and depth < _MAX_DEPTH:
            yield from _files(Path(entry.path), f"{prefix}{entry.name}/", depth + 1)


def _short(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return text(stream.read(8192)).strip()
    except OSError:
        return ""


def _points(path: Path) -> tuple[Points, str]:
    """The points of one metric file (``timestamp value step``), and what was odd about it."""
    points, odd, first = Points(), 0, 0
    try:
        with path.open("rb") as stream:
            size, at = 0, 0
            for line in iter(lambda: stream.readline(4096), b""):
                at += 1
                size += len(line)
                if size > MAX_METRIC_BYTES:
                    return points, f"only the first {MAX_METRIC_BYTES >> 20} MiB were read"
                cells = line.split()
                if not cells:
                    continue
                try:
                    time, value = float(cells[0]), float(cells[1])
                    points.add(time, value, float(cells[2]) if len(cells) > 2 else 0.0)
                except (ValueError, IndexError):
                    odd += 1
                    first = first or at
    except OSError as error:
        return points, f"cannot be read ({error.strerror or type(error).__name__})"
    return (
        points,
        f"{odd:,} lines are not 'timestamp value step' and were skipped (first: line {first:,})" if odd else "",
    )
