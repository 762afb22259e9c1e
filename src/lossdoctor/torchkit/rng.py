"""The global random generators of Python, NumPy and torch as one value."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class RandomState:
    """States of all global generators. Those of CUDA and MPS only where the process uses them already.

    >>> before = RandomState.take()
    >>> first = torch.rand(1), np.random.rand(), random.random()
    >>> before.restore()
    >>> first == (torch.rand(1), np.random.rand(), random.random())
    True
    """

    python: tuple[Any, ...]
    numpy: tuple[Any, ...]
    cpu: Tensor
    cuda: tuple[Tensor, ...] = ()
    mps: Tensor | None = None

    @classmethod
    def take(cls) -> RandomState:
        """The states as they are now."""
        cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        return cls(
            python=random.getstate(),
            numpy=tuple(np.random.get_state(legacy=True)),
            cpu=torch.get_rng_state(),
            cuda=tuple(torch.cuda.get_rng_state_all()) if cuda else (),
            mps=torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
        )

    def restore(self) -> None:
        """Put every generator back. CUDA devices that are not here any more are left out."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.cpu)
        for device, state in enumerate(self.cuda[: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(state, device)
        if self.mps is not None and torch.backends.mps.is_available():
            torch.mps.set_rng_state(self.mps)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain Python values only."""
        version, words, gauss = self.python
        name, keys, position, has_gauss, cached = self.numpy
        return {
            "python": [version, torch.tensor(words, dtype=torch.int64), gauss],
            "numpy": [name, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)],
            "cpu": self.cpu,
            "cuda": list(self.cuda),
            "mps": self.mps,
        }

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> RandomState:
        """The inverse of :meth:`state_dict`."""
        version, words, gauss = state["python"]
        name, keys, position, has_gauss, cached = state["numpy"]
        return cls(
            python=(version, tuple(words.tolist()), gauss),
            numpy=(name, keys.numpy().astype(np.uint32), position, has_gauss, cached),
            cpu=state["cpu"].cpu(),
            cuda=tuple(s.cpu() for s in state["cuda"]),
            mps=state["mps"],
        )
