"""The tests to choose from: what each needs, what it costs, and for which causes it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

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


@dataclass(frozen=True)
class Test:
    """One test on the menu.

    Attributes:
        name: of the vocabulary (:data:`lossdoctor.core.vocabulary.TESTS`), or of your own.
        run: does it.
        cost: steps or evaluations of a batch that it may take, at most about this.
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


def _probe(name: str, *, optimizer: bool = False, reset: bool = False, **options: Any) -> Callable[[Patient], Any]:
    """A test of :mod:`lossdoctor.probes` in its usual form; it is imported when it is run."""

    def run(patient: Patient) -> ProbeResult:
        from lossdoctor import probes

        arguments: list[Any] = [patient.model, patient.loss_fn, patient.train_loader]
        if optimizer:
            arguments.append(patient.optimizer)
        given = {"reset": patient.reset, **options} if reset else options
        result: ProbeResult = getattr(probes, name)(*arguments, forward=patient.forward, progress=False, **given)
        return result

    return run


# Costs are those of the tests' own defaults, at most.
MENU: tuple[Test, ...] = (
    Test("initial_loss", _probe("check_initial_loss", reset=True), 8),
    Test("check_gradients", _probe("check_gradients", optimizer=True), 6),
    Test("overfit_one_batch", _probe("overfit_one_batch", optimizer=True, reset=True), 900),
    Test("overfit_subset", _probe("overfit_subset", optimizer=True, reset=True), 1500),
    Test("lr_range_test", _probe("lr_range_test", optimizer=True), 180, ("optimizer",)),
    Test("curvature", _probe("curvature", optimizer=True), 600),
    Test("gradient_noise_scale", _probe("gradient_noise_scale", optimizer=True), 64),
)
