"""Does the input matter? With inputs that are not its own, an example must be answered worse."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lossdoctor.core.errors import UsageError
from lossdoctor.core.finding import Measurement
from lossdoctor.core.numbers import short
from lossdoctor.probes.batches import described, joined, mapped, split, tensors
from lossdoctor.probes.chart import Chart, Line, Mark
from lossdoctor.probes.progress import Progress, shown
from lossdoctor.probes.relevance.inputs_verdict import Compared, judged
from lossdoctor.probes.result import ProbeResult
from lossdoctor.probes.subject import LossFn, Subject
from lossdoctor.probes.task.arms import arm, around, divided, losses, parts
from lossdoctor.probes.task.examples import rows
from lossdoctor.probes.task.kind import identify
from lossdoctor.probes.task.levels import guess
from lossdoctor.probes.task.noise import paired
from lossdoctor.probes.task.reset import Reset, reinitialise
from lossdoctor.probes.task.run import checked, quiet
from lossdoctor.probes.task.task import seen

_FORM = ("mask", "position", "type", "length")  # what mappings call inputs that say how to read the others


@dataclass(frozen=True, kw_only=True)
class RandomInputResult(ProbeResult):
    """The loss with the examples' own inputs, with those of others, and with noise.

    Attributes:
        used: True; False; None where it could not be told.
        real: the mean loss with the own inputs.
        swapped: with the inputs of another example of the batch.
        noise: with noise of the same mean and spread per feature; tokens are drawn anew from those of the batch.
        p: the chance that the loss rises so much with swapped inputs where they do not matter (paired, one-sided).
        response: how much the outputs change with swapped inputs, against their size; 0 where they do not change at
            all, None where outputs are no tensor.
        steps_at: updates at which the short trainings were evaluated; empty where they were not needed.
        trained_real: loss on unseen examples there, after training with the own inputs.
        trained_random: the same after training, and evaluating, with random ones.
        trained_p: the chance of their difference where inputs do not matter.
        guess: the loss of the best constant answer; None where it cannot be told.
        parts: parts of batches that were compared.
    """

    test: ClassVar[str] = "random_input"
    title: ClassVar[str] = "Does the input matter"

    used: bool | None
    real: float
    swapped: float
    noise: float
    p: float
    response: float | None
    steps_at: tuple[int, ...] = ()
    trained_real: tuple[float, ...] = ()
    trained_random: tuple[float, ...] = ()
    trained_p: float | None = None
    guess: float | None = None
    parts: int = 0

    def charts(self) -> tuple[Chart, ...]:
        """The losses side by side, and the short trainings where there were any."""
        bars = (("own inputs", self.real), ("inputs of other examples", self.swapped), ("noise", self.noise))
        made = [Chart("Loss by what goes in", "loss", bars=tuple((n, v) for n, v in bars if math.isfinite(v)))]
        if self.steps_at:
            pairs = (("own inputs", self.trained_real), ("random inputs", self.trained_random))
            lines = tuple(Line(name, list(self.steps_at[: len(v)]), list(v)) for name, v in pairs)
            marks = () if self.guess is None else (Mark(self.guess, "guessing", axis="y"),)
            made.append(Chart("Loss on unseen examples, trained on", "step", "loss", lines=lines, marks=marks))
        return tuple(made)

    def rows(self) -> tuple[tuple[str, str], ...]:
        rows = [
            ("loss with the own inputs", short(self.real)),
            ("with those of others", short(self.swapped)),
            ("with noise", short(self.noise)),
        ]
        if self.response is not None:
            rows.append(("change of the outputs", short(self.response)))
        if self.trained_real:
            rows.append((f"after {self.steps_at[-1]} steps", short(self.trained_real[-1])))
            rows.append(("the same on random inputs", short(self.trained_random[-1])))
        if self.guess is not None:
            rows.append(("loss of guessing", short(self.guess)))
        return tuple(rows)


def random_input_test(
    model: nn.Module,
    loss_fn: LossFn | None,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer | None = None,
    *,
    batches: int = 16,
    steps: int = 100,
    lr: float | None = None,
    reset: Reset = False,
    seed: int = 0,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    progress: Progress | bool | None = None,
) -> RandomInputResult:
    """The loss with inputs that are not the example's own: those of others in the batch, and noise.

    Of a trained model it must rise. Where it does not, as of an untrained one, two short trainings from the same
    weights follow, one on the own inputs and one on random ones, compared on unseen examples: what helps with the own
    inputs only comes from them. All comparisons are paired, part by part of the batches.

    Args:
        model, loss_fn, loader, forward: see :class:`~lossdoctor.probes.subject.Subject`; batches must have a target.
        optimizer: that of the run, for the short trainings; without one Adam at 1e-3 is taken.
        batches: how many of the loader are used, 2 to 100,000.
        steps: updates of each short training, 0 to 100,000; 0 for none.
        lr: the rate in place of the optimizer's own.
        reset: True starts from newly drawn weights; a function initialises the model in place.
        seed: of all that is random in it.
        progress: see :func:`~lossdoctor.probes.progress.shown`.

    Returns:
        The losses with their noise. Costs three evaluations of each batch, and ``2 * steps`` updates where needed.

    Raises:
        UsageError: an option out of its range, examples that cannot be told apart, or a model or loader that cannot
            be used.
        UserCodeError: the model, the loss or the loader raised.

    References:
        Karpathy 2019, A Recipe for Training Neural Networks ("input-independent baseline").

    >>> _ = torch.manual_seed(0)
    >>> batches = [(x := torch.randn(16, 3), x.sum(1, keepdim=True)) for _ in range(8)]
    >>> model = nn.Linear(3, 1)
    >>> adam = torch.optim.Adam(model.parameters(), 0.05)
    >>> random_input_test(model, nn.functional.mse_loss, batches, adam).used
    True
    """
    checked("batches", batches, 2, 100_000)
    checked("steps", steps, 0, 100_000, hint="0 leaves the short trainings out")
    checked("seed", seed, 0, 2**63)
    if lr is not None:
        checked("lr", lr, 1e-30, 1e10, whole=False)
    began = time.perf_counter()
    subject = Subject(model, loss_fn, loader, optimizer, forward=forward)
    with subject.untouched(), shown(RandomInputResult.title, progress) as tell:
        torch.manual_seed(seed)
        if reset:
            reinitialise(subject.model, reset)
        found = _compared(subject, subject.batches.take(batches), seed)
        more = not found.told and steps > 0 and found.finite
        tell(found.spent, found.spent + (2 * steps if more else 0))
        if more:
            _train_both(subject, found, batches, steps, lr, seed, tell)
        told = judged(found)
    detail = {"p": found.difference.p, "real": found.real, "noise": found.noise}
    return RandomInputResult(
        **told,
        measurements=(Measurement("random_input_gap", found.swapped - found.real, "loss", None, detail),),
        steps=found.spent,
        seconds=time.perf_counter() - began,
        real=found.real,
        swapped=found.swapped,
        noise=found.noise,
        p=found.difference.p,
        response=found.response,
        steps_at=() if found.own is None else found.own.steps,
        trained_real=() if found.own is None else found.own.curve,
        trained_random=() if found.random is None else found.random.curve,
        trained_p=None if found.trained is None else found.trained.p,
        guess=found.guess,
        parts=found.difference.count,
    )


def _compared(subject: Subject, batches: list[Any], seed: int) -> Compared:
    """The weights as they are, on each part of the batches: own inputs, those of others, noise."""
    pieces = parts(batches)
    for number, piece in enumerate(pieces):
        if (rows(piece) or 0) < 2:
            raise UsageError(
                f"batch {number} is {described(piece)}: its examples cannot be told apart, or it has only one; random"
                " inputs need batches of at least 2, with the examples in the first dimension"
            )
    generator = torch.Generator().manual_seed(seed)
    others = [swapped(piece, generator) for piece in pieces]
    real = losses(subject, pieces)
    quiet(subject.model)
    whats = [seen(subject, piece, i) for i, piece in enumerate(pieces)]
    subject.model.eval()
    return Compared(
        real_losses=real,
        swapped_losses=losses(subject, others),
        noise_losses=losses(subject, [noisy(piece, generator) for piece in pieces]),
        response=_response(subject, pieces[0], others[0]),
        guess=guess(identify(subject, whats[0]), whats).constant,
        spent=4 * len(pieces),
    )


def _train_both(
    subject: Subject, found: Compared, batches: int, steps: int, lr: float | None, seed: int, tell: Progress
) -> None:
    """From the same weights, in the same order: on the own inputs, and on noise that is new at every step."""
    training, held = divided(subject.batches, batches, 0.25)
    generator = torch.Generator().manual_seed(seed + 1)
    order = around(training, seed)

    def random() -> Iterator[Any]:
        return (noisy(batch, generator) for batch in order())

    before, total = found.spent, found.spent + 2 * steps
    blind = [noisy(piece, generator) for piece in held]
    found.own = arm(subject, order, held, steps=steps, lr=lr, seed=seed, tell=lambda n: tell(before + n, total))
    found.random = arm(
        subject, random, blind, steps=steps, lr=lr, seed=seed, tell=lambda n: tell(before + steps + n, total)
    )
    found.trained = paired(found.own.best, found.random.best)
    found.spent += len(found.own.trained) + len(found.random.trained)


def swapped(batch: Any, generator: torch.Generator) -> Any:
    """Every example with the inputs of another one of the batch.

    >>> x, y = swapped((torch.arange(3), torch.arange(3)), torch.Generator().manual_seed(0))
    >>> bool((x != y).all())
    True
    """
    size = rows(batch) or 2
    order = torch.randperm(size, generator=generator)
    # Along one random circle nobody keeps their own.
    target = torch.empty_like(order)
    target[order] = order.roll(1)
    return joined(batch, mapped(split(batch)[0], lambda t: t[target.to(t.device)] if t.dim() else t))


def noisy(batch: Any, generator: torch.Generator) -> Any:
    """Noise in place of the inputs: numbers of the same mean and spread per feature; whole numbers are drawn anew from
    those of the batch. Masks, positions and the like of a mapping stay."""
    inputs = split(batch)[0]
    if isinstance(inputs, Mapping):
        return joined(batch, {k: v if _is_form(k) else _noise(v, generator) for k, v in inputs.items()})
    return joined(batch, _noise(inputs, generator))


def _is_form(name: Any) -> bool:
    return isinstance(name, str) and any(word in name for word in _FORM)


def _noise(value: Any, generator: torch.Generator) -> Any:
    def drawn(t: Tensor) -> Tensor:
        if not t.dim() or not t.numel():
            return t
        if t.is_floating_point():
            spread = t.std(0, keepdim=True, unbiased=False)
            # Made on the CPU: the same numbers on every device.
            return t.mean(0, keepdim=True) + spread * torch.randn(t.shape, generator=generator, dtype=torch.float32).to(
                t
            )
        flat = t.reshape(-1)
        return flat[torch.randint(len(flat), (len(flat),), generator=generator).to(t.device)].reshape(t.shape)

    return mapped(value, drawn)


@torch.no_grad()
def _response(subject: Subject, piece: Any, other: Any) -> float | None:
    """How far the outputs move when the inputs are swapped, against their size."""
    if subject.forward is not None:
        return None
    pair: Sequence[list[Tensor]] = [tensors(subject.output(b)) for b in (piece, other)]
    first = next(((a, b) for a, b in zip(*pair, strict=False) if a.is_floating_point() and a.numel() > 1), None)
    if first is None:
        return None
    own, theirs = (t.double() for t in first)
    size = float(own.square().mean().sqrt())
    return float((own - theirs).square().mean().sqrt()) / size if size > 0 else 0.0
