"""Where an experiment goes: a picture, a film, a page, or JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lossdoctor.cli.io import choose, progress, remark, replacing, write_file
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.errors import UsageError
from lossdoctor.lab.result import Experiment, Table

PICTURES = (".png", ".svg", ".pdf")
FILMS = (".gif", ".mp4")
OUTPUTS = (*PICTURES, *FILMS, ".html")


def suffix_of(path: str, allowed: Sequence[str]) -> str:
    """The suffix of an output file; raises UsageError on one that is not allowed, before anything is computed."""
    suffix = choose("output suffix", Path(path).suffix or "(none)", allowed)
    if suffix == ".mp4":
        from shutil import which

        from lossdoctor.render.lab.film import NO_FFMPEG

        if which("ffmpeg") is None:
            raise UsageError(NO_FFMPEG)
    return suffix


def write(
    path: str,
    suffix: str,
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
    if suffix in PICTURES:
        from lossdoctor.render.canvas import save_figure
        from lossdoctor.render.lab.pictures import experiment_figure

        with replacing(path) as scratch:
            save_figure(experiment_figure(found, width=width, style=style, view=view), scratch, dpi=dpi)
    elif suffix in FILMS:
        _film(path, found, style=style, width=width or 160.0, frames=frames, fps=fps)
    else:
        from lossdoctor.render.lab.page import page
        from lossdoctor.render.lab.scene import scene_of

        write_file(path, page(found, scene_of(found), diagnoses))
    remark(f"wrote {path}")


def _film(path: str, found: Experiment, **looks: Any) -> None:
    from lossdoctor.render.lab.film import save_film
    from lossdoctor.render.lab.scene import scene_of

    scene = scene_of(found)
    if scene is None:
        raise UsageError(f"{found.name} has no descent and no run to film; take .png or .html")
    with progress("filming") as told, replacing(path) as scratch:
        step = None if told is None else (lambda done, total: told(done, total, "frames"))
        save_film(scene, scratch, progress=step, **looks)


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
