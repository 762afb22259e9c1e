"""One door to all pictures of the lab: anything it computes, as a figure, a picture, a film or a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.result import Experiment, Field, Panel
from lossdoctor.render.lab.scene import Scene, descent_scene, scene_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lossdoctor.core.diagnosis import Diagnosis
    from lossdoctor.render.lab.film import Progress

PICTURES = (".png", ".svg", ".pdf")
FILMS = (".gif", ".mp4")
OUTPUTS = (*PICTURES, *FILMS, ".html")


def as_experiment(thing: Any) -> Experiment:
    """Anything the lab computes with its pictures: a Panel or several, a Field, an Experiment, a Descent, a map of
    basins, a Landscape, a Profile, or a Scene.

    Raises:
        UsageError: it has no picture.
    """
    if isinstance(thing, Experiment):
        return thing
    if isinstance(thing, Panel):
        return Experiment("panel", "", "", (thing,))
    if isinstance(thing, Field):
        return Experiment("field", "", "", (Panel("", "x", "y", field=thing),))
    if isinstance(thing, Scene):
        return Experiment("scene", thing.title, "", thing.panels())
    if hasattr(thing, "path") and hasattr(thing, "surface"):  # a Descent, named without importing torch
        scene = descent_scene({repr(thing): thing})
        return Experiment("descent", scene.title, "", scene.panels(), descents={thing.settings.spec.name: thing})
    if callable(getattr(thing, "panel", None)):
        return as_experiment(thing.panel())
    if callable(getattr(thing, "field", None)):
        return Experiment("map", "", "", (Panel("", *_axes(thing), field=thing.field()),))
    if isinstance(thing, Sequence) and thing and not isinstance(thing, str):
        return Experiment("panels", "", "", tuple(p for one in thing for p in as_experiment(one).panels))
    raise UsageError(
        f"{type(thing).__name__} has no picture; draw a panel, an experiment, a descent, a map or a landscape"
    )


def _axes(thing: Any) -> tuple[str, str]:
    first, second = getattr(getattr(thing, "surface", None), "axes", ("x", "y"))[:2]
    return first, second


def draw(thing: Any, *, title: str | None = None, **looks: Any) -> Figure:
    """Anything the lab computes as a Matplotlib figure.

    Args:
        thing: see :func:`as_experiment`.
        title: above all panels; by default its own.
        looks: ``width`` (mm), ``style`` (``"light"``, ``"dark"``), ``view`` (``"plane"``, ``"space"``), see
            :func:`lossdoctor.render.lab.pictures.figure`.

    >>> import numpy as np
    >>> from lossdoctor.lab.result import Line, Panel
    >>> len(draw(Panel("A line", "x", "y", (Line("a", np.arange(3), np.arange(3)),))).axes)
    1
    """
    from lossdoctor.render.lab.pictures import figure

    found = as_experiment(thing)
    return figure(found.panels, title=found.title if title is None else title, **looks)


def save(
    thing: Any,
    path: str | Path,
    *,
    diagnoses: Mapping[str, Diagnosis] | None = None,
    style: str = "light",
    view: str = "plane",
    width: float | None = None,
    dpi: int = 200,
    frames: int = 120,
    fps: int = 15,
    progress: Progress | None = None,
) -> Path:
    """Write anything the lab computes: a picture (``.png``, ``.svg``, ``.pdf``), a film (``.gif``, ``.mp4``) or a page
    that plays (``.html``), by the suffix of ``path``.

    Args:
        thing: see :func:`as_experiment`; a film needs descents or runs, or a Scene.
        diagnoses: label -> what was found in that run; told on a page.
        style, view, width, dpi: of a picture; style, width, frames, fps: of a film. A page follows its reader's theme.
        progress: called with (frames done, all of them).

    Raises:
        UsageError: another suffix, nothing to film, no ffmpeg for an MP4, or the file cannot be written.
    """
    target, suffix = Path(path), Path(path).suffix.lower()
    if suffix not in OUTPUTS:
        raise UsageError(f"cannot write {target.name!r}: the suffix must be one of {', '.join(OUTPUTS)}")
    found = as_experiment(thing)
    if suffix in PICTURES:
        from lossdoctor.render.canvas import save_figure
        from lossdoctor.render.lab.pictures import experiment_figure

        return save_figure(experiment_figure(found, width=width, style=style, view=view), target, dpi=dpi)
    scene = thing if isinstance(thing, Scene) else scene_of(found)
    if suffix in FILMS:
        from lossdoctor.render.lab.film import save_film

        if scene is None:
            raise UsageError(f"{found.name} has no descent and no run to film; take .png or .html")
        looks: dict[str, Any] = {"frames": frames, "fps": fps, "style": style, "progress": progress}
        return save_film(scene, target, width=width or 160.0, **looks)
    from lossdoctor.render.lab.page import page

    try:
        target.write_text(page(found, scene, diagnoses), "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror or error}; choose another place") from None
    return target
