"""Do the labels matter? The true ones must be learned for unseen examples, shuffled ones cannot be."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lossdoctor.core.finding import Measurement
from lossdoctor.core.numbers import short
from lossdoctor.probes.batches import joined, split
from lossdoctor.probes.chart import Chart, Line, Mark
from lossdoctor.probes.progress import Progress, shown
from lossdoctor.probes.result import ProbeResult
from lossdoctor.probes.subject import LossFn, Subject
from lossdoctor.probes.task.arms import Arm, arm, around, divided, losses
from lossdoctor.probes.task.kind import identify
from lossdoctor.probes.task.levels import guess
from lossdoctor.probes.task.noise import Difference, above, paired
from lossdoctor.probes.task.reset import Reset, reinitialise
from lossdoctor.probes.task.run import checked, quiet
from lossdoctor.probes.task.task import seen

_SURE = 0.01  # chance below which a difference is taken to be there
_COUNTS = 0.01  # part of the loss of guessing below which a difference is of no use
_POWER = 0.05  # part of it that a comparison must be able to exclude before it says that there is nothing
_FASTER = 10.0  # times the rate, before labels are said to mean nothing: at too low a rate nothing is learned either
_QUICK = 0.02  # part of the loss of guessing that is left, where an answer was as good as given


@dataclass(frozen=True, kw_only=True)
class ShuffledLabelResult(ProbeResult):
    """How well unseen examples are answered after training on the true labels, and on shuffled ones.

    Attributes:
        gain: loss on unseen examples after shuffled labels minus that after the true ones, averaged over the
            training; positive where the true labels are learned.
        error: its standard error, from the shuffles among themselves.
        p: the chance of such a gain where labels mean nothing (one-sided t over the shuffles).
        steps_at: updates at which the unseen examples were evaluated, from 0.
        true: mean loss on unseen examples there, after the true labels.
        shuffled: the same after each shuffle.
        fitted: the training loss of the true labels at the end.
        guess: the loss of the best constant answer on the unseen examples; None where it cannot be told.
        held_out: how many parts the unseen examples were compared in.
        weights: ``"given"`` or ``"drawn anew"``.
    """

    test: ClassVar[str] = "shuffled_label"
    title: ClassVar[str] = "Do the labels matter"

    gain: float
    error: float
    p: float
    steps_at: tuple[int, ...]
    true: tuple[float, ...]
    shuffled: tuple[tuple[float, ...], ...]
    fitted: float
    guess: float | None
    held_out: int
    weights: str

    def charts(self) -> tuple[Chart, ...]:
        """The loss on unseen examples over the steps, for the true labels and for each shuffle."""
        others = tuple(
            Line(
                "shuffled labels" if i == 0 else f"shuffled labels, {i + 1}",
                list(self.steps_at[: len(v)]),
                list(v),
                "faint",
            )
            for i, v in enumerate(self.shuffled)
        )
        lines = (*others, Line("true labels", list(self.steps_at[: len(self.true)]), list(self.true)))
        marks = () if self.guess is None else (Mark(self.guess, "guessing", axis="y"),)
        return (Chart("Loss on examples that were not trained on", "step", "loss", lines=lines, marks=marks),)

    def rows(self) -> tuple[tuple[str, str], ...]:
        rows = [
            ("gain of the true labels", f"{short(self.gain)} ± {short(self.error)}"),
            ("training loss at the end", short(self.fitted)),
            ("shuffles", str(len(self.shuffled))),
            ("weights at the start", self.weights),
        ]
        if self.guess is not None:
            rows.insert(1, ("loss of guessing", short(self.guess)))
        return tuple(rows)


def shuffled_label_test(
    model: nn.Module,
    loss_fn: LossFn | None,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer | None = None,
    *,
    steps: int = 100,
    batches: int = 32,
    shuffles: int = 4,
    held_out: float = 0.25,
    lr: float | None = None,
    reset: Reset = False,
    seed: int = 0,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    progress: Progress | bool | None = None,
) -> ShuffledLabelResult:
    """Short trainings on the true labels and on shuffled ones, from the same weights, compared on unseen examples.

    A part of the batches is held out. Labels are permuted over all examples to train on (within a batch where batches
    differ in shape), anew for every shuffle. A network can learn shuffled labels by heart, but for examples that it
    has not seen they say nothing: where the true ones are no better, they say nothing either, or not to this model in
    these steps. Regularisation is off; a held-out loss is taken in evaluation mode.

    Where labels mean nothing, the training on the true ones is one more shuffle: their gain is judged against how far
    the shuffles lie apart, by a t-test for one further value.

    Args:
        model, loss_fn, loader, forward: see :class:`~lossdoctor.probes.subject.Subject`; batches must have a target.
        optimizer: that of the run; without one Adam at 1e-3 is taken.
        steps: updates of each training, 5 to 100,000.
        batches: how many of the loader are used, 2 to 100,000.
        shuffles: trainings on shuffled labels, 2 to 100; with 4, a gain must exceed 5 of their standard errors.
        held_out: share of the batches that is not trained on, 0.05 to 0.5.
        lr: the rate in place of the optimizer's own.
        reset: True starts from newly drawn weights, which trained weights need: they know the labels already.
        seed: of all that is random in it.
        progress: see :func:`~lossdoctor.probes.progress.shown`.

    Returns:
        The gain with its noise. Costs ``(1 + shuffles) * steps`` updates, and ``steps`` more before it says that labels
        mean nothing: a training at ten times the rate could learn nothing either.

    Raises:
        UsageError: an option out of its range, too few batches, or a model or loader that cannot be used.
        UserCodeError: the model, the loss or the loader raised.

    References:
        Zhang et al. 2017, Understanding deep learning requires rethinking generalization (randomization test).
        Ojala and Garriga 2010, Permutation tests for studying classifier performance.

    >>> _ = torch.manual_seed(0)
    >>> batches = [(x := torch.randn(16, 3), (x[:, 0] > 0).long()) for _ in range(8)]
    >>> model = nn.Linear(3, 2)
    >>> adam = torch.optim.Adam(model.parameters(), 0.05)
    >>> shuffled_label_test(model, nn.functional.cross_entropy, batches, adam, steps=40).outcome
    'passed'
    """
    checked("steps", steps, 5, 100_000)
    checked("batches", batches, 2, 100_000)
    checked("shuffles", shuffles, 2, 100, hint="each costs one short training")
    checked("held_out", held_out, 0.05, 0.5, whole=False)
    checked("seed", seed, 0, 2**63)
    if lr is not None:
        checked("lr", lr, 1e-30, 1e10, whole=False)
    began = time.perf_counter()
    subject = Subject(model, loss_fn, loader, optimizer, forward=forward)
    with subject.untouched(), shown(ShuffledLabelResult.title, progress) as tell:
        torch.manual_seed(seed)
        if reset:
            reinitialise(subject.model, reset)
        training, held = divided(subject.batches, batches, held_out)
        total = (1 + shuffles) * steps
        arms: list[Arm] = []
        samples = [training, *(relabelled(training, seed + 1 + i) for i in range(shuffles))]
        few = losses(subject, training[:4])
        if few == losses(subject, samples[1][:4]):
            return _unused(sum(few) / len(few), len(held), reset, time.perf_counter() - began)
        for number, sample in enumerate(samples):
            arms.append(
                arm(
                    subject,
                    around(sample, seed),
                    held,
                    steps=steps,
                    lr=lr,
                    seed=seed,
                    tell=lambda n, before=number * steps: tell(before + n, total),  # type: ignore[misc]
                )
            )
        quiet(subject.model)
        whats = [seen(subject, piece, i) for i, piece in enumerate(held)]
        task = identify(subject, whats[0])
        level = guess(task, whats).constant
        trained_level = guess(task, [seen(subject, piece, i) for i, piece in enumerate(training)]).constant
        result = _result(arms, (level, trained_level), len(held), reset)
        if result.outcome == "failed" and level is not None:
            faster = arm(subject, around(training, seed), held, steps=steps, lr=lr, scale=_FASTER, seed=seed)
            result = _confirmed(result, faster, level)
    return replace(result, seconds=time.perf_counter() - began)


def relabelled(batches: Sequence[Any], seed: int) -> list[Any]:
    """The same inputs with each other's targets: permuted over all of them, or within each where shapes differ.

    >>> made = relabelled([(torch.zeros(3), torch.tensor([1, 2, 3])), (torch.zeros(2), torch.tensor([4, 5]))], 0)
    >>> sorted(torch.cat([y for _, y in made]).tolist())
    [1, 2, 3, 4, 5]
    """
    generator = torch.Generator().manual_seed(seed)
    targets = [split(batch, number)[1] for number, batch in enumerate(batches)]
    if all(isinstance(t, Tensor) and t.dim() and t.shape[1:] == targets[0].shape[1:] for t in targets):
        every = torch.cat(targets)
        mixed = every[torch.randperm(len(every), generator=generator).to(every.device)]
        return [joined(b, target=t) for b, t in zip(batches, mixed.split([len(t) for t in targets]), strict=True)]  # type: ignore[no-untyped-call]
    return [joined(b, target=_permuted(t, generator)) for b, t in zip(batches, targets, strict=True)]


def _permuted(target: Any, generator: torch.Generator) -> Any:
    if isinstance(target, Tensor) and target.dim():
        return target[torch.randperm(len(target), generator=generator).to(target.device)]
    if isinstance(target, list | tuple):
        # One order for all parts of a target: they belong together.
        state = generator.get_state()
        parts = []
        for part in target:
            generator.set_state(state)
            parts.append(_permuted(part, generator))
        return type(target)(parts)
    return target


def _unused(loss: float, held: int, reset: Reset, seconds: float) -> ShuffledLabelResult:
    text = "The loss is the same with any labels: it does not use them (then this test says nothing), or they do not"
    return ShuffledLabelResult(
        outcome="unknown",
        verdict=f"{text} reach it.",
        causes={"loss-misused": 1.5},
        steps=8,
        seconds=seconds,
        gain=0.0,
        error=0.0,
        p=1.0,
        steps_at=(0,),
        true=(loss,),
        shuffled=(),
        fitted=loss,
        guess=None,
        held_out=held,
        weights="drawn anew" if reset else "given",
    )


def _fitted(true: Arm) -> float:
    last = [v for v in true.trained[-10:] if math.isfinite(v)]
    return sum(last) / len(last) if last else math.nan


def _result(arms: list[Arm], levels: tuple[float | None, float | None], held: int, reset: Reset) -> ShuffledLabelResult:
    (true, *others), level = arms, levels[0]
    gain = above(true.level, [a.level for a in others])
    better = paired(true.best, [level] * held) if level is not None else None
    fitted = _fitted(true)
    outcome, verdict, causes = _verdict(true, gain, better, levels, fitted)
    detail = {"p": gain.p, "true": true.level, "shuffles": len(others)}
    return ShuffledLabelResult(
        outcome=outcome,
        verdict=verdict,
        causes=causes,
        measurements=(Measurement("shuffled_label_gain", gain.mean, "loss", None, detail),),
        steps=sum(len(a.trained) for a in arms),
        gain=gain.mean,
        error=gain.error,
        p=gain.p,
        steps_at=max((a.steps for a in arms), key=len),
        true=true.curve,
        shuffled=tuple(a.curve for a in others),
        fitted=fitted,
        guess=level,
        held_out=held,
        weights="drawn anew" if reset else "given",
    )


def _confirmed(result: ShuffledLabelResult, faster: Arm, level: float) -> ShuffledLabelResult:
    """That labels say nothing, unless they do at a higher rate."""
    result = replace(result, steps=result.steps + len(faster.trained))
    better = paired(faster.best, [level] * len(faster.best))
    if faster.broken or not (better.p < _SURE and better.mean > _COUNTS * abs(level)):
        return result
    lowest = sum(faster.best) / len(faster.best)
    steps = f"{result.steps_at[-1]} steps"
    text = f"Cannot be told at this learning rate, at which nothing is learned in {steps}: at {_FASTER:g} times of it"
    text += f" the loss on unseen examples comes to {short(lowest)}, guessing {short(level)} ({better.in_words()}), so"
    text += " the labels do matter. Raise the rate, or give it more steps."
    causes = {"learning-rate-too-low": 3.0, "labels-uninformative": 0.1}
    return replace(result, outcome="unknown", verdict=text, causes=causes)


def _verdict(
    true: Arm, gain: Difference, better: Difference | None, levels: tuple[float | None, float | None], fitted: float
) -> tuple[str, str, dict[str, float]]:
    level, trained_level = levels  # of guessing: on unseen examples, and on those trained on
    steps = true.steps[-1]
    scale = abs(level) if level else abs(true.curve[0])
    if true.broken or not math.isfinite(gain.p):
        text = f"Cannot be told: the training on the true labels broke off ({true.broken or 'no finite loss'})."
        return "unknown", f"{text} Run lr_range_test first.", {"learning-rate-too-high": 2.0}
    lowest = sum(true.best) / len(true.best)
    seen_by = f"on unseen examples the loss comes to {short(lowest)} with the true labels"
    if gain.p < _SURE and gain.mean > _COUNTS * scale:
        causes = {"labels-uninformative": 0.05, "label-noise": 0.8}
        text = f"The labels matter: {seen_by}, and lies on average {short(gain.mean)} below that with shuffled ones"
        text += f" ({gain.in_words()})."
        first = true.curve[1] if len(true.curve) > 1 else math.inf
        if level and 0 <= first < _QUICK * level:
            text += f" After {true.steps[1]} steps the answers are almost perfect: is the answer among the inputs?"
            return "noted", text, {**causes, "data-leak": 2.0}
        return "passed", text, causes
    guessing = "" if level is None else f", guessing {short(level)}"
    if better is not None and better.p < _SURE and better.mean > _COUNTS * scale and gain.mean > 0:
        text = f"The labels matter: {seen_by}{guessing} ({better.in_words()}); the shuffles lie too far apart for more."
        return "passed", text, {"labels-uninformative": 0.2}
    bar = 1.1 * trained_level if trained_level is not None and trained_level > 0 else true.curve[0] - 0.05 * scale
    learned = fitted < bar
    if not learned:
        text = f"Cannot be told: in {steps} steps the training loss came only to {short(fitted)}{guessing}."
        return "unknown", f"{text} Give it more steps or another learning rate.", {"labels-uninformative": 1.2}
    if gain.upper < _POWER * scale:
        text = f"The labels say nothing that this model learns in {steps} steps: {seen_by}{guessing}, and with shuffled"
        text += f" ones no higher (difference {short(gain.mean)} ± {short(gain.error)}; training loss {short(fitted)})."
        causes = {"labels-uninformative": 8.0, "label-noise": 2.5, "inputs-unscaled": 1.5, "capacity-too-small": 1.3}
        more = " Look whether inputs and labels belong together (an order lost, a wrong column)."
        return "failed", text + more, causes
    text = f"Cannot be told: {seen_by}{guessing}; with shuffled ones it is {short(gain.mean)} ± {short(gain.error)}"
    return (
        "unknown",
        f"{text} higher, which may be chance. More batches or steps would tell.",
        {"labels-uninformative": 1.5},
    )
