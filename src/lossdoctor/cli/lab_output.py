"""Where an experiment goes: a picture, a film, a page, or JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lossdoctor.cli.io import choose, progress, remark, replacing
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.errors import UsageError
from lossdoctor.lab.result import Experiment, Table
from lossdoctor.render.lab.show import save


def check_suffix(path: str, allowed: Sequence[str]) -> None:
    """Raise UsageError on an output file whose suffix is not allowed, before anything is computed."""
    suffix = choose("output suffix", Path(path).suffix or "(none)", allowed)
    if suffix == ".mp4":
        from shutil import which

        from lossdoctor.render.lab.film import NO_FFMPEG

        if which("ffmpeg") is None:
            raise UsageError(NO_FFMPEG)


def write(
    path: str,
    found: Experiment,
    diagnoses: Mapping[str, Diagnosis],
    *,
    style: str = "light",
    view: str = "plane",
    width: float | None = None,
    dpi: int = 200,
    frames: int = 120,
    fps: int = 15,
) -> None:
    """Write one output, whole or not at all."""
    looks: dict[str, Any] = {"style": style, "view": view, "width": width, "dpi": dpi, "frames": frames, "fps": fps}
    with progress("filming") as told, replacing(path) as scratch:
        step = None if told is None else (lambda done, total: told(done, total, "frames"))
        save(found, scratch, diagnoses=diagnoses, progress=step, **looks)
    remark(f"wrote {path}")


def as_dict(kind: str, found: Experiment, diagnoses: Mapping[str, Diagnosis]) -> dict[str, Any]:
    """What was found, as plain values: the fields of docs/lab.md."""
    return {
        "schema_version": 1,
        "kind": kind,
        "name": found.name,
        "title": found.title,
        "text": found.text,
        "numbers": dict(found.numbers),
        "tables": [_table(t) for t in found.tables],
        "states": {label: list(d.states) for label, d in found.descents.items()},
        "runs": {label: d.as_dict() for label, d in diagnoses.items()},
        "sources": list(found.sources),
    }


def _table(table: Table) -> dict[str, Any]:
    return {
        "title": table.title,
        "columns": list(table.columns),
        "rows": [list(row) for row in table.rows],
        "note": table.note,
    }
