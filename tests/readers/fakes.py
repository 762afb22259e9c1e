"""A tiny log format for the tests of searching and joining: it can pretend to be any other.

The first line is ``FAKE <format> [row|epoch|step]``; the others are ``name step value [time]``. A line ``--`` begins
another run in the same file. Other first words make the reader fail in the ways that readers can fail.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lossdoctor.core.context import RunContext
from lossdoctor.core.curve import Curve
from lossdoctor.core.errors import BrokenFileError, MissingDependencyError, NotRecognizedError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers.base import Reader, Source

Rows = dict[str, list[tuple[int, float, float]]]


class FakeReader(Reader):
    name = "fake"
    describes = "written by tests"

    def sniff(self, source: Source) -> int:
        return 50 if source.head.startswith((b"FAKE", b"BROKEN", b"MISSING", b"CRASH", b"NOT")) else 0

    def read(self, source: Source) -> list[TrainingHistory]:
        text = source.read_bytes().decode()
        if text.startswith("BROKEN"):
            raise BrokenFileError(source.path, "a cell holds 'x'", where="line 12", hint="mend it")
        if text.startswith("MISSING"):
            raise MissingDependencyError(source.path, "Parquet", "pyarrow", "fast")
        if text.startswith("CRASH"):
            raise ZeroDivisionError("division by zero")
        if text.startswith("NOT"):
            raise NotRecognizedError(source.path, "not mine after all")
        first, *lines = text.splitlines()
        _, format, *unit = first.split()
        runs: list[Rows] = [{}]
        classes = None
        for line in lines:
            if line == "--":
                runs.append({})
                continue
            name, step, value, *time = line.split()
            if name == "@classes":
                classes = int(value)
                continue
            runs[-1].setdefault(name, []).append((int(step), float(value), float(time[0]) if time else -1.0))
        return [
            TrainingHistory(
                {n: _curve(rows) for n, rows in run.items()},
                format=format,
                step_unit=unit[0] if unit else "step",
                context=RunContext(classes=classes),
                notes=[] if run else ["it holds no curves"],
            )
            for run in runs
        ]


def _curve(rows: list[tuple[int, float, float]]) -> Curve:
    timed = all(t >= 0 for _, _, t in rows)
    return Curve.make([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows] if timed else None)


class FolderReader(FakeReader):
    """Claims folders that hold a file ``CLAIM``."""

    name = "claimer"

    def sniff(self, source: Source) -> int:  # noqa: ARG002
        return 0

    def claims(self, folder: Path, names: frozenset[str]) -> bool:  # noqa: ARG002
        return "CLAIM" in names

    def read_folder(self, folder: Path, shown: str) -> list[TrainingHistory]:
        if (folder / "CLAIM").read_text() == "CRASH":
            raise KeyError("run")
        curve = {"loss": (range(10), falling(10))}
        return [TrainingHistory(curve, path=f"{shown}/{k}", name=f"claimed-{k}") for k in (1, 2)]


READERS = (FakeReader(), FolderReader())


def falling(n: int, start: float = 2.0, rate: float = 0.9) -> list[float]:
    """A loss that falls."""
    return [start * rate**i + 0.1 for i in range(n)]


def fake(
    path: Path,
    curves: dict[str, Iterable[float]] | None = None,
    *,
    format: str = "fake",
    first: int = 0,
    every: int = 1,
    time: float | None = None,
    unit: str = "step",
) -> Path:
    """Write a fake log: name -> values, at steps first, first + every, …; wall times one second apart from ``time``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"FAKE {format} {unit}"]
    for name, values in (curves or {}).items():
        for i, value in enumerate(values):
            stamp = "" if time is None else f" {time + i}"
            lines.append(f"{name} {first + i * every} {float(value)!r}{stamp}")
    path.write_text("\n".join(lines) + "\n")
    return path
