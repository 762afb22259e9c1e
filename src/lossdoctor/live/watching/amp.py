"""The loss scale of mixed-precision training, and the steps that it left out."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from lossdoctor.torchkit.norms import Pending


class LossScale:
    """Reads a ``GradScaler`` at every row.

    A step that is skipped leaves no trace in the optimizer: what tells of it is the scale, which is multiplied by the
    backoff factor. On a GPU the scale of the row before is given, which has arrived by then.
    """

    def __init__(self, scaler: Any) -> None:
        self._scaler = scaler
        self._last: float | None = None
        self._coming: Pending[float] | None = None
        self.skipped = 0

    def read(self, wait: bool = False) -> dict[str, float]:
        """``loss_scale`` and ``skipped_steps`` (so far); nothing where scaling is switched off."""
        enabled = getattr(self._scaler, "is_enabled", None)
        if enabled is not None and not enabled():
            return {}
        scale = self._scale(wait)
        if scale is None:
            return {}
        if self._last is not None and 0 < scale < self._last:
            backoff = float(getattr(self._scaler, "get_backoff_factor", lambda: 0.5)())
            times = math.log(scale / self._last) / math.log(backoff) if 0 < backoff < 1 else 1.0
            self.skipped += max(1, round(times))
        self._last = scale
        return {"loss_scale": scale, "skipped_steps": float(self.skipped)}

    def _scale(self, wait: bool) -> float | None:
        tensor = getattr(self._scaler, "_scale", None)
        if not isinstance(tensor, Tensor) or not tensor.is_cuda:
            return float(self._scaler.get_scale())
        arrived = None
        if self._coming is not None and (wait or self._coming.ready()):
            arrived, self._coming = self._coming.result(), None
        if self._coming is None:
            self._coming = Pending([((0,), tensor.detach().reshape(1))], 1, lambda values: float(values[0]))
        return arrived
