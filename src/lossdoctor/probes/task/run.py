"""Short trainings on a model: regularisation off, a fresh optimizer, losses that leave the device in chunks."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lossdoctor.core.errors import UsageError, UserCodeError
from lossdoctor.probes.subject import LossFn, Subject
from lossdoctor.torchkit.objective import unwrapped

CHUNK = 10  # steps between two looks at the losses: each is a wait for the device
_NORMS = (nn.modules.batchnorm._BatchNorm,)
_DROPOUTS = (nn.modules.dropout._DropoutNd,)


@dataclass(frozen=True)
class Course:
    """How a short training went.

    Attributes:
        losses: of every step, before its update.
        reached: the step at which the goal was reached, counted from 0; None where it was not.
        broken: what ended it early: ``""``, ``"non-finite"``, ``"diverged"`` or ``"detached"`` (the loss does not
            depend on any parameter).
    """

    losses: tuple[float, ...]
    reached: int | None = None
    broken: str = ""

    @property
    def best(self) -> float:
        """The lowest loss; NaN where there is none."""
        return min((v for v in self.losses if math.isfinite(v)), default=math.nan)


def quiet(model: nn.Module) -> None:
    """Training mode, without dropout of any kind; batch norm stays as in training. To be undone by the caller.

    Dropout whose rate is written into a ``forward`` of the user's cannot be seen.
    """
    model.train()
    for module in model.modules():
        if isinstance(module, _DROPOUTS):
            module.eval()
        for name, value in list(vars(module).items()):
            # Rates that attention, recurrent cells and transformers keep as numbers.
            if "drop" in name and isinstance(value, float) and 0 < value < 1:
                setattr(module, name, 0.0)


def unsmoothed(loss_fn: LossFn | None) -> LossFn | None:
    """The loss without its label smoothing, where it can be seen; a module is changed in place.

    >>> smooth = functools.partial(nn.functional.cross_entropy, label_smoothing=0.1)
    >>> unsmoothed(smooth).keywords
    {}
    """
    if isinstance(loss_fn, nn.CrossEntropyLoss):
        loss_fn.label_smoothing = 0.0
    if isinstance(loss_fn, functools.partial) and "label_smoothing" in loss_fn.keywords:
        kept = {k: v for k, v in loss_fn.keywords.items() if k != "label_smoothing"}
        return functools.partial(loss_fn.func, *loss_fn.args, **kept)
    return loss_fn


def peak_rate(group: dict[str, Any]) -> Any:
    """The rate a schedule starts from or climbs to: what it is right now may be 0, in a warmup or at the end."""
    return group.get("max_lr", group.get("initial_lr", group["lr"]))


def fresh(subject: Subject, rate: float | None, scale: float, *, decay: bool = False) -> torch.optim.Optimizer:
    """The run's optimizer as if it had just been made, at ``scale`` times its rate; Adam where there is none.

    It is the very object, so that its class, its groups and all its settings are as they are; the caller restores it.

    Args:
        subject: its optimizer may be None.
        rate: the rate in place of the optimizer's own; with several groups the largest becomes this.
        scale: factor on all rates.
        decay: whether weight decay stays on.

    Raises:
        UsageError: there is no optimizer, and nothing to give to one.
    """
    optimizer = subject.optimizer
    if optimizer is None:
        if not subject.parameters:
            raise UsageError("all parameters are frozen (requires_grad is False): there is nothing to train")
        optimizer = torch.optim.Adam(subject.parameters, lr=1e-3)
    optimizer.state.clear()
    for name in ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"):
        getattr(optimizer, name, {}).clear()  # a monitor that listens shall not hear of this
    rates = [peak_rate(g) for g in optimizer.param_groups]
    largest = max(float(r) for r in rates)
    for group, own in zip(optimizer.param_groups, rates, strict=True):
        factor = scale if rate is None else scale * rate / largest if largest else 0.0
        changed = own * factor if rate is None or largest else rate * scale
        group["lr"] = torch.as_tensor(changed) if isinstance(group["lr"], Tensor) else float(changed)
        if not decay and "weight_decay" in group:
            group["weight_decay"] = 0.0
    return optimizer


def train(
    subject: Subject,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Any],
    *,
    goal: float | None = None,
    window: int = 1,
    limit: float = math.inf,
    tell: Callable[[int], None] | None = None,
) -> Course:
    """One update per batch, until the mean loss of ``window`` steps is at or below the goal, or all is lost.

    Args:
        subject, optimizer: what is trained; its mode is the caller's affair.
        batches: one per step.
        goal: where to stop; None for never.
        window: steps of one pass, over which the loss is averaged against the goal.
        limit: a loss beyond which it has diverged.
        tell: called with the number of steps so far, now and then.

    Raises:
        UserCodeError: the model, the loss, or the pass back through them raised.
    """
    kept: list[float] = []
    waiting: list[Tensor] = []
    plain = unwrapped(subject.model)
    closure_needed = isinstance(optimizer, torch.optim.LBFGS)

    def ended() -> Course | None:
        kept.extend(torch.stack(waiting).double().tolist() if waiting else [])
        waiting.clear()
        return _judged(kept, goal, window, limit)

    with torch.enable_grad():
        for number, batch in enumerate(batches):

            def step(batch: Any = batch, number: int = number) -> Tensor:
                plain.zero_grad(set_to_none=True)
                optimizer.zero_grad(set_to_none=True)
                loss = subject.loss(batch, number)
                if loss.requires_grad:
                    _back(loss, number)
                return loss

            loss = step()
            waiting.append(loss.detach())
            if not loss.requires_grad:
                ended()
                return Course(tuple(kept), broken="detached")
            optimizer.step(step) if closure_needed else optimizer.step()  # type: ignore[arg-type]
            if len(waiting) >= CHUNK:
                if tell is not None:
                    tell(number + 1)
                if (course := ended()) is not None:
                    return course
    return ended() or Course(tuple(kept))


def _back(loss: Tensor, number: int) -> None:
    try:
        loss.backward()  # type: ignore[no-untyped-call]
    except Exception as error:
        raise UserCodeError(f"the pass back from the loss, on batch {number}", error) from error


def _judged(losses: list[float], goal: float | None, window: int, limit: float) -> Course | None:
    """The course, where the losses so far end it."""
    for at in range(max(len(losses) - CHUNK - window, 0), len(losses)):
        value = losses[at]
        if not math.isfinite(value):
            return Course(tuple(losses[: at + 1]), broken="non-finite")
        if value > limit:
            return Course(tuple(losses[: at + 1]), broken="diverged")
        # Whole windows only: of two halves of passes some examples are twice in the mean and others not at all.
        if goal is not None and (at + 1) % window == 0 and sum(losses[at + 1 - window : at + 1]) / window <= goal:
            return Course(tuple(losses[: at + 1]), reached=at)
    return None


def checked(name: str, value: Any, low: float, high: float, *, whole: bool = True, hint: str = "") -> None:
    """An option within its range.

    Raises:
        UsageError: it is not a number of that kind or not in the range.
    """
    kind = "a whole number" if whole else "a number"
    right = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not right or not low <= value <= high:
        upper = f" to {high:g}" if math.isfinite(high) else " upwards"
        more = f"; {hint}" if hint else ""
        raise UsageError(f"{name} is {value!r}; expected {kind} from {low:g}{upper}{more}")


def rates(optimizer: torch.optim.Optimizer) -> float:
    """The largest learning rate of its groups."""
    return max(float(group["lr"]) for group in optimizer.param_groups)


def outside(subject: Subject) -> tuple[str, ...]:
    """Names of trainable parameters that the optimizer does not have."""
    if subject.optimizer is None:
        return ()
    held = {id(p) for group in subject.optimizer.param_groups for p in group["params"]}
    named: Sequence[tuple[str, nn.Parameter]] = list(unwrapped(subject.model).named_parameters())
    return tuple(name for name, p in named if p.requires_grad and id(p) not in held)
