"""What a film or a page of descents shows: the ground, and each start's path and loss, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from lossdoctor.core.errors import UsageError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.lab.result import Array, Experiment, Line, Panel
from lossdoctor.render.words import fitted

if TYPE_CHECKING:
    from lossdoctor.lab.descent import Descent

_CROWD = 8  # more tracks than this have no name each
MOST = 24  # tracks; more are a tangle
_MARGIN = 0.1  # how far the ground reaches beyond the surface's domain, as a share of its sides
_WIDE = 50.0  # losses that span more than this factor go on a logarithmic axis
_GONE = 1e4  # a loss beyond this many times what it began with is off the picture
_FLOOR = 1e-16


@dataclass(frozen=True, eq=False)
class Track:
    """One start: float64[n] each. ``x`` and ``y`` are empty where there is no ground; NaN where it has left it.

    Tracks of one ``group`` share its name in the legend and its colour; by default each is one of its own.
    """

    label: str
    x: Array
    y: Array
    steps: Array
    loss: Array
    group: str = ""


@dataclass(frozen=True, eq=False)
class Scene:
    """Tracks over a ground, and their losses beside it.

    Attributes:
        ground: the surface as a panel without paths (a field, or a profile); None for runs of models.
        tracks: at most :data:`MOST`.
        loss_label, log_y: of the loss's axis.
        note: what is left out, for the reader.
    """

    title: str
    ground: Panel | None
    tracks: tuple[Track, ...]
    loss_label: str = "loss"
    log_y: bool = False
    note: str = ""

    @property
    def steps(self) -> int:
        """The last step of the longest track."""
        return int(max(track.steps[-1] for track in self.tracks))

    def panels(self) -> tuple[Panel, ...]:
        """The whole scene as it is at its end: the ground with its paths, and the losses."""
        names = [t.group or t.label for t in self.tracks]
        shown = [name if new else "" for name, (_, new) in zip(names, self.colors(), strict=True)]
        lines = tuple(
            Line(label, t.steps, t.loss, group=name) for label, name, t in zip(shown, names, self.tracks, strict=True)
        )
        losses = Panel("Loss over the steps", "step", self.loss_label, lines, log_y=self.log_y, note=self.note)
        if self.ground is None:
            return (losses,)
        style: Literal["line", "points"] = (
            "line" if self.ground.field is not None or not self.ground.lines else "points"
        )
        paths = tuple(
            Line(label, t.x, t.y, style, name) for label, name, t in zip(shown, names, self.tracks, strict=True)
        )
        g = self.ground
        over = Panel(g.title, g.x_label, g.y_label, (*g.lines, *paths), note=g.note, field=g.field)
        return over, losses

    def colors(self) -> list[tuple[int, bool]]:
        """For each track the number of its colour, and whether it is the first that has it."""
        numbers: dict[str, int] = {}
        out = []
        for t in self.tracks:
            name = t.group or t.label
            new = name not in numbers
            out.append((numbers.setdefault(name, len(numbers)), new))
        return out

    def seen(self, count: int) -> Array:
        """The steps at which up to ``count`` frames stand, the first and the last among them; float64[k]."""
        return np.unique(np.linspace(0, self.steps, min(count, self.steps + 1)).round())


def descent_scene(descents: Mapping[str, Descent], title: str = "", most: int = MOST) -> Scene:
    """The scene of descents on one surface.

    Args:
        descents: label -> descent; one with several starts gives a track each.
        title: by default the surface's.
        most: how many tracks at most; of more starts, evenly chosen ones are drawn and the note says so.

    Raises:
        UsageError: there is none, or they are on different surfaces.
    """
    if not descents:
        raise UsageError("there is no descent to show")
    first = next(iter(descents.values()))
    surface = first.surface
    if others := {d.surface.formula for d in descents.values()} - {surface.formula}:
        raise UsageError(f"a scene has one surface, got {surface.formula} and {', '.join(sorted(others))}")
    all_starts = [(label, d, i) for label, d in descents.items() for i in range(d.n)]
    chosen = np.unique(np.linspace(0, len(all_starts) - 1, min(most, len(all_starts))).round().astype(int))
    tracks = tuple(_track(all_starts[i], len(descents) > 1, crowded=len(chosen) > _CROWD) for i in chosen)
    note = f"{len(tracks)} of {len(all_starts):,} starts are drawn." if len(tracks) < len(all_starts) else ""
    return Scene(
        title or f"{surface.title}: {surface.formula}",
        _ground(first),
        _cut(tracks),
        surface.value_name,
        wide([t.loss for t in tracks]),
        note,
    )


def scene_of(experiment: Experiment) -> Scene | None:
    """What an experiment's film shows: its descents on the surface that most of them are on, else its runs' losses."""
    by_surface: dict[str, dict[str, Descent]] = {}
    for label, descent in experiment.descents.items():
        by_surface.setdefault(descent.surface.formula, {})[label] = descent
    if by_surface:
        return descent_scene(max(by_surface.values(), key=len), experiment.title)
    return run_scene(experiment.runs, experiment.title) if experiment.runs else None


def run_scene(runs: Mapping[str, TrainingHistory], title: str = "") -> Scene:
    """The scene of training runs: their losses alone, and their validation losses where they have one."""
    tracks = []
    for label, history in runs.items():
        for role, word in (("train_loss", ""), ("val_loss", " (validation)")):
            curve = history.curve(role)
            if curve is not None and len(curve):
                steps, loss = curve.steps.astype(np.float64), curve.values
                tracks.append(Track(f"{label}{word}", np.empty(0), np.empty(0), steps, loss))
    if not tracks:
        raise UsageError("there is nothing to film: no run has a loss")
    shown = tuple(tracks[:MOST])
    note = f"{len(shown)} of {len(tracks)} curves are drawn." if len(shown) < len(tracks) else ""
    return Scene(title, None, _cut(shown), "loss", wide([t.loss for t in shown]), note)


def _end(descent: Descent, start: int) -> str:
    minimum = descent.minimum(start)
    if minimum is None:
        return descent.state(start)
    return f"to ({', '.join(f'{v:.3g}' for v in descent.minima[minimum])})"


def place_of(descent: Descent, start: int) -> str:
    """Where a start was, in words."""
    at = ", ".join(f"{v:.3g}" for v in descent.path[0, start])
    return f"from {at}" if descent.surface.dim == 1 else f"from ({at})"


def _track(start: tuple[str, Descent, int], several: bool, *, crowded: bool) -> Track:
    name, descent, i = start
    group = ""
    if crowded:  # too many for a legend: those of one run, or of one end, go together
        group = name if several else _end(descent, i)
    place = place_of(descent, i)
    label = place if not several else name if descent.n == 1 else f"{name}, {place}"
    path = descent.path[:, i].copy()
    surface = descent.surface
    pad = _MARGIN * (surface.high - surface.low)
    with np.errstate(invalid="ignore"):
        out = ~((path >= surface.low - pad) & (path <= surface.high + pad)).all(axis=1)
    path[out] = np.nan
    values = descent.values[:, i]
    y = np.where(out, np.nan, values) if surface.dim == 1 else path[:, 1]
    return Track(fitted(label, 44), path[:, 0], y, np.arange(len(path), dtype=np.float64), values, group)


def _ground(descent: Descent) -> Panel:
    surface = descent.surface
    if surface.dim == 1:
        return Panel("Over the curve", surface.axes[0], surface.value_name, (_dashed(surface.profile(margin=_MARGIN)),))
    if surface.dim == 2:
        return Panel("Over the surface", surface.axes[0], surface.axes[1], field=surface.grid(margin=_MARGIN))
    note = f"The first two of {surface.dim} coordinates."
    return Panel("Path", surface.axes[0], surface.axes[1], note=note)


def _dashed(line: Line) -> Line:
    return Line(line.label, line.x, line.y, "dashed")


def wide(losses: list[Array]) -> bool:
    """Whether the losses need a logarithmic axis: all positive (but for zeros), over a wide range."""
    values = np.concatenate(losses)
    values = values[np.isfinite(values)]
    above = values[values > 0]
    return bool(len(above) and (values >= 0).all() and float(above.max()) / float(above.min()) > _WIDE)


def _cut(tracks: tuple[Track, ...]) -> tuple[Track, ...]:
    """Without what has grown beyond all measure, so that the rest can still be seen; zeros lie on the floor."""
    starts = [abs(float(t.loss[0])) for t in tracks if len(t.loss) and np.isfinite(t.loss[0])]
    ceiling = _GONE * max([1.0, *starts])
    log = wide([t.loss for t in tracks])
    out = []
    for t in tracks:
        with np.errstate(invalid="ignore"):
            loss = np.where(np.abs(t.loss) <= ceiling, t.loss, np.nan)
            loss = np.maximum(loss, _FLOOR) if log else loss
        out.append(Track(t.label, t.x, t.y, t.steps, loss, t.group))
    return tuple(out)
