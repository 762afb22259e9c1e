"""Buffers of a model as they were before the last forward pass: running statistics that a bad batch spoils."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


class Buffers:
    """A copy of those buffers of a model that change while it trains (of batch normalisation, mostly).

    A batch with a NaN spoils them in its forward pass, long before its gradients can be looked at, and a running mean
    never gets rid of a NaN.
    """

    def __init__(self, model: Any) -> None:
        from torch.nn.modules.batchnorm import _NormBase

        self._buffers = dict(model.named_buffers())
        self._versions = {name: b._version for name, b in self._buffers.items()}
        self._copies: dict[str, Tensor] = {}
        for prefix, module in model.named_modules():
            if isinstance(module, _NormBase):  # compiled code does not count versions
                for name, buffer in module.named_buffers(recurse=False):
                    key = f"{prefix}.{name}" if prefix else name
                    self._copies[key] = buffer.detach().clone()

    def keep(self, check: bool = False) -> None:
        """They are good as they are now; with ``check`` only if they are finite, else they are put back."""
        if check and not self._finite():
            self.put_back()
            return
        for name, buffer in self._buffers.items():
            copy = self._copies.get(name)
            if copy is not None:
                copy.copy_(buffer)
            elif buffer._version != self._versions[name]:
                self._copies[name] = buffer.detach().clone()

    def put_back(self) -> None:
        """As they were when last kept."""
        for name, copy in self._copies.items():
            self._buffers[name].data.copy_(copy)

    def _finite(self) -> bool:
        return all(bool(self._buffers[name].isfinite().all()) for name in self._copies)
