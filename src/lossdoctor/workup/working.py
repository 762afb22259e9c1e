"""The work-up: the test that tells most for its cost comes next, until one cause stands out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from lossdoctor.core.context import RunContext
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.errors import UsageError
from lossdoctor.core.finding import Measurement
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.numbers import percent
from lossdoctor.engine import diagnose
from lossdoctor.probes.progress import Progress, shown
from lossdoctor.probes.subject import Subject
from lossdoctor.workup.beliefs import information, prior, ranked, stands_out, updated
from lossdoctor.workup.chain import LEAST_BITS, Step, Untried, WorkUp, counted
from lossdoctor.workup.cures import actions_for
from lossdoctor.workup.experience import Experience, experience
from lossdoctor.workup.menu import MENU, Patient, Test

SURE = 0.8
AHEAD = 3.0
_NOBODY = nn.LayerNorm(1)  # stands for the model where only a loader is to be guarded
OVERHEAD = 10  # steps that every test costs beside its own: to set up, and to read


def workup(
    history: TrainingHistory,
    model: nn.Module,
    loss_fn: Callable[..., Any] | None,
    train_loader: Iterable[Any],
    val_loader: Iterable[Any] | None = None,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    budget: int = 2000,
    reset: bool | Callable[[nn.Module], object] = True,
    context: RunContext | None = None,
    sure: float = SURE,
    ahead: float = AHEAD,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    tests: Sequence[Test] | None = None,
    learned: Experience | None = None,
    progress: Progress | bool | None = None,
) -> WorkUp:
    """Why a run goes wrong: the cheapest discriminating test next, until one cause stands out.

    The causes of the diagnosis are the prior, with mass kept for those that it does not name. For each test it is known
    how it came out for runs of known cause (:mod:`lossdoctor.workup.experience`), hence how much it is expected to tell
    (mutual information, in bits); the one with the most bits per step is run, and the causes are weighed anew by Bayes'
    rule. Nothing of the model, the optimizer and the loaders is changed: they come back bit for bit.

    Args:
        history: the logged run.
        model, loss_fn, train_loader: of that run, as for every test of :mod:`lossdoctor.probes`; the model as it is at
            the end of the log, or freshly made.
        val_loader, optimizer: some tests need them; those that cannot be run without are named in the result.
        budget: steps, or evaluations of a batch, that all tests together may take; reading the data is not counted.
        reset: how tests of the untrained model get it: True asks its modules, a function of the model does it, False
            where the model given is untrained.
        context: facts that the log does not hold.
        sure, ahead: a cause stands out from the share ``sure`` on (0 to 1), if that is ``ahead`` times the second's.
        forward: ``forward(model, batch)`` -> loss, in place of the loss function.
        tests: the menu; by default all of :mod:`lossdoctor.probes`.
        learned: what is known of the tests; by default what was fitted on the clinic.
        progress: see :func:`lossdoctor.probes.progress.shown`.

    Returns:
        A :class:`~lossdoctor.workup.chain.WorkUp`; ``print(result.chain())`` is the reasoning. A test that raises is in
        it with its error, and the others go on. What was measured has been judged by the rules: ``result.diagnosis``.

    Raises:
        UsageError: no model, a loader that can be read only once, options out of range.

    Cost: two diagnoses, a copy of the model and its optimizer for each test, and the tests: of runs of the clinic a
    median of 500 steps.

    >>> _ = torch.manual_seed(0)
    >>> batches = [(torch.randn(16, 4), torch.randint(0, 2, (16,))) for _ in range(8)]
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).requires_grad_(False)
    >>> history = TrainingHistory(loss=[0.70 + 0.01 * (-1) ** step for step in range(100)])
    >>> result = workup(history, model, nn.functional.cross_entropy, batches, budget=200, progress=False)
    >>> result.cause
    'frozen-or-detached'
    """
    started = time.perf_counter()
    if budget < 1:
        raise UsageError(f"budget is {budget}; expected a number of steps, at least 1")
    if not 0.0 < sure < 1.0 or ahead < 1.0:
        raise UsageError(f"sure is {sure} and ahead is {ahead}; expected 0 < sure < 1 and ahead >= 1")
    before = diagnose(history, context)
    patient = Patient(model, loss_fn, train_loader, before, val_loader, optimizer, forward, reset)
    known = experience() if learned is None else learned
    work = _Work(patient, list(MENU if tests is None else tests), known, budget)
    with shown("work-up", progress) as tell:
        while (stopped := work.finished(sure, ahead)) is None:
            work.take(*work.next())
            tell(min(work.spent, budget), budget)
    measured = tuple(m for s in work.chain if s.result is not None for m in s.result.measurements)
    return _result(work, stopped, sure, ahead, measured, diagnose(history, context, measured), started)


@dataclass
class _Work:
    """A work-up in progress."""

    patient: Patient
    menu: list[Test]
    known: Experience
    budget: int
    chain: list[Step] = field(default_factory=list)
    spent: int = 0

    def __post_init__(self) -> None:
        # Whatever a test of somebody else's leaves behind is undone before the next one.
        p = self.patient
        self._subject = Subject(p.model, p.loss_fn, p.train_loader, p.optimizer, forward=p.forward)
        self._aside = None if p.val_loader is None else Subject(_NOBODY, None, p.val_loader)
        self.prior = prior(p.diagnosis)
        self.shares = self.prior

    def left(self) -> list[tuple[Test, float, str]]:
        """Tests that were not run: (test, bits that it is expected to tell, why it cannot be run; empty if it can)."""
        done = {s.test for s in self.chain}
        return [(t, self.bits(t), self._hindrance(t)) for t in self.menu if t.name not in done]

    def bits(self, test: Test) -> float:
        return information(self.shares, self.known.table(test.name, test.made_for))

    def cost(self, test: Test) -> int:
        """What it is expected to take: as on the clinic, if that is known and less than it may take."""
        record = self.known.records.get(test.name)
        return test.cost if record is None or not record.steps else min(test.cost, record.steps)

    def _hindrance(self, test: Test) -> str:
        lacks = test.lacks(self.patient)
        if lacks:
            return f"it needs {' and '.join(f'{name}=' for name in lacks)}"
        over = test.cost > self.budget - self.spent
        return f"it may take {test.cost:,} steps, more than is left of the budget" if over else ""

    def finished(self, sure: float, ahead: float) -> str | None:
        """Why to stop; None to go on."""
        first, share = ranked(self.shares)[0]
        if stands_out(self.shares, sure, ahead):
            return f"{first} stands out ({percent(share)})"
        telling = [why for _, bits, why in self.left() if bits >= LEAST_BITS]
        if not telling:
            return "no test that is left is expected to tell more"
        if all(telling):
            spent = any("budget" in why for why in telling)
            return "the budget is spent" if spent else "what is left to test needs more than was given"
        return None

    def next(self) -> tuple[Test, float, str]:
        """The test that tells most for its cost, what it is expected to tell, and the choice in words."""
        able = [(t, bits) for t, bits, why in self.left() if not why and bits >= LEAST_BITS]
        by_value = sorted(able, key=lambda pair: -pair[1] / (self.cost(pair[0]) + OVERHEAD))
        test, bits = by_value[0]
        price = f"about {self.cost(test):,} steps" if test.cost else "reading the data"
        why = f"expected to tell {bits:.2f} bits for {price}"
        if len(by_value) > 1:
            second, others = by_value[1]
            why += f", the most for its cost (next {second.name}: {others:.2f} for {self.cost(second):,})"
        return test, bits, why

    def take(self, test: Test, bits: float, why: str) -> None:
        """Run a test and weigh the causes by what it says."""
        allowed = self.cost(test)
        try:
            with self._untouched():
                result = test.run(self.patient)
        except Exception as error:
            text = f"{type(error).__name__}: {str(error).strip() or 'no message'}"
            text = text if text.endswith((".", "!", "?")) else f"{text}."
            self.chain.append(Step(test.name, why, bits, allowed, self.shares, self.shares, error=text))
            return
        likelihoods = self.known.likelihoods(test.name, result)
        after = updated(self.shares, likelihoods)
        counted = result.steps if test.cost else 0
        self.chain.append(Step(test.name, why, bits, allowed, self.shares, after, result, "", likelihoods, counted))
        self.shares = after
        self.spent += counted

    @contextmanager
    def _untouched(self) -> Iterator[None]:
        with self._subject.untouched():
            if self._aside is None:
                yield
            else:
                with self._aside.untouched():
                    yield


def _result(
    work: _Work,
    stopped: str,
    sure: float,
    ahead: float,
    measured: tuple[Measurement, ...],
    diagnosis: Diagnosis,
    started: float,
) -> WorkUp:
    first, share = ranked(work.shares)[0]
    cause = first if stands_out(work.shares, sure, ahead) else None
    actions = actions_for(first, diagnosis)
    untried = [Untried(t.name, why or "it is not expected to tell more", bits) for t, bits, why in work.left()]
    return WorkUp(
        outcome="unknown" if cause is None else "passed" if cause == "normal" else "failed",
        verdict=_verdict(work, cause, first, share, stopped),
        measurements=measured,
        causes={c: q / work.prior[c] for c, q in work.shares.items()},
        steps=work.spent,
        seconds=time.perf_counter() - started,
        cause=cause,
        prior=work.prior,
        posterior=work.shares,
        tests=tuple(work.chain),
        untried=tuple(sorted(untried, key=lambda u: -u.bits)),
        stopped=stopped,
        actions=actions,
        before=work.patient.diagnosis,
        diagnosis=diagnosis,
        budget=work.budget,
    )


def _verdict(work: _Work, cause: str | None, first: str, share: float, stopped: str) -> str:
    cost = f"after {counted(len(work.chain), 'test')} of {counted(work.spent, 'step')}"
    was = f"before {percent(work.prior[first])}"
    if cause == "normal":
        return f"Nothing seems wrong ({percent(share)}, {was}) {cost}."
    if cause is not None:
        return f"The cause is most likely {cause} ({percent(share)}, {was}) {cost}."
    second, other = ranked(work.shares)[1]
    return f"No cause stands out {cost}: {first} {percent(share)} ({was}), {second} {percent(other)}; {stopped}."
