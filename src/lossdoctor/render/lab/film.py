"""Films of descents: GIF by Pillow, MP4 by ffmpeg. The picture is drawn once; each frame adds only what moves."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.result import Array, Line, Panel
from lossdoctor.render.lab.axes import log_ticks
from lossdoctor.render.lab.pens import Pen, numbering, pens
from lossdoctor.render.lab.pictures import figure
from lossdoctor.render.lab.scene import Scene
from lossdoctor.render.style import Style, style_named

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Progress = Callable[[int, int], None]
Frame = NDArray[np.uint8]
FORMATS = ("gif", "mp4")
MOST_FRAMES = 400
_COLORS = 200  # a palette for lines on a pale ground; more only makes the file larger
_REST = 1500  # ms on the last frame
NO_FFMPEG = (
    "an MP4 needs ffmpeg, which is not on the PATH; install it (apt-get install ffmpeg, brew install ffmpeg, "
    "conda install ffmpeg), or write a .gif or an .html instead"
)


def save_film(
    scene: Scene,
    path: str | Path,
    *,
    frames: int = 120,
    fps: int = 15,
    width: float = 160.0,
    dpi: int = 100,
    style: str = "light",
    progress: Progress | None = None,
) -> Path:
    """Write a film as GIF or MP4, by the suffix of ``path``.

    Args:
        frames: at most so many, 2 to 400; of more steps, evenly spaced ones are shown.
        fps: frames a second, 1 to 50.
        width: mm; dpi: dots per inch.
        style: ``"light"`` or ``"dark"``.
        progress: called with (frames done, all of them).

    Raises:
        UsageError: another suffix, a number out of range, or no ffmpeg for an MP4.
    """
    target = Path(path)
    kind = target.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise UsageError(f"cannot film {target.name!r}: the suffix must be one of .{', .'.join(FORMATS)}")
    if not 2 <= frames <= MOST_FRAMES:
        raise UsageError(f"frames is {frames}; give 2 to {MOST_FRAMES}")
    if not 1 <= fps <= 50:
        raise UsageError(f"fps is {fps}; give 1 to 50 frames a second")
    if kind == "mp4" and which("ffmpeg") is None:
        raise UsageError(NO_FFMPEG)
    pictures = render(scene, frames=frames, width=width, dpi=dpi, style=style, progress=progress)
    try:
        _write_gif(list(pictures), target, fps) if kind == "gif" else _write_mp4(pictures, target, fps)
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror or error}; choose another place") from None
    return target


def render(
    scene: Scene,
    *,
    frames: int = 120,
    width: float = 160.0,
    dpi: int = 100,
    style: str = "light",
    progress: Progress | None = None,
) -> Iterator[Frame]:
    """The frames as uint8[height, width, 3], the first and the last step among them."""
    stage = _Stage(scene, width, dpi, style)
    steps = scene.seen(frames)
    for done, step in enumerate(steps, 1):
        yield stage.at(float(step))
        if progress is not None:
            progress(done, len(steps))


@dataclass
class _Moving:
    """A line that grows, its head, and the data they follow."""

    axes: Axes
    line: Any
    head: Any
    x: Array
    y: Array
    steps: Array

    def to(self, step: float) -> list[Artist]:
        upto = int(np.searchsorted(self.steps, step, side="right"))
        self.line.set_data(self.x[:upto], self.y[:upto])
        fine = np.flatnonzero(np.isfinite(self.x[:upto]) & np.isfinite(self.y[:upto]))
        last = fine[-1:] if len(fine) else fine
        self.head.set_data(self.x[last], self.y[last])
        return [self.line, self.head]


class _Stage:
    """The still part of the film, and what moves on it."""

    def __init__(self, scene: Scene, width: float, dpi: int, style: str) -> None:
        look = style_named(style)
        whole = scene.panels()
        full = figure(whole, title=scene.title, width=width, style=style)
        empty = figure([_emptied(p) for p in whole], title=scene.title, width=width, style=style)
        for figure_ in (full, empty):
            figure_.set_dpi(dpi)
        # The axes keep from the start what the whole film needs.
        for was, now, panel in zip(full.axes, empty.axes, whole, strict=True):
            now.set_xlim(was.get_xlim())
            now.set_ylim(was.get_ylim())
            log_ticks(now, panel)
        self._canvas = cast(Any, empty.canvas)  # of Agg, as new_figure() makes it
        self._canvas.draw()
        empty.set_layout_engine("none")
        self._moving = _moving(empty, whole, scene, look)
        self._counter = _counter(empty, look)
        self._digits = len(str(scene.steps))
        self._canvas.draw()
        self._still = self._canvas.copy_from_bbox(empty.bbox)
        self._figure = empty

    def at(self, step: float) -> Frame:
        self._canvas.restore_region(self._still)
        for one in self._moving:
            for artist in one.to(step):
                one.axes.draw_artist(artist)
        self._counter.set_text(f"step {int(step):{self._digits}d}")
        self._figure.draw_artist(self._counter)
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()


def _emptied(panel: Panel) -> Panel:
    """The same panel, its tracks without points: the legend stays."""
    nothing = np.full(2, np.nan)
    lines = tuple(
        line if line.style == "dashed" else Line(line.label, nothing, nothing, line.style, line.group)
        for line in panel.lines
    )
    return Panel(
        *(panel.title, panel.x_label, panel.y_label, lines, panel.bands, panel.log_x, panel.log_y),
        marks=panel.marks,
        note=panel.note,
        field=panel.field,
    )


def _moving(figure: Figure, panels: tuple[Panel, ...], scene: Scene, look: Style) -> list[_Moving]:
    numbers = numbering(panels)
    out = []
    for axes, panel in zip(figure.axes, panels, strict=True):
        tracked = [
            (line, pen)
            for line, pen in zip(panel.lines, pens(panel, look, numbers), strict=True)
            if line.style != "dashed"
        ]
        for (line, pen), track in zip(tracked, scene.tracks, strict=True):
            out.append(_Moving(axes, *_artists(axes, pen, look, line), line.x, line.y, track.steps))
    return out


def _artists(axes: Axes, pen: Pen, look: Style, line: Line) -> tuple[Any, Any]:
    dots = {"marker": ".", "markersize": 3.5} if line.style == "points" else {}
    style: dict[str, Any] = {"color": pen.color, "linestyle": pen.dash, "animated": True, **dots}
    (path,) = axes.plot([], [], linewidth=0.8 if dots else 1.5, zorder=5, **style)
    round_: dict[str, Any] = {"markersize": 6.5, "markeredgecolor": look.ground, "markeredgewidth": 0.9, "zorder": 8}
    (head,) = axes.plot([], [], pen.marker or "o", color=pen.color, animated=True, **round_)
    return path, head


def _counter(figure: Figure, look: Style) -> Any:
    return figure.text(
        *(0.99, 0.985, ""),
        ha="right",
        va="top",
        fontsize=9,
        family="monospace",
        color=look.ink,
        animated=True,
    )


def _write_gif(frames: list[Frame], target: Path, fps: int) -> None:
    """One palette for all frames, made from the last one, in which everything is to be seen."""
    from PIL import Image

    images = [Image.fromarray(frame) for frame in frames]
    palette = images[-1].quantize(_COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    each = round(1000 / fps)
    small[0].save(
        target,
        format="GIF",
        save_all=True,
        append_images=small[1:],
        duration=[*([each] * (len(small) - 1)), _REST],
        loop=0,
        optimize=True,
    )


def _write_mp4(frames: Iterator[Frame], target: Path, fps: int) -> None:
    """Raw frames into ffmpeg; H.264 wants even sides, and yuv420p is what every player shows."""
    first = next(frames)
    height, width = first.shape[:2]
    command = [
        *("ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"),
        *("-s", f"{width}x{height}", "-r", str(fps), "-i", "-", "-an"),
        *("-vf", f"crop=trunc(iw/2)*2:trunc(ih/2)*2,tpad=stop_mode=clone:stop_duration={_REST / 1000}"),
        *("-pix_fmt", "yuv420p", "-movflags", "+faststart", str(target)),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            process.stdin.write(first.tobytes())
            for frame in frames:
                process.stdin.write(frame.tobytes())
            process.stdin.close()
        except BrokenPipeError:  # it has ended: what it said tells why
            pass
        said = process.stderr.read().decode(errors="replace").strip()
    if process.returncode != 0:
        raise UsageError(
            f"ffmpeg could not write {target}: {said[-300:] or process.returncode}; a .gif needs no ffmpeg"
        )
