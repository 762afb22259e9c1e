"""The tests to choose from: what each needs, what it costs, and for which causes it is made."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.vocabulary import CAUSES
from lossdoctor.probes.result import ProbeResult

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Patient:
    """All that a test may be given.

    Attributes:
        model, loss_fn, train_loader, val_loader, optimizer, forward: as for every test of :mod:`lossdoctor.probes`.
        diagnosis: of the logged run.
        reset: how to bring the model to its untrained state: True asks its modules, a function does it, False where it
            is untrained.
    """

    model: nn.Module
    loss_fn: Callable[..., Any] | None
    train_loader: Iterable[Any]
    diagnosis: Diagnosis
    val_loader: Iterable[Any] | None = None
    optimizer: torch.optim.Optimizer | None = None
    forward: Callable[..., Any] | None = None
    reset: bool | Callable[[nn.Module], object] = True

    @property
    def rate(self) -> float | None:
        """The peak learning rate of the run, where its log tells.

        What an optimizer holds at the end of a schedule may be next to nothing, by which no test would learn anything.
        """
        history = self.diagnosis.history
        curve = history.curve("learning_rate")
        known = None if curve is None or not len(curve) else float(np.nanmax(curve.values))
        return known if known is not None and 0 < known < math.inf else history.context.learning_rate


@dataclass(frozen=True)
class Test:
    """One test on the menu.

    Attributes:
        name: of the vocabulary (:data:`lossdoctor.core.vocabulary.TESTS`), or of your own.
        run: does it.
        cost: steps or evaluations of a batch that it may take; it is not run where less is left of the budget. 0 of one
            that only reads the data, which no budget counts.
        needs: attributes of the patient that must not be None.
        made_for: cause -> the chance that the test speaks for it where it holds. A guess that is used until the test
            has a record of its own; by default 0.7 for the causes that the vocabulary sends to it.
    """

    __test__: ClassVar[bool] = False  # for pytest, which takes a class of this name for its own

    name: str
    run: Callable[[Patient], ProbeResult]
    cost: int
    needs: tuple[str, ...] = ()
    made_for: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.made_for:
            sent = {c: 0.7 for c, test in CAUSES.items() if test == self.name}
            object.__setattr__(self, "made_for", sent)

    def lacks(self, patient: Patient) -> list[str]:
        """What it needs and is not there."""
        return [need for need in self.needs if getattr(patient, need) is None]


def _probe(name: str, *, reset: bool = False, rate: bool = False, **options: Any) -> Callable[[Patient], ProbeResult]:
    """A function of :mod:`lossdoctor.probes`, given all that the patient has and it takes; imported when it is run.

    Args:
        name: of the function.
        reset: whether it is to look at the untrained model.
        rate: whether it trains by the peak rate of the run, and not by that at its end.
        options: its own, where its defaults cost more than they tell here.
    """

    def run(patient: Patient) -> ProbeResult:
        from lossdoctor import probes

        function: Callable[..., ProbeResult] = getattr(probes, name)
        offered = {
            "optimizer": patient.optimizer,
            "val_loader": patient.val_loader,
            "forward": patient.forward,
            "reset": patient.reset if reset else None,
            "lr": patient.rate if rate and _one_rate(patient.optimizer) else None,
        }
        takes = inspect.signature(function).parameters
        given = {k: v for k, v in offered.items() if k in takes and v is not None} | options
        return function(patient.model, patient.loss_fn, patient.train_loader, progress=False, **given)

    return run


def _check_data(patient: Patient) -> ProbeResult:
    from lossdoctor import probes

    rate = None  # the steps of all but SGD do not grow with the inputs
    if type(patient.optimizer).__name__ == "SGD" and patient.rate is not None:
        rate = patient.rate / (1.0 + max(g["momentum"] for g in patient.optimizer.param_groups))  # type: ignore[union-attr]
    result: ProbeResult = probes.check_data(patient.train_loader, val=patient.val_loader, lr=rate, progress=False)
    return result


def _compare_splits(patient: Patient) -> ProbeResult:
    from lossdoctor import probes

    parts: dict[str, Any] = {"model": patient.model, "loss_fn": patient.loss_fn, "forward": patient.forward}
    result: ProbeResult = probes.compare_splits(patient.train_loader, patient.val_loader, progress=False, **parts)
    return result


def _one_rate(optimizer: torch.optim.Optimizer | None) -> bool:
    """Whether one learning rate can stand for all parameter groups."""
    return optimizer is not None and len({float(g["lr"]) for g in optimizer.param_groups}) == 1


# overfit_subset is not here: it costs twice what overfit_one_batch does and tells nearly the same.
MENU: tuple[Test, ...] = (
    Test("initial_loss", _probe("check_initial_loss", reset=True), 8),
    Test("check_data", _check_data, 0),
    Test("compare_splits", _compare_splits, 10, ("val_loader",)),
    Test("eval_mode_gap", _probe("eval_mode_gap"), 200),
    Test("check_gradients", _probe("check_gradients"), 100),
    Test("gradient_noise_scale", _probe("gradient_noise_scale"), 70),
    Test("random_input", _probe("random_input_test", rate=True), 270),
    Test("shuffle_test", _probe("shuffle_test"), 320),
    Test("shuffled_label", _probe("shuffled_label_test", reset=True, rate=True, steps=40), 200),
    Test("lr_range_test", _probe("lr_range_test"), 180, ("optimizer",)),
    Test("lr_trial", _probe("lr_trial", steps=40), 215, ("optimizer",)),
    Test("resume_test", _probe("resume_test"), 20, ("optimizer",)),
    Test("curvature", _probe("curvature", batches=4), 350),
    Test("overfit_one_batch", _probe("overfit_one_batch", reset=True, rate=True, steps=100), 720),
)
