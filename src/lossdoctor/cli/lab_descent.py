"""A descent as an experiment: one surface, one or more optimizers and rates, from the same starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.result import Experiment, Line, Mark, Panel, Table
from lossdoctor.render.lab.scene import descent_scene, place_of
from lossdoctor.render.words import number

if TYPE_CHECKING:
    from lossdoctor.lab.descent import Descent

RATE, STEPS, STARTS, TOLERANCE = 0.05, 300, 4, 0.01
_MOST_DESCENTS = 12
_MOST_TOLD = 12  # starts in the table and diagnosed one by one


def descents(
    name: str,
    rates: Sequence[float],
    optimizers: Sequence[str],
    starts: Any,
    own: Mapping[str, str],
    **settings: Any,
) -> dict[str, Descent]:
    """Label -> descent, for every optimizer at every rate.

    Args:
        starts: a count, or float64[n, dim].
        own: options of the surface, of the optimizer, or (``schedule.NAME``) of the schedule, as texts.
        settings: the rest of :func:`lossdoctor.lab.descend`.
    """
    import inspect

    from lossdoctor import lab
    from lossdoctor.lab import surfaces

    if len(rates) * len(optimizers) > _MOST_DESCENTS:
        raise UsageError(
            f"{len(optimizers)} optimizers at {len(rates)} rates are {len(rates) * len(optimizers)} descents; at most "
            f"{_MOST_DESCENTS} can be told apart in one picture"
        )
    values = {key: value_of(text) for key, text in own.items()}
    known = inspect.signature(surfaces.SURFACES[name.removeprefix(surfaces.NOISY)]).parameters
    surface = lab.surface(name, **{k: v for k, v in values.items() if k in known})
    plan = {k.removeprefix("schedule."): v for k, v in values.items() if k.startswith("schedule.")}
    rest = {k: v for k, v in values.items() if k not in known and not k.startswith("schedule.")}
    out = {}
    for optimizer in optimizers:
        for rate in rates:
            parts = [optimizer] * (len(optimizers) > 1) + [f"lr {rate:g}"] * (len(rates) > 1)
            label = ", ".join(parts) or optimizer
            out[label] = lab.descend(
                surface, optimizer, lr=rate, starts=starts, schedule_options=plan, **settings, **rest
            )
    return out


def value_of(text: str) -> Any:
    """A number, true or false, or the text itself.

    >>> value_of("0.9"), value_of("true"), value_of("strong_wolfe")
    (0.9, True, 'strong_wolfe')
    """
    low = text.strip().lower()
    if low in ("true", "false"):
        return low == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def experiment(made: Mapping[str, Descent]) -> Experiment:
    """What descents came to: their pictures, a table of what became of each start, and the runs as histories."""
    first = next(iter(made.values()))
    surface, several = first.surface, len(made) > 1
    scene = descent_scene(made)
    tracks = [(label, d, i) for label, d in made.items() for i in range(d.n)]
    some = np.linspace(0, len(tracks) - 1, min(len(tracks), _MOST_TOLD)).round().astype(int)
    shown = [tracks[i] for i in some]
    panels = [*scene.panels(), *_rates(made), *_sweep(made)]
    tables = [_starts(shown, several)] if len(shown) == len(tracks) else []
    if len(tracks) > len(shown):
        tables.append(_summary(made))
    numbers: dict[str, float | str] = {}
    for label, d in made.items():
        mark = f", {label}" if several else ""
        numbers[f"lowest {surface.value_name} at an end{mark}"] = float(d.values[-1, d.best])
        if d.critical_lr is not None:
            numbers[f"critical rate 2/λmax{mark}"] = float(d.critical_lr)
    runs = {}
    for label, d, i in shown:
        place = place_of(d, i)
        runs[place if not several else label if d.n == 1 else f"{label}, {place}"] = d.history(i)
    spec = first.settings
    goal = "made as large as it can be" if surface.maximised else "descended"
    text = (
        f"{surface.formula}, {goal}: {first.n:,} start{'' if first.n == 1 else 's'}, {first.steps:,} steps"
        + ("." if several else f" of {spec.spec.title} at lr {spec.rate:g}.")
        + f" {surface.about[:1].upper()}{surface.about[1:]}."
        + _states(made)
    )
    return Experiment(
        surface.name,
        f"{surface.title}: {surface.formula}",
        text,
        tuple(panels),
        tuple(tables),
        numbers,
        runs,
        dict(made),
        (surface.source,) if surface.source else (),
    )


def _states(made: Mapping[str, Descent]) -> str:
    told = []
    for label, d in made.items():
        counted = Counter(d.states).most_common()
        words = ", ".join(state if n == d.n else f"{n:,} {state}" for state, n in counted)
        told.append(f" {label}: {words}." if len(made) > 1 else f" State: {words}.")
    return "".join(told)


def _starts(tracks: Sequence[tuple[str, Descent, int]], several: bool) -> Table:
    """A row for each start: where from, where to, what became of it."""
    surface = tracks[0][1].surface
    rows = []
    for label, d, i in tracks:
        minimum = d.minimum(i)
        which = "" if minimum is None else f"({', '.join(f'{v:.3g}' for v in d.minima[minimum])})"
        row: tuple[Any, ...] = (
            f"({', '.join(f'{v:.3g}' for v in d.path[0, i])})",
            f"({', '.join(f'{v:.4g}' for v in d.ends[i])})",
            float(d.values[-1, i]),
            d.state(i),
            which or None,
            d.steps_to(TOLERANCE, i),
        )
        rows.append((label, *row) if several else row)
    best = "maximum" if surface.maximised else "minimum"
    columns = ("start", "end", surface.value_name, "state", best, f"steps to {TOLERANCE:g}")
    note = f"Steps to {TOLERANCE:g}: until the loss is that near to the lowest one."
    return Table("What became of each start", ("run", *columns) if several else columns, tuple(rows), note)


def _summary(made: Mapping[str, Descent]) -> Table:
    """How many starts came to which state and which minimum."""
    rows = []
    for label, d in made.items():
        ends = Counter((d.state(i), d.minimum(i)) for i in range(d.n))
        for (state, minimum), count in ends.most_common():
            place = None if minimum is None else f"({', '.join(f'{v:.4g}' for v in d.minima[minimum])})"
            rows.append((label, state, place, count, f"{100 * count / d.n:.1f} %"))
    return Table("Where the starts ended", ("run", "state", "minimum", "starts", "share"), tuple(rows))


def _rates(made: Mapping[str, Descent]) -> list[Panel]:
    """The learning rate over the steps, where it changes."""
    lines = []
    for label, d in made.items():
        rates = d.learning_rates
        if len(rates) and np.ptp(rates) > 0:
            lines.append(Line(label, np.arange(len(rates), dtype=float), rates))
    return [Panel("Learning rate over the steps", "step", "learning rate", tuple(lines))] if lines else []


def _sweep(made: Mapping[str, Descent]) -> list[Panel]:
    """What is left of the loss at the end over the learning rate, where there are several rates."""
    by_name: dict[str, list[tuple[float, float]]] = {}
    for d in made.values():
        least = d.surface.lowest if d.surface.lowest is not None else float(np.nanmin(d.losses))
        left = float(d.losses[-1, d.best]) - least
        by_name.setdefault(d.settings.spec.name, []).append((d.settings.rate, max(left, 1e-16)))
    if max(len(points) for points in by_name.values()) < 3:
        return []
    lines = []
    for name, points in by_name.items():
        x, y = np.array(sorted(points)).T
        lines.append(Line(name, x, y, group=f"sweep {name}"))
    bounds = {d.critical_lr for d in made.values() if d.critical_lr is not None and d.settings.spec.class_name == "SGD"}
    marks = tuple(Mark(f"critical rate {number(b)}", x=float(b)) for b in sorted(bounds)[:3])
    return [
        Panel(
            *("What is left after the last step", "learning rate", "loss above the least", tuple(lines)),
            log_x=True,
            log_y=True,
            marks=marks,
            note="Missing: diverged beyond measure.",
        )
    ]


def loss_experiment(name: str, own: Mapping[str, str]) -> Experiment:
    """A loss function as an experiment: value, gradient and curvature over the error or the margin."""
    from lossdoctor.lab import losses

    loss = losses.loss(name, **{key: value_of(text) for key, text in own.items()})
    at = np.array([-4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0])
    curves = loss.curves(at)
    rows = tuple(
        (float(x), float(v), float(g), float(c))
        for x, v, g, c in zip(at, curves.value, curves.gradient, curves.curvature, strict=True)
    )
    wide = loss.curves()
    return Experiment(
        loss.name,
        f"{loss.title}: {loss.formula}",
        f"What it pulls towards: {loss.pulls}. What it suits: {loss.suits}.",
        losses.panels([loss]),
        (Table("Over " + loss.argument, (loss.argument.partition(" (")[0], "loss", "gradient", "curvature"), rows),),
        {
            "largest pull from -5 to 5": float(np.abs(wide.gradient).max()),
            "largest curvature from -5 to 5": float(wide.curvature.max()),
        },
        sources=(loss.source,) if loss.source else (),
    )
