"""Losses of the same batches with each kind of module in training or in evaluation mode."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lossdoctor.probes.subject import Subject

Floats = NDArray[np.float64]
KINDS = ("dropout", "norm", "other")
YOUNG = 500  # batches; with any momentum in use (0.1, 0.01) statistics are settled by then


def kind_of(module: nn.Module) -> str:
    """What the mode of a module changes: ``"dropout"``, ``"norm"`` (kept statistics), or ``"other"``.

    >>> kind_of(nn.Dropout(0.1)), kind_of(nn.BatchNorm2d(3)), kind_of(nn.GRU(2, 2, 2, dropout=0.5)), kind_of(nn.ReLU())
    ('dropout', 'norm', 'dropout', 'other')
    """
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return "dropout"
    if isinstance(module, nn.RNNBase | nn.MultiheadAttention) and module.dropout:
        return "dropout"
    keeps = isinstance(module, nn.modules.batchnorm._NormBase) and module.track_running_stats
    return "norm" if keeps or "BatchNorm" in type(module).__name__ else "other"


class Modes:
    """The modes of a model's modules, kind by kind. Leaves them as the last call says: work inside ``untouched()``."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        model = subject.model
        if not model.training:
            model.train()  # as the training loop does, with whatever a module's own train() keeps frozen
        self._training = [(m, kind_of(m), m.training) for m in model.modules()]
        model.eval()
        self._evaluation = {id(m): m.training for m in model.modules()}
        self._buffers = [(b, b.detach().clone()) for b in model.buffers()]

    def kinds(self) -> tuple[str, ...]:
        """Those kinds that training puts into another mode than evaluation."""
        found = {kind for m, kind, training in self._training if training != self._evaluation[id(m)]}
        return tuple(k for k in KINDS if k in found)

    @torch.no_grad()
    def losses(self, batches: Sequence[Any], training: Collection[str], passes: int = 1) -> Tensor:
        """[passes, batches] on the device, with these kinds in training mode and the kept statistics as they were."""
        self._set(training)
        rows = [[self.subject.loss(b, i).detach() for i, b in enumerate(batches)] for _ in range(passes)]
        self._put_back()
        return torch.stack([torch.stack(row) for row in rows])

    @torch.no_grad()
    def recomputed(self, batches: Sequence[Any]) -> Tensor:
        """Losses in evaluation mode, [1, batches], with the statistics of these batches in place of the kept ones."""
        norms = self._norms()
        for module in norms:
            module.reset_running_stats()
            module.momentum = None  # the plain mean over all batches
        self._set({"norm"})
        for i, batch in enumerate(batches):
            self.subject.loss(batch, i)
        self._set(())
        found = torch.stack([self.subject.loss(b, i).detach() for i, b in enumerate(batches)])[None]
        self._put_back()
        return found

    def freshness(self) -> float:
        """Share of their initial values that the youngest kept statistics still contain; 0 where none are young.

        Those that have seen hundreds of batches are not: what they still contain is the doing of their momentum.
        """
        counts, shares = [], []
        for module in self._norms():
            if module.num_batches_tracked is not None and module.momentum is not None:
                counts.append(module.num_batches_tracked)
                shares.append(module.momentum)
        if not counts:
            return 0.0
        seen = torch.stack([c.double().cpu() if c.device.type == "mps" else c.double() for c in counts]).tolist()
        return float(max(((1 - m) ** n for m, n in zip(shares, seen, strict=True) if n < YOUNG), default=0.0))

    def _norms(self) -> list[Any]:
        kept = nn.modules.batchnorm._NormBase
        return [m for m, kind, training in self._training if kind == "norm" and training and isinstance(m, kept)]

    def _set(self, training: Collection[str]) -> None:
        for module, kind, mode in self._training:
            module.training = mode if kind in training else self._evaluation[id(module)]

    def _put_back(self) -> None:
        for buffer, content in self._buffers:
            buffer.copy_(content)


@dataclass
class Seen:
    """Losses per batch, float64, on the host; modes that were not needed are missing.

    Attributes:
        tables: mode -> [passes, batches]: ``"eval"``, ``"train"``, ``"dropout"`` (only dropout in training mode),
            ``"norm"`` (only normalisations), ``"recomputed"`` (evaluation, with statistics made anew).
    """

    kinds: tuple[str, ...]
    batch_size: int
    fresh: float
    tables: dict[str, Floats] = field(default_factory=dict)
    validation: Floats | None = None

    def mean(self, mode: str) -> float:
        """Over passes and batches."""
        return float(self.tables[mode].mean())

    def apart(self, mode: str, other: str) -> tuple[float, float]:
        """Mean difference of two modes, paired by batch, and its standard error; NaN from a single batch."""
        difference = self.tables[mode].mean(axis=0) - self.tables[other].mean(axis=0)
        count = len(difference)
        error = float(difference.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
        return float(difference.mean()), error

    def spread(self) -> float:
        """Standard deviation of the training loss between batches."""
        values = self.tables["train"].mean(axis=0)
        return float(values.std(ddof=1)) if len(values) > 1 else 0.0
