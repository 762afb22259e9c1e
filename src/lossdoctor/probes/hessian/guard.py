"""What curvature needs of a loss: that it is a fixed function, finite, and can be differentiated twice."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lossdoctor.core.errors import UsageError
from lossdoctor.probes.subject import Subject
from lossdoctor.torchkit.hessian import graph_nodes, twice_differentiable

NOT_TWICE = "this loss cannot be differentiated twice, which curvature needs"
SAME = 1e-5  # relative: what the order of sums on a GPU changes


def draws_random(subject: Subject, batch: Any) -> bool:
    """Whether the loss of a batch draws random numbers of torch's.

    Raises:
        UsageError: it is not finite, or not the same twice from the same random state.
    """
    devices = [subject.device] if subject.device.type == "cuda" else []
    with torch.no_grad():
        with torch.random.fork_rng(devices):
            first = subject.loss(batch)
            later = subject.loss(batch)  # from another random state
        with torch.random.fork_rng(devices):
            second = subject.loss(batch)
    one, two, three = torch.stack([first, second, later]).double().tolist()
    if not math.isfinite(one):
        raise UsageError(
            f"the loss of the first batch is {one:g} at these parameters, so there is no curvature: restore an earlier"
            " checkpoint, or look for its cause with check_data and check_gradients"
        )
    near = SAME * max(abs(one), abs(two))
    if abs(one - two) > near:
        raise UsageError(
            f"the loss of the same batch is {one:.6g} and then {two:.6g}, with the same parameters and the same random"
            " state: something in the model or the loss changes with every call (a counter, a generator of its own,"
            " Python's or NumPy's random numbers, spectral norm in training mode); curvature needs a fixed function:"
            " switch that off"
        )
    return bool(abs(one - three) > near)


def graph_bytes(subject: Subject, batch: Any, parameters: Sequence[nn.Parameter]) -> int:
    """Bytes that the graph of a batch's gradient holds beside the parameters, so that it can be differentiated again.

    Raises:
        UsageError: it has a part that cannot be differentiated twice.
    """
    with explained(), twice_differentiable():
        found = torch.autograd.grad(subject.loss(batch), parameters, create_graph=True, allow_unused=True)
    held: dict[int, int] = {}
    for node in graph_nodes(found):
        held |= {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in _saved(node)}
    own = {p.untyped_storage().data_ptr() for p in parameters}
    return sum(size for place, size in held.items() if place not in own)


def set_mode(model: nn.Module, mode: str) -> None:
    """Evaluation mode, or training mode with dropout off."""
    model.train(mode == "train")
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
        elif isinstance(module, nn.RNNBase | nn.MultiheadAttention):
            module.dropout = 0.0


@contextmanager
def explained() -> Iterator[None]:
    """Torch's ways of saying that something cannot be differentiated twice, in words."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise UsageError(
            "the device's memory does not hold the second derivatives: give fewer or smaller batches"
        ) from error
    except RuntimeError as error:
        text = str(error)
        if not re.search(r"differentiate|double backward|\.grad\(\)|derivative|does not require grad", text):
            raise
        raise UsageError(
            f"{NOT_TWICE}: an operation in it (or activation checkpointing with use_reentrant=True) has no second"
            f" derivative; torch says: {text.splitlines()[0]}"
        ) from error


def _saved(node: Any) -> Iterator[Tensor]:
    """The tensors that a node of the graph holds."""
    names = [n for n in dir(node) if n.startswith("_saved_") or n == "saved_tensors"]
    for name in names:
        value = getattr(node, name)
        yield from (t for t in (value if isinstance(value, list | tuple) else [value]) if isinstance(t, Tensor))
