"""What the lab knows by name: experiments, surfaces, loss functions, optimizers, schedules; and which one is meant."""

from __future__ import annotations

import inspect
from typing import Any

from lossdoctor.core.errors import UsageError, nearest

KINDS = ("experiments", "surfaces", "losses", "optimizers", "schedules")
RUNNABLE = ("experiment", "surface", "loss")


def listing(kind: str) -> list[dict[str, Any]]:
    """Everything of a kind: its name, one line about it, and what can be set."""
    from lossdoctor.lab import experiments, losses, optimizers, schedules, surfaces

    if kind == "experiments":
        return [
            {
                "name": spec.name,
                "about": spec.about,
                "options": {
                    o.name: {"meaning": o.meaning, "range": o.range, "default": o.default} for o in spec.options
                },
            }
            for spec in experiments.every()
        ]
    if kind == "surfaces":
        return [
            {
                "name": s.name,
                "about": f"{s.formula}: {s.about}" if s.about else s.formula,
                "options": {k: _default(v) for k, v in s.parameters.items()},
            }
            for s in surfaces.listing()
        ]
    if kind == "losses":
        return [_loss(name, losses.LOSSES[name]) for name in losses.names()]
    if kind == "optimizers":
        specs = [optimizers.optimizer(name) for name in optimizers.names()]
        return [
            {"name": o.name, "about": f"{o.title}; {o.source}", "options": {"lr": {"default": o.lr}}} for o in specs
        ]
    plans = [schedules.schedule(name) for name in schedules.names()]
    return [{"name": p.name, "about": _about(p.title, p.make), "options": _defaults(p.make)} for p in plans]


def _about(title: str, make: Any) -> str:
    first = (inspect.getdoc(make) or "").partition("\n")[0].rstrip(".")
    return f"{title}: {first}" if first else title


def _loss(name: str, make: Any) -> dict[str, Any]:
    return {"name": name, "about": f"{make().title}: {make().formula}", "options": _defaults(make)}


def _default(value: Any) -> dict[str, Any]:
    return {"default": value}


def _defaults(make: Any) -> dict[str, Any]:
    skipped = ("optimizer", "steps")
    return {n: _default(p.default) for n, p in inspect.signature(make).parameters.items() if n not in skipped}


def meant(name: str, kind: str | None, given: set[str]) -> tuple[str, str]:
    """(kind, name) of what is to be run.

    A name that an experiment and a surface share is the experiment, unless an option is given that only a descent
    takes.

    Args:
        kind: one of :data:`RUNNABLE` to choose, or None.
        given: the names of the options that are given.

    Raises:
        UsageError: no such name, with the nearest ones.
    """
    from lossdoctor.lab import experiments, losses, surfaces

    plain = name.strip().lower().replace("-", "_")
    known = {
        "experiment": set(experiments.names()),
        "surface": {*surfaces.names(), *(surfaces.NOISY + n for n in surfaces.names())},
        "loss": set(losses.names()),
    }
    found = [k for k in RUNNABLE if plain in known[k] and kind in (None, k)]
    if not found:
        pool = [n for k in RUNNABLE if kind in (None, k) for n in sorted(known[k])]
        what = f"{kind} in the lab" if kind else "experiment, surface or loss function"
        raise UsageError(f"no {what} is called {name!r}; `lossdoctor lab list` shows them all{nearest(plain, pool)}")
    if found[:2] == ["experiment", "surface"]:
        options = {o.name for o in experiments.get(plain).options}
        if not given <= options:
            return "surface", plain
    return found[0], plain
