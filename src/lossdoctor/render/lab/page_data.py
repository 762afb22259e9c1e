"""What ``assets/lab.js`` draws from: panels and scenes as plain values, thinned to what a screen can show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lossdoctor.lab.result import Array, Band, Field, Line, Panel
from lossdoctor.render.escape import visible
from lossdoctor.render.lab.pens import ORDER, is_reference, key, numbering, turn_of
from lossdoctor.render.lab.plane import heights, shading
from lossdoctor.render.lab.scene import Scene, Track
from lossdoctor.render.lab.space import height_at
from lossdoctor.render.style import STYLES

FRAMES = 300
_MOST_POINTS = 800
_SIDE = 101
_SHADES = 24


def looks_data() -> dict[str, Any]:
    """Colours of lines and shades of fields, of both themes."""
    from matplotlib.colors import to_hex

    def scale(ground: str, pale: float) -> list[list[Any]]:
        made = shading(ground, pale)
        return [[i / _SHADES, to_hex(made(i / _SHADES))] for i in range(_SHADES + 1)]

    return {
        name: {
            "colors": [look.cycle[i] for i in ORDER],
            "shades": scale(look.ground, 0.5),
            "full": scale(look.ground, 0.15),
        }
        for name, look in STYLES.items()
    }


def panel_data(panel: Panel, numbers: Mapping[str, int]) -> dict[str, Any]:
    """One panel."""
    turns: dict[str, int] = {}
    lines = [_line(line, numbers, turn_of(line, turns)) for line in panel.lines]
    return {
        "x_label": visible(panel.x_label, 200),
        "y_label": visible(panel.y_label, 200),
        "log_x": panel.log_x,
        "log_y": panel.log_y,
        "lines": lines,
        "bands": [_band(b, numbers) for b in panel.bands],
        "marks": [
            {"text": visible(m.text, 200), "x": m.x, "y": m.y} for m in panel.marks if (m.x, m.y) != (None, None)
        ],
        "field": None if panel.field is None else field_data(panel.field),
    }


def _line(line: Line, numbers: Mapping[str, int], turn: int = 0) -> dict[str, Any]:
    number = -1 if is_reference(line) else numbers.get(key(line), 0)
    at = _thin(len(line.x))
    aside = line.style == "dashed" or (line.group is None and "validation" in line.label.lower())
    dash = 1 if aside else (turn + max(0, number) // len(ORDER)) % 4
    return {
        "label": visible(line.label, 200),
        "style": line.style,
        "number": number,
        "dash": dash,
        "x": plain(line.x[at]),
        "y": plain(line.y[at]),
    }


def _band(band: Band, numbers: Mapping[str, int]) -> dict[str, Any]:
    fine = np.isfinite(band.x) & np.isfinite(band.low) & np.isfinite(band.high)
    at = np.flatnonzero(fine)[_thin(int(fine.sum()))]
    return {
        "label": visible(band.label, 200),
        "number": numbers.get(band.group or band.label, 0),
        "x": plain(band.x[at]),
        "low": plain(band.low[at]),
        "high": plain(band.high[at]),
    }


def field_data(field: Field) -> dict[str, Any]:
    """A field of about a hundred points a side, as heights or as classes."""
    row, column = (max(1, round(n / _SIDE)) for n in field.values.shape)
    thin = Field(
        *(field.x[::column], field.y[::row], field.values[::row, ::column]),
        levels=field.levels,
        label=field.label,
        categories=field.categories,
    )
    out: dict[str, Any] = {
        "x": plain(thin.x),
        "y": plain(thin.y),
        "label": visible(field.label, 200),
        "ticks": [],
        **{name: getattr(field, name).tolist() for name in ("minima", "saddles", "maxima")},
    }
    if field.levels == "category":
        found = [int(v) for v in np.unique(thin.values[np.isfinite(thin.values)])]
        names = {c: field.categories[c] if 0 <= c < len(field.categories) else "none of them" for c in found}
        out["classes"] = [{"number": c, "name": visible(names[c], 60)} for c in found]
        rows = np.searchsorted(found, np.where(np.isfinite(thin.values), thin.values, found[0]))
        out["z"] = rows.tolist()
        return out
    z, ticks = heights(thin)
    out["z"] = [plain(line) for line in z]
    out["ticks"] = [[at, text] for at, text in ticks.items()]
    return out


def scene_data(scene: Scene) -> dict[str, Any]:
    """A scene: its ground, its tracks and the steps that its frames show."""
    ground, field = scene.ground, None if scene.ground is None else scene.ground.field
    losses = np.concatenate([t.loss for t in scene.tracks])
    out: dict[str, Any] = {
        "steps": scene.steps,
        "frames": [int(v) for v in scene.seen(FRAMES)],
        "loss_label": visible(scene.loss_label, 200),
        "log_y": scene.log_y,
        "loss_range": _range(losses, scene.log_y),
        "tracks": [_track(t, field, n, new) for t, (n, new) in zip(scene.tracks, scene.colors(), strict=True)],
        "x_label": "" if ground is None else visible(ground.x_label, 200),
        "y_label": "" if ground is None else visible(ground.y_label, 200),
        "field": None if field is None else field_data(field),
        "profile": None,
        "kind": "none" if ground is None else "field" if field is not None else "path",
    }
    if ground is not None and field is None and ground.lines:
        out["kind"] = "profile"
        out["profile"] = _line(ground.lines[0], numbering([ground]))
        spans = [np.concatenate([getattr(t, side) for t in scene.tracks]) for side in "xy"]
        out["map_range"] = [_range(span, False, 0.2) for span in spans]
    return out


def _track(track: Track, field: Field | None, number: int, new: bool) -> dict[str, Any]:
    at = _thin(len(track.steps))
    out: dict[str, Any] = {
        "label": visible(track.group or track.label, 200),
        "number": number,
        "new": new,
        "steps": [int(v) for v in track.steps[at]],
        "loss": plain(track.loss[at]),
        "x": plain(track.x[at]) if len(track.x) else [],
        "y": plain(track.y[at]) if len(track.y) else [],
    }
    if field is not None:
        z, _ = heights(field)
        fine = np.isfinite(track.x[at]) & np.isfinite(track.y[at])
        lifted = np.full(len(at), np.nan)
        lift = 0.012 * float(np.nanmax(z) - np.nanmin(z))
        lifted[fine] = height_at(field, z, track.x[at][fine], track.y[at][fine]) + lift
        out["z"] = plain(lifted)
    return out


def _range(values: Array, log: bool, pad: float = 0.05) -> list[float] | None:
    """The axis' range over the whole film, as Plotly wants it: on a logarithmic axis the exponents."""
    values = values[np.isfinite(values)]
    values = np.log10(values[values > 0]) if log else values
    if not len(values):
        return None
    low, high = float(values.min()), float(values.max())
    margin = pad * (high - low) or 0.5
    return [low - margin, high + margin]


def _thin(count: int) -> Any:
    """Which points are kept: evenly spaced ones, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, _MOST_POINTS)).round().astype(int)) if count else np.arange(0)


def plain(values: Array) -> list[float | None]:
    """Five significant digits, more than a screen shows; None where there is no finite number."""
    return [float(f"{v:.5g}") if np.isfinite(v) else None for v in values.tolist()]
