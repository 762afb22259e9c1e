"""Panels, scenes and experiments made by hand, without torch."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from lossdoctor.lab.result import Array, Band, Experiment, Field, Line, Mark, Panel, Table
from lossdoctor.render.lab.scene import Scene, Track

EVIL = "</script><b>$x^2$ {{data}}"


def bowl(levels: str = "linear") -> Field:
    """x² + 3y², its minimum and a saddle that is none, to be drawn."""
    x, y = np.linspace(-3, 3, 41), np.linspace(-2, 2, 31)
    values = x[None, :] ** 2 + 3 * y[:, None] ** 2
    return Field(x, y, values, minima=np.array([[0.0, 0.0]]), saddles=np.array([[1.0, 1.0]]), levels=levels)  # type: ignore[arg-type]


def spiral(n: int = 30, turns: float = 1.0) -> tuple[Array, Array]:
    """A path that winds into the minimum."""
    t = np.linspace(0, 1, n)
    return (1 - t) * 2.5 * np.cos(6 * turns * t), (1 - t) * 1.5 * np.sin(6 * turns * t)


def plane(levels: str = "linear") -> Panel:
    x, y = spiral()
    return Panel("Over the bowl", "x", "y", (Line("one path", x, y),), field=bowl(levels), note="It winds in.")


def curves() -> Panel:
    steps = np.arange(60.0)
    loss = np.exp(-steps / 12)
    lines = (
        Line("training", steps, loss, group="a"),
        Line("validation", steps, loss + 0.1, group="a"),
        Line("theory", steps, 0.9 * loss, "dashed"),
        Line("points", steps[::6], loss[::6] * 1.1, "points"),
        Line("rate", steps, np.where(steps < 30, 1.0, 0.1), "steps"),
    )
    band = Band(steps, loss * 0.8, loss * 1.2, "spread", "a")
    marks = (Mark("stop", x=20.0), Mark("floor", y=0.05), Mark("best", 40.0, 0.04))
    return Panel("Curves", "step", "loss", lines, (band,), log_y=True, marks=marks, note="Both fall.")


def classes() -> Panel:
    x, y = np.linspace(-1, 1, 20), np.linspace(-1, 1, 20)
    values = np.where(x[None, :] + y[:, None] > 0.3, 1.0, 0.0)
    values[:3, :3] = -1.0
    return Panel("Basins", "x", "y", field=Field(x, y, values, levels="category", categories=("left", "right")))


def scene(tracks: int = 2, steps: int = 30, *, on_curve: bool = False) -> Scene:
    made = []
    for i in range(tracks):
        x, y = spiral(steps + 1, 1 + i / 4)
        loss = x**2 + 3 * y**2 + 1e-3
        made.append(Track(f"start {i}", x, loss if on_curve else y, np.arange(steps + 1.0), loss))
    at = np.linspace(-3, 3, 50)
    curve = Panel("Over the curve", "w", "loss", (Line("w²", at, at**2, "dashed"),))
    ground = curve if on_curve else Panel("Over the bowl", "x", "y", field=bowl("log"))
    return Scene("A bowl", ground, tuple(made), log_y=True)


def history(n: int = 200, *, explodes: bool = False) -> TrainingHistory:
    made, noise = TrainingHistory(), np.random.default_rng(0).normal(0.0, 0.02, n)
    for i in range(n):
        made.record(loss=float(np.nan if explodes and i > n // 2 else 0.4 + 2.1 * np.exp(-6 * i / n) + noise[i]))
    return made


def experiment(title: str = "An experiment") -> Experiment:
    rows = (("first", 1.5, 3, True, None), ("second", 0.25, 400, False, "late"))
    table = Table("What came out", ("run", "loss", "steps", "converged", "remark"), rows, "A note.")
    return Experiment(
        *("sample", title, "It shows something.", (plane(), curves()), (table,)),
        numbers={"final loss": 0.0123, "state": "monotone"},
        runs={"well": history(), "ill": history(explodes=True)},
        sources=("A paper (2020)",),
    )
