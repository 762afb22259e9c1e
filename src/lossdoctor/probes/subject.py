"""What is tested: a model with its loss and its batches, called so that every mistake is named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lossdoctor.core.errors import LossdoctorError, UsageError, UserCodeError
from lossdoctor.probes.batches import Batches, described, label_key, split
from lossdoctor.torchkit.objective import scalar
from lossdoctor.torchkit.state import preserved

LossFn = Callable[..., Any]


class Subject:
    """A model, the loss of a batch, and a loader.

    Args:
        model: any module with parameters; also compiled, or wrapped by DataParallel.
        loss_fn: ``loss_fn(output, target)`` -> scalar tensor. None for models that return their loss themselves, as
            those of Hugging Face do for a batch with ``labels``.
        loader: a ``DataLoader`` or a list of batches: pairs (x, y), tuples whose last part is the target, mappings with
            ``labels``. May be None for tests that bring their own batches.
        optimizer, scheduler, scaler: of the run, where the test needs them; restored with the model.
        forward: ``forward(model, batch)`` -> the loss, in place of the above, for batches of any form.

    Raises:
        UsageError: a model without parameters, a loader that can be read only once, something that is no module.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFn | None = None,
        loader: Iterable[Any] | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        *,
        scheduler: Any = None,
        scaler: Any = None,
        forward: Callable[[nn.Module, Any], Any] | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise UsageError(f"the model is a {type(model).__name__}; expected a torch.nn.Module")
        first = next(model.parameters(), None)
        if first is None:
            raise UsageError(f"{type(model).__name__} has no parameters: there is nothing to train or to test")
        if loss_fn is not None and not callable(loss_fn):
            raise UsageError(f"loss_fn is a {type(loss_fn).__name__}; expected a function (output, target) -> loss")
        self.model, self.loss_fn, self.forward = model, loss_fn, forward
        self.optimizer, self.scheduler, self.scaler = optimizer, scheduler, scaler
        self.device = first.device
        self.loader = loader
        self._batches = None if loader is None else Batches(loader, self.device)

    @property
    def batches(self) -> Batches:
        """The loader's batches, on the model's device."""
        if self._batches is None:
            raise UsageError("this test needs a loader: give a DataLoader or a list of batches")
        return self._batches

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Those that are trained."""
        return [p for p in self.model.parameters() if p.requires_grad]

    def output(self, batch: Any, number: int = 0) -> Any:
        """What the model gives for a batch's inputs.

        Raises:
            UserCodeError: the model raised.
            UsageError: the batch has a form that the model cannot be called with.
        """
        if isinstance(batch, Mapping):
            inputs: Any = dict(batch) if self.loss_fn is None else split(batch, number)[0]
        elif isinstance(batch, list | tuple):
            inputs = split(batch, number)[0]
        else:
            raise UsageError(
                f"batch {number} is {described(batch)}; expected a pair (x, y), a tuple whose last part is the target,"
                " or a mapping; for other forms give forward=function(model, batch) that returns the loss"
            )
        return _called(f"the model, on batch {number}", self._apply, inputs)

    def loss(self, batch: Any, number: int = 0) -> Tensor:
        """The loss of a batch: a tensor without dimensions, with its graph where gradients are on.

        Raises:
            UserCodeError: the model or the loss function raised.
            UsageError: what came out is no scalar real tensor.
        """
        if self.forward is not None:
            return scalar(_called(f"forward(), on batch {number}", self.forward, self.model, batch))
        return self.loss_of(self.output(batch, number), batch, number)

    def loss_of(self, output: Any, batch: Any, number: int = 0) -> Tensor:
        """The loss of what the model gave for this batch; raises what :meth:`loss` raises."""
        if self.loss_fn is None:
            return scalar(_own_loss(output, batch))
        target = split(batch, number)[1]
        return scalar(_called(f"the loss function, on batch {number}", self.loss_fn, output, target))

    def _apply(self, inputs: Any) -> Any:
        if isinstance(inputs, Mapping):
            return self.model(**inputs)
        return self.model(*inputs) if isinstance(inputs, tuple) else self.model(inputs)

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Whatever the body does to the model, the optimizer, the loader and the random generators is undone.

        Models, optimizers, schedulers and scalers come back bit for bit, also on an exception and Ctrl-C; see
        :func:`lossdoctor.torchkit.state.preserved`.
        """
        loss = self.loss_fn if isinstance(self.loss_fn, nn.Module) else None
        loader = self.loader if isinstance(self.loader, torch.utils.data.DataLoader) else None
        with preserved(self.model, loss, self.optimizer, self.scheduler, self.scaler, loader):
            yield


def _called(where: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What the user's function gives; what it raises is named by where it happened."""
    try:
        return function(*arguments)
    except LossdoctorError:
        raise
    except Exception as error:
        raise UserCodeError(where, error) from error


def _own_loss(output: Any, batch: Any) -> Any:
    """The loss in the output of a model that computes it itself."""
    loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if loss is not None:
        return loss
    if isinstance(output, Tensor) and output.numel() == 1:
        return output
    lacks = isinstance(batch, Mapping) and label_key(batch) is None
    why = "the batch has no 'labels', without which models give no loss" if lacks else "give loss_fn(output, target)"
    raise UsageError(f"the model returned {described(output)} without a loss; {why}")
