"""Leave no trace: put a model, its optimizer and everything else that training touches back as it was, bit for bit."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lossdoctor.torchkit.capture import Capture
from lossdoctor.torchkit.rng import RandomState


@contextmanager
def preserved(*objects: object) -> Iterator[None]:
    """Whatever the body does to these objects and to the random generators is undone at its end, however it ends.

    Restored are: parameters, buffers and other tensors of a module (content, dtype, device, ``requires_grad``,
    ``.grad``), its mode, hooks and plain attributes (dropout's ``p``) and those of its submodules; all state of
    optimizers (what the body created lazily is removed again), schedulers and gradient scalers; the generators and
    counters of a ``DataLoader`` and its samplers; the global generators of Python, NumPy and torch; the flags of cuDNN,
    of deterministic algorithms, and the grad mode. Contents are copied into the tensors that were there, so references
    to them stay valid and tied weights stay tied. A Ctrl-C during the restoration waits for its end.

    Not restored: attributes of a module that are objects of unknown classes, and how far a running iterator has read.
    Costs one copy of all tensors, on their device; nothing is transferred or synchronised.

    Args:
        objects: modules (also compiled or data-parallel), optimizers, schedulers, gradient scalers, loaders, tensors,
            ``torch.Generator``; other objects need ``state_dict`` and ``load_state_dict``. None is passed over.

    Raises:
        UsageError: an object that is none of these, or a lazy module that was not yet initialised.

    >>> model = torch.nn.Linear(1, 1)
    >>> weight = model.weight.item()
    >>> with preserved(model):
    ...     _ = torch.nn.init.zeros_(model.eval().weight)
    >>> model.weight.item() == weight, model.training
    (True, True)
    """
    capture = Capture()
    for item in objects:
        if item is not None:
            capture.add(item)
    generators = RandomState.take()
    flags = _flags()
    try:
        yield
    finally:
        with uninterrupted():
            try:
                capture.restore()
            finally:
                generators.restore()
                _set_flags(*flags)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A Ctrl-C in the body takes effect at its end. In other threads, which Ctrl-C does not reach, nothing changes."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    pressed: list[tuple[int, object]] = []
    signal.signal(signal.SIGINT, lambda number, frame: pressed.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pressed:
            before(*pressed[0])  # type: ignore[arg-type]


def _flags() -> tuple[bool, bool, bool, bool, bool, bool]:
    cudnn = torch.backends.cudnn
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    return cudnn.enabled, cudnn.benchmark, cudnn.deterministic, deterministic, warn_only, torch.is_grad_enabled()


def _set_flags(
    enabled: bool, benchmark: bool, deterministic: bool, algorithms: bool, warn_only: bool, grad: bool
) -> None:
    cudnn = torch.backends.cudnn
    cudnn.enabled, cudnn.benchmark, cudnn.deterministic = enabled, benchmark, deterministic
    torch.use_deterministic_algorithms(algorithms, warn_only=warn_only)
    torch.set_grad_enabled(grad)
