"""The tests of a checkup in their order: what each needs, what it costs, and how it is run in short."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lossdoctor.core.errors import UsageError, nearest
from lossdoctor.probes.progress import Progress
from lossdoctor.probes.result import ProbeResult

if TYPE_CHECKING:  # the list alone, for messages and completion, needs no torch
    import torch

    from lossdoctor.probes.checkups.target import Target


@dataclass(frozen=True)
class Exam:
    """One test of the battery.

    Attributes:
        test: its word in the vocabulary.
        title: for people, also where it gave no result.
        function: its name in :mod:`lossdoctor.probes`.
        cost: steps that it takes at most, about, with its own options; ``quick_cost`` with those of ``quick``. 0 of one
            that only reads the data, which no budget counts.
        quick: options that make it short.
        needs: the parts of the target that it cannot do without.
        asked: whether it is only run when asked for, by ``select``.
    """

    test: str
    title: str
    function: str
    cost: int
    quick_cost: int
    quick: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    asked: bool = False

    def lacks(self, target: Target) -> str:
        """Why it cannot be run on a target; empty where it can."""
        missing = next((need for need in self.needs if getattr(target, need) is None), None)
        return "" if missing is None else f"there is no {missing!r} in what was given"

    def run(self, target: Target, *, quick: bool, seed: int, progress: Progress | bool | None) -> ProbeResult:
        """Run it on a target."""
        from lossdoctor import probes

        function: Callable[..., ProbeResult] = getattr(probes, self.function)
        options: dict[str, Any] = {"progress": progress, **(self.quick if quick else {})}
        takes = inspect.signature(function).parameters
        options |= {k: v for k, v in _offered(target, seed).items() if k in takes and v is not None}
        if self.test == "check_data":
            return function(target.train, val=target.val, lr=_plain_rate(target.optimizer), **options)
        if self.test == "compare_splits":
            return function(target.train, target.val, model=target.model, loss_fn=target.loss_fn, **options)
        return function(target.model, target.loss_fn, target.train, **options)


def _offered(target: Target, seed: int) -> dict[str, Any]:
    return {"optimizer": target.optimizer, "forward": target.forward, "scheduler": target.scheduler, "seed": seed}


def _plain_rate(optimizer: torch.optim.Optimizer | None) -> float | None:
    """The rate of SGD, by which the scale of inputs is judged; with momentum β it is stable up to 1 + β times it."""
    import torch

    if type(optimizer) is not torch.optim.SGD:
        return None
    rate = max(float(g["lr"]) / (1.0 + float(g["momentum"])) for g in optimizer.param_groups)
    return rate if rate > 0 else None


BATTERY: tuple[Exam, ...] = (
    Exam("initial_loss", "Loss at the start", "check_initial_loss", 8, 3, {"batches": 3}),
    Exam("overfit_one_batch", "Overfit one batch", "overfit_one_batch", 900, 300, {"steps": 100}),
    Exam("overfit_subset", "Overfit a subset", "overfit_subset", 1500, 600, {"n": 50, "steps": 200}, asked=True),
    Exam("random_input", "Does the input matter", "random_input_test", 400, 120, {"batches": 8, "steps": 40}),
    Exam("shuffled_label", "Do the labels matter", "shuffled_label_test", 600, 200, {"steps": 40, "shuffles": 3}),
    Exam("check_gradients", "Gradients", "check_gradients", 20, 8, {"batches": 3}),
    Exam("check_data", "Data", "check_data", 0, 0, {"max_examples": 5_000}),
    Exam("compare_splits", "Training and validation", "compare_splits", 100, 20, {"max_examples": 2_000}, ("val",)),
    Exam("curvature", "Curvature", "curvature", 600, 150, {"batches": 2, "trace_probes": 2}),
    Exam("gradient_noise_scale", "Gradient noise", "gradient_noise_scale", 64, 32, {"batches": 32}),
    Exam("lr_range_test", "Learning-rate range test", "lr_range_test", 180, 90, {"steps": 90}, needs=("optimizer",)),
)
TITLES: Mapping[str, str] = {exam.test: exam.title for exam in BATTERY}


def chosen(select: Iterable[str], ignore: Iterable[str]) -> tuple[Exam, ...]:
    """The tests to run, in the battery's order.

    Raises:
        UsageError: an unknown test, or none is left.

    >>> [exam.test for exam in chosen(["curvature", "initial_loss"], ["curvature"])]
    ['initial_loss']
    """
    wanted, unwanted = _words(select), _words(ignore)
    exams = tuple(
        exam for exam in BATTERY if exam.test not in unwanted and (exam.test in wanted if wanted else not exam.asked)
    )
    if not exams:
        raise UsageError("no test is left to run: what is selected is also ignored")
    return exams


def _words(given: Iterable[str]) -> tuple[str, ...]:
    words = tuple(word.strip().replace("-", "_") for word in ([given] if isinstance(given, str) else given))
    unknown = next((word for word in words if word not in TITLES), None)
    if unknown is not None:
        raise UsageError(f"unknown test {unknown!r}; tests are {', '.join(TITLES)}{nearest(unknown, TITLES)}")
    return words
