"""How sure a validation loss is: its standard error, from the losses of single examples or from their number."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lossdoctor.probes.data.table import Table

_EXAMPLES = 2000  # whose losses are taken one by one


@dataclass(frozen=True, kw_only=True)
class Sureness:
    """What the size of the validation part allows to tell.

    Attributes:
        examples: all that it holds.
        accuracy_error: standard error of an accuracy of one half, the largest there is: 0.5 / sqrt(n); NaN for numbers.
        loss: mean loss of the model on it; NaN where no model was given.
        loss_error: standard error of that mean; NaN likewise.
        relative_error: standard error of the loss over the loss; without a model that of a mean squared error with
            normal residuals, sqrt(2 / n); NaN for classes without a model.
        measured_on: examples whose losses were taken.
    """

    examples: int
    accuracy_error: float
    loss: float = math.nan
    loss_error: float = math.nan
    relative_error: float = math.nan
    measured_on: int = 0

    @property
    def grade(self) -> str:
        """``"tiny"``, ``"small"``, ``"coarse"`` or ``"fine"``: the worse by its number and by the loss measured on it.

        The number counts beside the measured error since an untrained model's losses are all alike.
        """
        grades = ("fine", "coarse", "small", "tiny")
        by_count = sum(self.examples < limit for limit in (250, 100, 50))
        by_loss = (
            sum(self.relative_error > limit for limit in (0.04, 0.1, 0.25)) if math.isfinite(self.loss_error) else 0
        )
        return grades[max(by_count, by_loss)]


def sureness(val: Table, data: Any, model: Any, loss_fn: Callable[..., Any] | None, forward: Any) -> Sureness:
    """The standard error that the validation part gives a loss, measured where a model is given."""
    count = max(val.total or 0, val.examples)
    classified = val.target is None or val.target.kind != "numbers"
    accuracy_error = 0.5 / math.sqrt(count) if classified else math.nan
    if model is None:
        relative = math.nan if classified else math.sqrt(2.0 / count)
        return Sureness(examples=count, accuracy_error=accuracy_error, relative_error=relative)
    losses = _losses(model, loss_fn, data, forward)
    n = len(losses)
    mean = sum(losses) / n
    variance = sum((v - mean) ** 2 for v in losses) / max(1, n - 1)
    error = math.sqrt(variance / max(n, count)) if n > 1 else math.nan
    return Sureness(
        examples=count,
        accuracy_error=accuracy_error,
        loss=mean,
        loss_error=error,
        relative_error=error / abs(mean) if mean else math.nan,
        measured_on=n,
    )


def _losses(model: Any, loss_fn: Callable[..., Any] | None, data: Any, forward: Any) -> list[float]:
    """Losses of single examples, in evaluation mode; the model is untouched."""
    import torch

    from lossdoctor.probes.subject import Subject

    subject = Subject(model, loss_fn, _batched(data), forward=forward)
    held: list[torch.Tensor] = []
    with subject.untouched(), torch.no_grad():
        model.eval()
        for number, batch in enumerate(subject.batches):
            held += _of_batch(subject, batch, number, _EXAMPLES - len(held))
            if len(held) >= _EXAMPLES:
                break
        values = torch.stack([v.detach().double().reshape(()) for v in held])
    return [float(v) for v in values.cpu().tolist()]


def _of_batch(subject: Any, batch: Any, number: int, most: int) -> list[Any]:
    """One loss per example: each example of the output with its target, as a batch of one."""
    from lossdoctor.probes.batches import examples, mapped, split

    size = examples(batch)
    count = min(size, most)

    def one(k: int) -> Callable[[Any], Any]:
        return lambda t: t[k : k + 1] if t.dim() and len(t) == size else t

    if subject.forward is not None or subject.loss_fn is None:
        return [subject.loss(mapped(batch, one(k)), number) for k in range(count)]
    output, target = subject.output(batch, number), split(batch, number)[1]
    return [subject.loss_of(mapped(output, one(k)), (None, mapped(target, one(k))), number) for k in range(count)]


def _batched(data: Any) -> Any:
    """Arrays as a list of batches of 256; loaders as they are."""
    import torch

    from lossdoctor.probes.data.arrays import is_array, to_numpy

    if isinstance(data, torch.utils.data.Dataset):
        return torch.utils.data.DataLoader(data, batch_size=256)
    if not (isinstance(data, tuple) and len(data) == 2 and all(is_array(v) for v in data)):
        return data
    x, y = (v if isinstance(v, torch.Tensor) else torch.as_tensor(to_numpy(v)) for v in data)
    if x.dtype == torch.float64:
        x = x.float()
    y = y.float() if y.dtype == torch.float64 else y
    return [(x[k : k + 256], y[k : k + 256]) for k in range(0, len(x), 256)]
