"""From the words of the command line to an experiment: options read, checked, and handed to what they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np

from lossdoctor.cli.io import Progress
from lossdoctor.core.errors import UsageError, nearest
from lossdoctor.lab.result import Experiment

# What a descent on a surface can be told; other options are the surface's, the optimizer's or the schedule's own.
DESCENT = ("lr", "optimizer", "steps", "starts", "start", "noise", "schedule", "clip", "seed")


def made(
    kind: str, name: str, given: Mapping[str, str], own: Mapping[str, str], told: Progress | None = None
) -> Experiment:
    """Run what is meant.

    Args:
        kind: ``"experiment"``, ``"surface"`` or ``"loss"``.
        given: options that all descents share, by name; several starts are joined by a semicolon.
        own: all other options.
        told: the progress of a descent.

    Raises:
        UsageError: an option that does not apply, is no number, or is out of range.
    """
    if kind == "experiment":
        return _experiment(name, {**given, **own})
    from lossdoctor.cli import lab_descent

    if kind == "loss":
        if given:
            raise UsageError(
                f"{name} is a loss function: --{next(iter(given))} does not apply; its own go by -s KEY=VALUE"
            )
        return lab_descent.loss_experiment(name, own)
    settings: dict[str, Any] = {"steps": lab_descent.STEPS}
    for key, whole in (("noise", False), ("clip", False), ("steps", True), ("seed", True)):
        if key in given:
            settings[key] = _number(key, given[key], whole=whole)
    if "schedule" in given:
        settings["schedule"] = given["schedule"]
    rates = [_number("lr", part) for part in given.get("lr", str(lab_descent.RATE)).split(",")]
    optimizers = [part.strip() for part in given.get("optimizer", "adam").split(",")]
    _check_own(name, optimizers, own)
    step = None if told is None else (lambda done, total: told(done, total, "steps"))
    runs = lab_descent.descents(name, rates, optimizers, _starts(given), own, progress=step, **settings)
    return lab_descent.experiment(runs)


def _experiment(name: str, texts: dict[str, str]) -> Experiment:
    from lossdoctor.lab import experiments

    spec = experiments.get(name)
    if "start" in texts:
        texts["start"] = texts["start"].replace(";", ",")
    known = [o.name for o in spec.options]
    for key in texts:
        if key not in known:
            has = f"it has {', '.join('--' + k.replace('_', '-') for k in known)}" if known else "it has none"
            raise UsageError(f"the experiment {name} has no option --{key}; {has}{nearest(key, known)}")
    return spec(**spec.parse(texts))


def _check_own(name: str, optimizers: list[str], own: Mapping[str, str]) -> None:
    """An option that nothing takes is most often a misspelt one of the descent's: say so."""
    import inspect

    from lossdoctor.lab import surfaces
    from lossdoctor.lab.optimizers import optimizer

    known = list(inspect.signature(surfaces.SURFACES[name.removeprefix(surfaces.NOISY)]).parameters)
    specs = [optimizer(one) for one in optimizers]
    for key, text in own.items():
        if key in known or key.startswith("schedule."):
            continue
        try:
            for spec in specs:
                spec.check({key: text})
        except UsageError as error:
            close = get_close_matches(key, (*DESCENT, *known), n=1, cutoff=0.7)
            if not close:
                raise
            raise UsageError(f"there is no option --{key}; did you mean --{close[0]}?") from error


def _number(key: str, text: str, *, whole: bool = False) -> Any:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        what = "a whole number" if whole else "a number"
        raise UsageError(f"--{key} takes {what}, got {text!r}") from None


def _starts(given: Mapping[str, str]) -> Any:
    """A count, or the given points as float64[n, dim]."""
    from lossdoctor.cli.lab_descent import STARTS

    if "start" in given:
        if "starts" in given:
            raise UsageError("give --start X,Y for places or --starts N for a count, not both")
        points = [[_number("start", part) for part in point.split(",")] for point in given["start"].split(";")]
        if len({len(p) for p in points}) > 1:
            raise UsageError(f"every --start needs as many coordinates as the surface has, got {given['start']!r}")
        return np.array(points)
    return _number("starts", given["starts"], whole=True) if "starts" in given else STARTS
