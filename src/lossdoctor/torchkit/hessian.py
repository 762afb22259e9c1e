"""Hessian-vector products by double backward, and the curvature along the gradient.

A product costs about two gradients and no n × n matrix (Pearlmutter 1994, "Fast exact multiplication by the Hessian").
What is built on products (largest eigenvalue, trace) is in :mod:`lossdoctor.torchkit.spectrum`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn

import torch
from torch import Tensor

from lossdoctor.core.errors import UsageError
from lossdoctor.torchkit.objective import Closure, Objective, scalar

Progress = Callable[[int, int], None]


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Inside, torch picks kernels that can be differentiated twice: plain attention, no cuDNN, no compiled code."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(torch.backends.cudnn.flags(enabled=False, allow_tf32=torch.backends.cudnn.allow_tf32))
        stance = getattr(torch.compiler, "set_stance", None)  # from torch 2.6
        if stance is not None and "torch._dynamo" in sys.modules:  # else nothing is compiled, and the import is slow
            stack.enter_context(stance("force_eager"))
        stack.enter_context(torch.enable_grad())
        yield


def graph_nodes(tensors: Iterable[Tensor | None]) -> Iterator[Any]:
    """The nodes of the graph behind gradients that were made with ``create_graph``, each once.

    Raises:
        UsageError: an autograd function in it is marked ``once_differentiable``. Torch cuts such a one out of second
            derivatives without a word, since nothing leads on from it: they would come out as if it were constant.
    """
    todo = [t.grad_fn for t in tensors if t is not None]
    seen: set[Any] = set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        if node.name() == "torch::autograd::Error":
            raise UsageError(
                "this loss cannot be differentiated twice: an autograd function in it is marked once_differentiable;"
                " replace it by operations that have a second derivative, or leave the parameters before it out"
            )
        seen.add(node)
        yield node
        todo += [after for after, _ in node.next_functions]


class Hessian:
    """The Hessian of a loss over a list of parameters, as an operator on flat vectors.

    Loss and gradient are computed once, at the parameters as they are now; with a single closure its graph is kept, so
    that a product costs one backward pass; with several, each is run again for every product, from one state of the
    random generators, so that dropout masks do not change. Parameters, their ``.grad`` and the generators are left
    alone. Buffers that the forward pass itself updates (batch norm in training mode) are not: see
    :func:`lossdoctor.torchkit.state.preserved`.

    Args:
        loss: a closure that returns a scalar tensor, or an :class:`~lossdoctor.torchkit.objective.Objective`.
        parameters: leaf tensors, all float32 or all float64, on one device; those without ``requires_grad`` are left
            out.

    Attributes:
        size: number of coordinates n.
        loss: value of the loss.
        gradient: flat gradient, shape (n,).
        products: Hessian-vector products computed so far.

    Raises:
        UsageError: no trainable parameter, mixed or low-precision dtypes, a loss that is not one finite number, or an
            operation that torch cannot differentiate twice (also one that it would pass over without a word).

    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> h = Hessian(lambda: (w**3).sum(), [w])
    >>> h.gradient.tolist(), h.product(torch.tensor([1.0, 1.0])).tolist()
    ([3.0, 12.0], [6.0, 12.0])
    """

    def __init__(self, loss: Closure | Objective, parameters: Iterable[Tensor]) -> None:
        self.parameters = _checked(parameters)
        self.size = sum(p.numel() for p in self.parameters)
        self.dtype, self.device = self.parameters[0].dtype, self.parameters[0].device
        self.products = 0
        self._objective = loss if isinstance(loss, Objective) else Objective((loss,), (1.0,))
        self._keep = len(self._objective.parts) == 1
        self._kept: list[Tensor] = []
        self._cuda = [self.device] if self.device.type == "cuda" else []
        self._random = _random_state(self._cuda)
        self.loss, self.gradient = 0.0, torch.zeros(self.size, dtype=self.dtype, device=self.device)
        checked = False
        for part, weight in zip(self._objective.parts, self._objective.weights, strict=True):
            value, gradients = self._first_order(part)
            self.loss += weight * float(value.detach())
            self.gradient += weight * self._flat(gradients)
            if self._keep:
                self._kept = gradients
            if not checked:  # the parts are one function of other data
                checked = bool(list(graph_nodes(gradients)))
        if not torch.isfinite(self.gradient).all() or self.loss - self.loss != 0:
            raise UsageError(f"no Hessian here: the loss is {self.loss:g} or its gradient is not finite")

    def product(self, vector: Tensor) -> Tensor:
        """H v.

        Args:
            vector: flat, shape (n,); cast to the parameters' dtype and device.

        Raises:
            UsageError: another shape.
        """
        if vector.shape != (self.size,):
            raise UsageError(f"the Hessian has {self.size} columns, the vector has shape {tuple(vector.shape)}")
        vector = vector.to(self.device, self.dtype)
        pieces = [v.view_as(p) for v, p in zip(torch.split(vector, self._sizes()), self.parameters, strict=True)]
        self.products += 1
        if self._keep:
            return self._second_order(self._kept, pieces)
        total = torch.zeros_like(vector)
        for part, weight in zip(self._objective.parts, self._objective.weights, strict=True):
            total += weight * self._second_order(self._first_order(part)[1], pieces)
        return total

    def gradient_curvature(self) -> float:
        """Curvature along the gradient, gᵀHg / gᵀg, by one product; NaN where the gradient is zero.

        A step of plain gradient descent at rate r changes the loss by -r |g|² (1 - r c / 2) to second order, c being
        this curvature: it lowers the loss only while r < 2 / c.

        >>> w = torch.tensor([3.0], requires_grad=True)
        >>> Hessian(lambda: 2 * (w**2).sum(), [w]).gradient_curvature()
        4.0
        """
        length = self.gradient.double().norm()
        if length == 0:
            return float("nan")
        unit = self.gradient.double() / length
        return float(unit @ self.product(unit).double())

    def _sizes(self) -> list[int]:
        return [p.numel() for p in self.parameters]

    def _first_order(self, part: Closure) -> tuple[Tensor, list[Tensor]]:
        with twice_differentiable(), torch.random.fork_rng(self._cuda):
            _set_random_state(self._random, self._cuda)
            value = scalar(part())
            if not value.requires_grad:
                return value, [torch.zeros_like(p) for p in self.parameters]
            try:
                found = torch.autograd.grad(
                    value, self.parameters, create_graph=True, allow_unused=True, materialize_grads=True
                )
            except (RuntimeError, NotImplementedError) as error:
                _explain(error)
        return value, list(found)

    def _second_order(self, gradients: Sequence[Tensor], vectors: Sequence[Tensor]) -> Tensor:
        # Where a gradient does not depend on the parameters (a linear loss), its part of the Hessian is zero.
        pairs = [(g, v) for g, v in zip(gradients, vectors, strict=True) if g.requires_grad]
        if not pairs:
            return torch.zeros(self.size, dtype=self.dtype, device=self.device)
        try:
            with twice_differentiable():
                rows = torch.autograd.grad(
                    [g for g, _ in pairs],
                    self.parameters,
                    [v for _, v in pairs],
                    retain_graph=self._keep,
                    allow_unused=True,
                    materialize_grads=True,
                )
        except (RuntimeError, NotImplementedError) as error:
            _explain(error)
        return self._flat(rows)

    def _flat(self, tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat([t.detach().to_dense().reshape(-1) for t in tensors])


def _checked(parameters: Iterable[Tensor]) -> list[Tensor]:
    trainable = [p for p in parameters if p.requires_grad]
    kept = list({id(p): p for p in trainable}.values())  # a tied weight is one coordinate, not two
    if not kept:
        raise UsageError("the Hessian needs at least one parameter with requires_grad, there is none")
    dtypes = {p.dtype for p in kept}
    if len(dtypes) > 1 or not dtypes <= {torch.float32, torch.float64}:
        names = ", ".join(sorted(str(d) for d in dtypes))
        raise UsageError(f"the Hessian needs parameters that are all float32 or all float64, got {names}")
    devices = {p.device for p in kept}
    if len(devices) > 1:
        names = ", ".join(sorted(str(d) for d in devices))
        raise UsageError(f"the Hessian needs all parameters on one device, got {names}")
    return kept


def _random_state(cuda: Sequence[torch.device]) -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(d) for d in cuda)]


def _set_random_state(state: Sequence[Tensor], cuda: Sequence[torch.device]) -> None:
    torch.set_rng_state(state[0])
    for device, value in zip(cuda, state[1:], strict=True):
        torch.cuda.set_rng_state(value, device)


def _explain(error: Exception) -> NoReturn:
    """Name the operation where torch says that it has no second derivative; other errors are passed on."""
    found = re.search(r"derivative for '?(?:aten::)?(\w+?)'? is not implemented", str(error))
    if found:
        raise UsageError(
            f"torch cannot differentiate {found.group(1).lstrip('_')} twice, and this loss uses it: replace that"
            " operation by one that has a second derivative, or leave the parameters before it out"
        ) from error
    raise error
