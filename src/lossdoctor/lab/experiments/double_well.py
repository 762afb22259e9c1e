"""Two wells, the left one deeper: descent, momentum and random restarts on x⁴ − 8x² + x."""

from __future__ import annotations

import numpy as np

from lossdoctor import lab
from lossdoctor.lab.experiments import paths
from lossdoctor.lab.experiments.base import LR, SEED, STEPS, Option, experiment, found
from lossdoctor.lab.result import Experiment, Line, Mark, Panel, Table


@experiment(
    "Local minima",
    "x⁴ − 8x² + x: the global minimum is the left one; when momentum gets there, and when restarts do.",
    LR,
    Option("momentum", "share of the velocity that is kept", low=0, high=0.9999),
    STEPS,
    Option("starts", "where to begin", low=-3.5, high=3.5),
    Option("restarts", "random starts, of which the best end is kept", low=1, high=10_000),
    SEED,
)
def double_well(
    *, lr: float = 0.01, momentum: float = 0.9, steps: int = 200,
    starts: tuple[float, ...] = (-3.0, -1.0, 0.0, 1.0, 3.0), restarts: int = 10, seed: int = 0,
) -> Experiment:  # fmt: skip
    """Plain and heavy-ball descent from several starts, and the map of where each start of the domain ends."""
    at = np.array(starts)[:, None]
    plain = lab.descend("double_well", "sgd", lr=lr, starts=at, steps=steps)
    heavy = lab.descend("double_well", "momentum", lr=lr, starts=at, steps=steps, momentum=momentum)
    random = lab.descend("double_well", "sgd", lr=lr, starts=restarts, steps=steps, seed=seed)
    surface = plain.surface
    left, right = sorted(surface.minima[:, 0])
    top = float(surface.maxima[0, 0])
    depth = {x: float(surface([[x]])[0]) for x in (left, right, top)}
    grid = np.linspace(surface.low[0], surface.high[0], 701)[:, None]
    ends = {
        "plain": lab.descend("double_well", "sgd", lr=lr, starts=grid, steps=steps).ends[:, 0],
        "momentum": lab.descend("double_well", "momentum", lr=lr, starts=grid, steps=steps, momentum=momentum).ends[
            :, 0
        ],
    }
    share = {name: float((np.abs(x - left) < 0.1).mean()) for name, x in ends.items()}
    rows = tuple(
        (float(s), float(plain.ends[i, 0]), float(plain.losses[-1, i]), float(heavy.ends[i, 0]),
         float(heavy.losses[-1, i]), _well(heavy.ends[i, 0], left, right))
        for i, s in enumerate(starts)
    )  # fmt: skip
    plainly = {f"from {s:g}": (plain, i) for i, s in enumerate(starts)}
    heavily = {f"from {s:g}": (heavy, i) for i, s in enumerate(starts)}
    runs = {f"{k}, {how}": v for how, each in (("plain", plainly), ("momentum", heavily)) for k, v in each.items()}
    best = float(random.ends[random.best, 0])
    crossed = [s for i, s in enumerate(starts) if plain.ends[i, 0] > top > heavy.ends[i, 0]]
    sent = [s for i, s in enumerate(starts) if plain.ends[i, 0] < top < heavy.ends[i, 0]]
    moved = f"Momentum {momentum:g} carries the start" + (
        f"s {', '.join(f'{s:g}' for s in crossed)} over the ridge into the deeper well"
        if crossed
        else "s over no ridge"
    )
    if sent:
        moved += f", and {', '.join(f'{s:g}' for s in sent)} out of it"
    return found(
        f"The term + x tilts the curve to the left: f({left:.4f}) = {depth[left]:.3f} is the global minimum, "
        f"f({right:.4f}) = {depth[right]:.3f} a local one, and between them f({top:.4f}) = {depth[top]:.3f} is a "
        f"maximum. Plain descent goes to the well it starts in. {moved}; over the whole domain {share['plain']:.0%} of "
        f"the starts end left without momentum and {share['momentum']:.0%} with it: it is an overshoot, which can miss "
        f"as well as hit. {restarts} random starts, the best kept, end at {best:.4f}: the chance that all of them "
        f"start on the wrong side is {(1 - share['plain']) ** restarts:.1g}.",
        panels=(
            paths.over_surface("Plain descent", plainly),
            paths.over_surface("With momentum", heavily),
            Panel(
                "Where each start ends", "start", "end",
                tuple(Line(name, grid[:, 0], x, "points") for name, x in ends.items()),
                marks=(Mark("maximum", x=top), Mark("global minimum", y=float(left)),
                       Mark("local minimum", y=float(right))),
            ),
            paths.over_steps("Value, plain descent", "f(x)", paths.losses(plainly), log_y=False, log_x=True),
            paths.over_steps("Value, with momentum", "f(x)", paths.losses(heavily), log_y=False, log_x=True),
        ),
        tables=(
            Table(f"After {steps} steps at lr {lr:g}",
                  ("start", "plain: x", "plain: f(x)", "momentum: x", "momentum: f(x)", "momentum is in"), rows),
            Table("Critical points", ("x", "f(x)", "kind"),
                  ((float(left), depth[left], "global minimum"), (top, depth[top], "maximum"),
                   (float(right), depth[right], "local minimum"))),
        ),
        numbers={
            "global minimum": float(left), "local minimum": float(right), "maximum": top,
            "f at the global minimum": depth[left], "f at the local minimum": depth[right],
            "best of the restarts": best,
            **{f"share that ends left, {name}": value for name, value in share.items()},
            **{f"plain from {s:g}": float(plain.ends[i, 0]) for i, s in enumerate(starts)},
            **{f"momentum from {s:g}": float(heavy.ends[i, 0]) for i, s in enumerate(starts)},
        },
        runs=paths.histories(runs),
        descents={"plain": plain, "momentum": heavy, "restarts": random},
    )  # fmt: skip


def _well(x: float, left: float, right: float) -> str:
    if min(abs(x - left), abs(x - right)) > 0.1:
        return "neither yet"
    return "the deeper well" if abs(x - left) < abs(x - right) else "the shallower well"
