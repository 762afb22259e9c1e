"""Faults to inject: each a small change of configuration, data, model or loop, with what it should be found as."""

from __future__ import annotations

from benchmarks.clinic.faults import data, loop, model, optimisation
from benchmarks.clinic.faults.base import Fault, Healthy

ALL: tuple[Fault, ...] = (
    optimisation.Diverging(),
    optimisation.NonFinite(),
    optimisation.Oscillating(),
    optimisation.TooLow(),
    optimisation.DecayedEarly(),
    optimisation.StoppedEarly(),
    optimisation.NoWarmup(),
    model.Overfitting(),
    model.Underfitting(),
    model.Vanishing(),
    model.ZeroInit(),
    model.DeadInit(),
    model.Frozen(),
    model.DoubleSoftmax(),
    model.ExplodingRecurrence(),
    data.NanBatch(),
    data.Outliers(),
    data.Unscaled(),
    data.ShuffledLabels(),
    data.LabelNoise(),
    data.Unshuffled(),
    data.SpikesRecovering(),
    data.SpikeUnrecovered(),
    data.ValidationShift(),
    loop.MissingStep(),
    loop.MissingZeroGrad(),
    loop.ResumeWithoutState(),
)
_BY_NAME: dict[str, Fault] = {f.name: f for f in (Healthy(), *ALL)}


def names() -> tuple[str, ...]:
    """The faults there are, without ``"healthy"``."""
    return tuple(f.name for f in ALL)


def get(name: str) -> Fault:
    """The fault of a name; ``"healthy"`` is one that does nothing. Raises ValueError when there is none."""
    if name not in _BY_NAME:
        raise ValueError(f"no fault {name!r}; there are {', '.join(_BY_NAME)}")
    return _BY_NAME[name]
