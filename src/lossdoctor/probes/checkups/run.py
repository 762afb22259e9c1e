"""All tests on one training, one after the other: each is guarded, one report comes out."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from lossdoctor.core.errors import LossdoctorError, UsageError, UserCodeError
from lossdoctor.probes.checkups.battery import TITLES, Exam, chosen
from lossdoctor.probes.checkups.blame import line_of
from lossdoctor.probes.checkups.report import CheckupError, CheckupReport, Skipped
from lossdoctor.probes.checkups.target import Target
from lossdoctor.probes.progress import Progress
from lossdoctor.probes.result import ProbeResult
from lossdoctor.torchkit.rng import RandomState

Told = Callable[[int, int, str], None]  # (tests done, of how many, what it is at)


def checkup(
    target: Any,
    *,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    budget: int | None = None,
    quick: bool = False,
    seed: int = 0,
    name: str = "",
    progress: Told | bool | None = None,
) -> CheckupReport:
    """Run the active tests on a training and say what they found.

    In this order: the loss at the start, overfitting one batch, whether input and labels matter, gradients, the data,
    training against validation, curvature, gradient noise, and the learning-rate range. One that fails is reported as
    an error, and the others go on. Nothing is changed: model, optimizer, scheduler and random generators are as before.

    Args:
        target: a :class:`~lossdoctor.probes.checkups.target.Target`, or any form that ``Target.of`` takes: a mapping
            with ``model``, ``loss_fn``, ``train`` and, where there are, ``val``, ``optimizer``, ``scheduler``,
            ``forward``; an object with such attributes; or a tuple ``(model, loss_fn, train[, val[, optimizer]])``.
        select: only these tests, by their words (``"initial_loss"``); ``"overfit_subset"`` is run only when selected.
        ignore: not these.
        budget: steps (optimizer steps and evaluations of a batch) that all tests may take together, at least 1; reading
            the data is not counted. Each test is run in full where what is left also suffices to run the later ones in
            short; else in short; else not.
        quick: all tests in short.
        seed: of the generators of Python, NumPy and torch before each test.
        name: what the report calls the target; by default the model's class.
        progress: called with (tests done, of how many, what it is at); False for silence; by default each test shows a
            bar on a terminal.

    Returns:
        A :class:`~lossdoctor.probes.checkups.report.CheckupReport`: results, errors, likeliest causes, next steps.

    Raises:
        UsageError: a target of another form, an unknown test, or a budget below 1.

    Cost: about 2,500 steps, 800 in short; the learning-rate range test needs an optimizer, the comparison of the splits
    needs ``val``.

    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(64, 5)
    >>> data = [(part, (part[:, :1] > 0).long()[:, 0]) for part in x.split(16)]
    >>> made = {"model": torch.nn.Linear(5, 2), "loss_fn": torch.nn.functional.cross_entropy, "train": data}
    >>> report = checkup(made, select=["initial_loss", "check_gradients"], progress=False)
    >>> report.status, [r.test for r in report.results]
    ('healthy', ['initial_loss', 'check_gradients'])
    """
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int) or budget < 1):
        raise UsageError(f"budget={budget!r}; expected a number of steps, at least 1, or None")
    exams = chosen(select, ignore)
    subject = Target.of(target)
    session = _Session(subject, exams, budget, quick, seed, progress)
    before = RandomState.take()
    try:
        session.run()
    finally:
        before.restore()
    return CheckupReport(
        target=name or type(subject.model).__name__,
        results=tuple(session.results),
        errors=tuple(session.errors),
        skipped=tuple(session.skipped),
        facts=subject.facts(),
        seed=seed,
        titles=TITLES,
    )


def sown(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch; raises UsageError on a number that one of them refuses."""
    if not 0 <= seed < 2**32:
        raise UsageError(f"the seed is {seed}; give a whole number from 0 to {2**32 - 1:,}")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class _Session:
    """One checkup while it goes on."""

    def __init__(
        self,
        target: Target,
        exams: Sequence[Exam],
        budget: int | None,
        quick: bool,
        seed: int,
        progress: Told | bool | None,
    ) -> None:
        self.target, self.exams, self.quick, self.seed = target, exams, quick, seed
        self.progress = progress
        self.left = budget
        self.results: list[ProbeResult] = []
        self.errors: list[CheckupError] = []
        self.skipped: list[Skipped] = []

    def run(self) -> None:
        """All tests, each guarded."""
        for number, exam in enumerate(self.exams):
            why = exam.lacks(self.target) or self._too_dear(exam)
            if why:
                self.skipped.append(Skipped(exam.test, why))
                continue
            self._run_one(exam, number)

    def _too_dear(self, exam: Exam) -> str:
        if self.left is None or self.left >= exam.quick_cost:
            return ""
        return f"it takes about {exam.quick_cost:,} steps in short, and {max(self.left, 0):,} are left of the budget"

    def _short(self, exam: Exam, number: int) -> bool:
        """Whether a test has to be short: the budget must also suffice for the later ones in short."""
        if self.quick or self.left is None:
            return self.quick
        later = sum(e.quick_cost for e in self.exams[number + 1 :] if not e.lacks(self.target))
        return self.left - exam.cost < later

    def _run_one(self, exam: Exam, number: int) -> None:
        sown(self.seed)
        try:
            result = exam.run(
                self.target, quick=self._short(exam, number), seed=self.seed, progress=self._told(exam, number)
            )
        except UserCodeError as error:
            self.errors.append(CheckupError(exam.test, str(error), line_of(error.__cause__ or error)))
        except LossdoctorError as error:
            self.errors.append(CheckupError(exam.test, str(error)))
        except Exception as error:
            if os.environ.get("LOSSDOCTOR_RAISE"):
                raise
            kind = f"{type(error).__name__}: {error}"
            text = f"the test itself failed ({kind}); please report this with the traceback of lossdoctor.probes"
            self.errors.append(CheckupError(exam.test, f"{text}.{exam.function}", line_of(error)))
        else:
            self.results.append(result)
            if self.left is not None and exam.cost:
                self.left -= result.steps

    def _told(self, exam: Exam, number: int) -> Progress | bool | None:
        """Where one test reports to."""
        tell = self.progress
        if tell is None or isinstance(tell, bool):
            return tell
        tell(number, len(self.exams), exam.title)
        return lambda done, total: tell(number, len(self.exams), f"{exam.title} {done:,} of {total:,}")
