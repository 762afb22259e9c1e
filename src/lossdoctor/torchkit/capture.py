"""A copy of the state of live torch objects that is put back into the very same objects.

Every tensor, container and stateful object that is reached becomes a node: the object itself beside a copy of what was
in it. An object that is reached twice (a tied weight, a parameter in the module and in the optimizer) is copied once.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Sampler

from lossdoctor.core.errors import UsageError

Restore = Callable[[], object]
# Objects whose attributes are state; attributes of other classes are kept by reference.
STATEFUL = (nn.Module, torch.optim.Optimizer, LRScheduler, torch.amp.GradScaler)


class Capture:
    """What :func:`lossdoctor.torchkit.state.preserved` holds while its body runs."""

    def __init__(self) -> None:
        self._seen: dict[int, object] = {}  # id -> the object itself, kept alive so that its id stays its own
        self._restores: list[Restore] = []

    def add(self, item: object) -> None:
        """Take one object in, and whatever it holds.

        Raises:
            UsageError: its state cannot be put back.
        """
        if isinstance(item, DataLoader | Sampler):
            self._sampling(item)
        elif isinstance(item, (*STATEFUL, Tensor, torch.Generator, np.random.Generator, list, tuple, dict, set)):
            self._visit(item)
        elif hasattr(item, "state_dict") and hasattr(item, "load_state_dict"):
            state = copy.deepcopy(item.state_dict())
            self._restores.append(lambda: item.load_state_dict(state))
        else:
            raise UsageError(
                f"cannot preserve a {type(item).__name__}: give a module, optimizer, scheduler, scaler, loader, tensor"
                " or generator, or an object with state_dict and load_state_dict"
            )

    def restore(self) -> None:
        """Put everything back; when a part fails, the others are restored all the same and the failure is raised."""
        failed: Exception | None = None
        for restore in reversed(self._restores):
            try:
                restore()
            except Exception as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def _visit(self, item: Any) -> None:
        # Children after their parent, and restored in reverse: a tensor's content goes back before the dict around it.
        known = (*STATEFUL, Tensor, torch.Generator, np.random.Generator, np.ndarray, list, dict, set, tuple, deque)
        if not isinstance(item, known) or id(item) in self._seen:
            return
        self._seen[id(item)] = item
        if isinstance(item, Tensor):
            self._tensor(item)
        elif isinstance(item, torch.Generator):
            self._generator(item)
        elif isinstance(item, np.random.Generator):
            self._numpy_generator(item)
        elif isinstance(item, np.ndarray):
            self._array(item)
        elif isinstance(item, STATEFUL):
            self._object(item)
        elif isinstance(item, dict):
            self._mapping(item)
        else:
            self._collection(item)

    def _tensor(self, tensor: Tensor) -> None:
        if is_lazy(tensor):
            raise UsageError("a lazy module has no parameters yet: run one batch through the model first")
        alias = tensor.detach()  # holds the storage, in case the body sets .data (model.half(), model.to(device))
        content = None if tensor.is_meta else alias.clone()
        requires_grad, leaf = tensor.requires_grad, tensor.is_leaf
        gradient = tensor.grad if leaf else None

        def restore() -> None:
            if type(tensor) in (Tensor, nn.Parameter) and not _same_memory(tensor, alias):
                tensor.data = alias
            if content is not None:
                # Through .data, graphs made before the body stay valid; of a sparse tensor it would be a copy.
                target = tensor.data if tensor.layout is torch.strided else tensor
                with _writable(tensor):
                    copy_into(target, content)
            if leaf and tensor.is_leaf:
                if tensor.requires_grad != requires_grad:
                    tensor.requires_grad_(requires_grad)
                if tensor.grad is not gradient:
                    tensor.grad = gradient

        self._restores.append(restore)
        if gradient is not None:
            self._visit(gradient)

    def _generator(self, generator: torch.Generator) -> None:
        state = generator.get_state()
        self._restores.append(lambda: generator.set_state(state))

    def _numpy_generator(self, generator: np.random.Generator) -> None:
        state = copy.deepcopy(generator.bit_generator.state)
        self._restores.append(lambda: setattr(generator.bit_generator, "state", state))

    def _array(self, array: np.ndarray[Any, Any]) -> None:
        content = array.copy()
        if array.flags.writeable:
            self._restores.append(lambda: np.copyto(array, content))

    def _object(self, item: Any) -> None:
        kind = type(item)  # registering or removing a parametrization changes the class of a module

        def restore() -> None:
            if type(item) is not kind:
                item.__class__ = kind

        self._restores.append(restore)
        self._mapping(vars(item))

    def _mapping(self, mapping: MutableMapping[Any, Any]) -> None:
        items = list(mapping.items())

        def restore() -> None:
            if [id(k) for k in mapping] != [id(k) for k, _ in items]:
                mapping.clear()
            for key, value in items:
                if key not in mapping or mapping[key] is not value:
                    mapping[key] = value

        self._restores.append(restore)
        for _, value in items:
            self._visit(value)

    def _collection(self, item: list[Any] | set[Any] | deque[Any] | tuple[Any, ...]) -> None:
        members = list(item)

        def restore() -> None:
            if len(item) != len(members) or any(a is not b for a, b in zip(item, members, strict=True)):
                item.clear()  # type: ignore[union-attr]
                (item.update if isinstance(item, set) else item.extend)(members)  # type: ignore[union-attr]

        if not isinstance(item, tuple):
            self._restores.append(restore)
        for member in members:
            self._visit(member)

    def _sampling(self, item: Any) -> None:
        """Generators and plain attributes (a sampler's epoch) of a loader and its samplers; never the data."""
        if id(item) in self._seen:
            return
        self._seen[id(item)] = item
        attributes = vars(item)
        plain = {k: v for k, v in attributes.items() if isinstance(v, bool | int | float | str | None)}
        self._restores.append(lambda: attributes.update(plain))
        for value in attributes.values():
            if isinstance(value, torch.Generator | np.random.Generator):
                self._visit(value)
            elif isinstance(value, Sampler):
                self._sampling(value)


def copy_into(target: Tensor, content: Tensor) -> None:
    """Overwrite the target; of an expanded one only the part that has memory of its own, as torch demands."""
    if target.layout is torch.strided and 0 in target.stride():
        own = tuple(slice(0, 1) if stride == 0 else slice(None) for stride in target.stride())
        target, content = target[own], content[own]
    target.copy_(content)


def _same_memory(a: Tensor, b: Tensor) -> bool:
    if a.layout is not torch.strided or b.layout is not torch.strided:
        return a.layout is b.layout
    described = [(t.data_ptr(), t.dtype, t.device, t.shape, t.stride()) for t in (a, b)]
    return described[0] == described[1]


@contextmanager
def _writable(tensor: Tensor) -> Iterator[None]:
    """Tensors born in inference mode can only be written to in it."""
    if tensor.is_inference():
        with torch.inference_mode():
            yield
    else:
        with torch.no_grad():
            yield
