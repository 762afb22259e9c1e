"""Faults to inject: each a small change of configuration, data, model or loop, with what it should be found as."""

from __future__ import annotations

from benchmarks.clinic.faults import adversarial, data, initial, labels, loop, model, modes, optimisation, rates
from benchmarks.clinic.faults.base import Fault, Healthy

# Runs are drawn by place in these lists: never reorder them, and add at the end of none that has been trained.
FIRST: tuple[Fault, ...] = (
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
LATER: tuple[Fault, ...] = (
    rates.Catapult(),
    rates.MomentumTooHigh(),
    rates.ClippingTooLow(),
    rates.BatchTooSmall(),
    rates.OverRegularized(),
    rates.HalfOverflow(),
    initial.LargeInit(),
    initial.ExplodingInit(),
    initial.Detached(),
    initial.CapacityTooLarge(),
    initial.StaleStatistics(),
    data.InfBatch(),
    labels.MissingAsZero(),
    labels.MaskedLabels(),
    labels.LabelLeak(),
    labels.TinyValidation(),
    labels.LittleData(),
    labels.ClassImbalance(),
    modes.TrainedInEvalMode(),
    modes.ValidatedInTrainMode(),
    modes.WrongReduction(),
    modes.SamplerRestart(),
    modes.ResumeWithoutSchedule(),
)
ADVERSARIAL: tuple[Fault, ...] = (
    adversarial.AdversarialNan(),
    adversarial.AdversarialDivergence(),
    adversarial.ModeCollapse(),
)
ALL: tuple[Fault, ...] = (*FIRST, *LATER, *ADVERSARIAL)
_BY_NAME: dict[str, Fault] = {f.name: f for f in (Healthy(), *ALL)}


def names() -> tuple[str, ...]:
    """The faults there are, without ``"healthy"``."""
    return tuple(f.name for f in ALL)


def get(name: str) -> Fault:
    """The fault of a name; ``"healthy"`` is one that does nothing. Raises ValueError when there is none."""
    if name not in _BY_NAME:
        raise ValueError(f"no fault {name!r}; there are {', '.join(_BY_NAME)}")
    return _BY_NAME[name]
