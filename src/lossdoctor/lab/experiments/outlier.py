"""One outlier: how far it moves the fit under each loss, and what its residuals suggest."""

from __future__ import annotations

import numpy as np

from lossdoctor.lab.experiments.base import SEED, Option, experiment, found
from lossdoctor.lab.result import Experiment, Line, Panel, Table


@experiment(
    "One outlier",
    "A line and a boundary fitted under each loss, while one point is drawn away from where it belongs.",
    Option("distance", "how far the outlier is drawn in the end", low=0, high=1e4, above=True),
    Option("points", "how many other points there are", low=5, high=500),
    SEED,
)
def outlier(*, distance: float = 20.0, points: int = 20, seed: int = 0) -> Experiment:
    """Lines fitted by Adam under squared, absolute and Huber's loss; boundaries under cross-entropy and hinge."""
    from lossdoctor.lab import losses

    at = np.linspace(0, distance, 9)
    line = losses.outlier_study("line", ["mse", "mae", "huber"], positions=at, points=points, seed=seed)
    boundary = losses.outlier_study("boundary", ["bce", "hinge"], np.minimum(at, 10), points, seed)
    moved = {one.name: float(line.shift[k, -1]) for k, one in enumerate(line.losses)}
    # The best constant under squared error is the mean, under absolute error the median: no descent is needed.
    numbers = np.append(np.random.default_rng(seed).normal(size=points), 0.0)
    shifted = numbers + np.where(np.arange(points + 1) == points, distance, 0.0)
    constant = {"mean": float(np.mean(shifted) - np.mean(numbers)),
                "median": float(np.median(shifted) - np.median(numbers))}  # fmt: skip
    # The gradient that the outlier itself adds at the undisturbed fit, over that of an error between −1 and 1.
    spikes = {one.name: abs(one.curves(np.array([distance])).gradient[0]) for one in line.losses}
    usual = {one.name: float(np.abs(one.curves(np.linspace(-1, 1, 41)).gradient).mean()) for one in line.losses}
    ratio = {name: float(spikes[name] / usual[name]) for name in spikes}
    advice = losses.suggest(_residuals(seed))
    rows = tuple((one.title, moved[one.name], ratio[one.name]) for one in line.losses)
    return found(
        f"With one of {points + 1} points drawn {distance:g} away, the far end of the line moves by "
        f"{moved['mse']:.2f} under squared error, by {moved['huber']:.2f} under Huber's and by "
        f"{abs(moved['mae']):.2f} under absolute error. The mean of as many numbers moves by {constant['mean']:.2f}, "
        f"the distance over their number, the median by {constant['median']:.2f}. Under squared error the outlier's "
        f"own gradient is {ratio['mse']:.0f} times a usual one: on a training run that is a spike. On residuals with "
        f"heavy tails lossdoctor suggests {advice.loss} ({advice.why}).",
        panels=(line.panel(), line.fits(), boundary.panel(), _gradients(line.losses, distance)),
        tables=(
            Table(f"With the outlier at {distance:g}", ("loss", "line moved by",
                                                         "its gradient over a usual one"), rows),
        ),
        numbers={
            **{f"line moved by, {name}": value for name, value in moved.items()},
            **{f"{name} moved by": value for name, value in constant.items()},
            **{f"gradient ratio, {name}": value for name, value in ratio.items()},
            "suggested for heavy tails": advice.loss,
        },
        sources=("Huber, Robust Estimation of a Location Parameter (1964)",),
    )  # fmt: skip


def _residuals(seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.random.default_rng(seed).standard_t(2, size=500)


def _gradients(chosen: tuple[object, ...], distance: float) -> Panel:
    from lossdoctor.lab.losses import LossFunction

    x = np.linspace(0, distance, 201)
    lines = tuple(Line(one.title, x, np.abs(one.curves(x).gradient)) for one in chosen if isinstance(one, LossFunction))
    return Panel("Pull of one point on the fit", "its error", "size of its gradient", lines)
