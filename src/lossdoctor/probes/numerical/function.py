"""A loss, a layer or a function as one scalar in float64 that can be evaluated again and again at moved places."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lossdoctor.core.errors import LossdoctorError, UsageError, UserCodeError
from lossdoctor.probes.batches import described, mapped, tensors
from lossdoctor.probes.batches import examples as size_of
from lossdoctor.probes.subject import LossFn, Subject
from lossdoctor.torchkit.objective import scalar, unwrapped
from lossdoctor.torchkit.rng import RandomState

_SAME = 1e-9  # relative difference of two evaluations at one place that sums in another order may have

Built = tuple[Callable[[], Tensor], list[tuple[str, Tensor]], list[Tensor]]  # value, what it depends on, buffers


def of_loss(
    model: nn.Module,
    loss_fn: LossFn | None,
    loader: Iterable[Any],
    forward: Callable[[nn.Module, Any], Any] | None,
    examples: int,
) -> tuple[list[Any], Callable[[], Built]]:
    plain = unwrapped(model)
    subject = Subject(plain, loss_fn, loader, forward=forward)
    own = loss_fn if isinstance(loss_fn, nn.Module) else None
    data = loader if isinstance(loader, torch.utils.data.DataLoader) else None

    def build() -> Built:
        batch = subject.batches.take(1)[0]
        count = size_of(batch)
        device = _double(plain, own)
        batch = _wide(mapped(batch, lambda t: t[:examples] if t.dim() and len(t) == count else t), device)
        named = [(n, p) for n, p in plain.named_parameters() if p.requires_grad and p.is_floating_point()]
        return (lambda: subject.loss(batch)), list(named), [*plain.buffers(), *(own.buffers() if own else ())]

    return [plain, own, data], build


def of_function(function: Callable[..., Any], inputs: Any) -> tuple[list[Any], Callable[[], Built]]:
    if not callable(function):
        raise UsageError(f"the first argument is {described(function)}; expected a module or a function of the inputs")
    held = function if isinstance(function, nn.Module) else getattr(function, "__self__", None)
    module = unwrapped(held) if isinstance(held, nn.Module) else None
    called = module if isinstance(function, nn.Module) and module is not None else function

    def build() -> Built:
        device = _double(module) if module is not None else None
        leaves = [t for t in tensors(inputs) if t.is_floating_point()]
        chosen = [t.requires_grad for t in leaves]
        wanted = iter(chosen if any(chosen) else [True] * len(leaves))

        def leaf(t: Tensor) -> Tensor:
            return _wide(t.detach().clone(), device).requires_grad_(next(wanted)) if t.is_floating_point() else t

        given = mapped(inputs, leaf)
        named = [(f"input {i}" if len(leaves) > 1 else "input", t) for i, t in enumerate(_floats(given))]
        points = [(n, t) for n, t in named if t.requires_grad]
        if module is not None:
            points += [(n, p) for n, p in module.named_parameters() if p.requires_grad and p.is_floating_point()]
        weights: list[Tensor] = []

        def value() -> Tensor:
            # Inputs in new tensors: a function that writes into its input must not move the point itself.
            fresh = mapped(given, lambda t: t.clone())
            try:
                if isinstance(fresh, Mapping):
                    output = called(**fresh)
                else:
                    output = called(*fresh) if isinstance(fresh, tuple | list) else called(fresh)
            except Exception as error:
                raise UserCodeError("the function", error) from error
            return _weighed(output, weights)

        return value, points, list(module.buffers()) if module is not None else []

    return [module], build


def _double(*modules: nn.Module | None) -> torch.device:
    """Parameters and buffers in float64, in place: losses that hold the model by a closure see the same ones."""
    device = torch.device("cpu")
    for module in modules:
        if module is not None:
            module.double() if not _on_mps(module) else module.to("cpu", torch.float64)
            first = next(module.parameters(), None)
            device = first.device if first is not None and module is modules[0] else device
    return device


def _on_mps(module: nn.Module) -> bool:
    return any(p.device.type == "mps" for p in module.parameters())


def _wide(value: Any, device: torch.device | None) -> Any:
    def change(t: Tensor) -> Tensor:
        t = t if device is None else t.to(device)
        return t.double() if t.is_floating_point() else t

    return mapped(value, change)


def _floats(value: Any) -> list[Tensor]:
    return [t for t in tensors(value) if t.is_floating_point()]


def _weighed(output: Any, weights: list[Tensor]) -> Tensor:
    """A scalar of all real numbers in the output; the weights are drawn at the first call."""
    parts = [torch.view_as_real(t) if t.is_complex() else t for t in tensors(output)]
    parts = [t for t in parts if t.is_floating_point()]
    if not parts:
        raise UsageError(f"the function returned {described(output)}; expected tensors of real numbers")
    if len(parts) == 1 and parts[0].numel() == 1:
        return parts[0].reshape(())
    if not weights:
        generator = torch.Generator().manual_seed(0)
        weights += [torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.device) for p in parts]
    return torch.stack([(p.double() * w).sum() for p, w in zip(parts, weights, strict=True)]).sum()


class Function:
    """A scalar of some tensors, the same at every evaluation."""

    def __init__(self, value: Callable[[], Tensor], points: list[tuple[str, Tensor]], buffers: list[Tensor]) -> None:
        points = [(n, t) for n, t in points if t.numel()]
        if not points:
            raise UsageError("there is nothing to differentiate: no parameter and no input requires a gradient")
        self._value, self.points = value, points
        self._random = RandomState.take()
        self._buffers = [(b, b.detach().clone()) for b in buffers]
        self.calls = 0
        loss = self._run()
        self.here = float(loss.detach())
        self.graph = loss.requires_grad
        found: Any = [None] * len(points)
        if self.graph:
            try:
                found = torch.autograd.grad(loss, [t for _, t in points], allow_unused=True)
            except LossdoctorError:
                raise
            except Exception as error:
                raise UserCodeError("the backward pass", error) from error
        self.gradients = [
            torch.zeros_like(t) if g is None else g.detach().to_dense() for g, (_, t) in zip(found, points, strict=True)
        ]
        again = self.at()
        if abs(again - self.here) > _SAME * max(abs(again), abs(self.here)):
            raise UsageError(
                f"two evaluations at the same place differ ({self.here:.9g} and {again:.9g}) although all random"
                " generators were set back: a generator of its own, or a state that each call changes? Make it"
                " deterministic, then check its gradient"
            )

    def at(self) -> float:
        """The value now."""
        with torch.no_grad():
            return float(self._run().detach())

    def _run(self) -> Tensor:
        self.calls += 1
        self._random.restore()
        with torch.no_grad():
            for buffer, content in self._buffers:
                buffer.copy_(content)
        try:
            return scalar(self._value())
        except UserCodeError as error:
            if any(word in str(error) for word in ("dtype", "Double", "double")):
                raise UsageError(
                    f"{error}; the check runs in float64, and something here is fixed to another precision: give the"
                    " module itself instead of a function around it, or convert what it holds to float64"
                ) from error
            raise

    @contextmanager
    def along(self, moves: Sequence[tuple[Tensor, Tensor]]) -> Iterator[Callable[[float], float]]:
        """A function of how far these tensors are moved along their directions; they are put back at the end."""
        before = [tensor.detach().clone() for tensor, _ in moves]

        def value(far: float) -> float:
            with torch.no_grad():
                for (tensor, direction), start in zip(moves, before, strict=True):
                    tensor.copy_(start + far * direction)
            return self.at()

        try:
            yield value
        finally:
            with torch.no_grad():
                for (tensor, _), start in zip(moves, before, strict=True):
                    tensor.copy_(start)
