"""Limit the norm of the gradients."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from typing import TYPE_CHECKING, Any

from lossdoctor.core.errors import UsageError
from lossdoctor.core.numbers import percent, short
from lossdoctor.live.actions.base import LiveAction
from lossdoctor.live.actions.following import Once
from lossdoctor.live.actions.gradients import parameters
from lossdoctor.live.actions.together import may_act

if TYPE_CHECKING:
    from torch import Tensor

    from lossdoctor.live.monitor import Monitor
    from lossdoctor.torchkit.norms import Pending

_FIRST = 20  # norms before a quantile means anything


class ClipGradients(LiveAction):
    """Scales the gradients down where their norm, all of them as one vector, exceeds a limit.

    With ``limit`` the limit is fixed. Without, it is a quantile of the recent norms (AutoClip), so it follows the run
    and needs no tuning; nothing is clipped in the first 20 steps. Under AMP the norm is that of the true gradients.
    On a GPU nothing waits: the scaling is done on the device, and the limit rests on the norms up to the last step or
    two. A norm that is not finite is left for others (:class:`Rescue`) to deal with.

    Needs ``monitor.watch(model, optimizer)``. Beside :class:`Rescue` it comes after it in ``actions``: clipped
    gradients hide a bad batch.

    Args:
        limit: the largest norm; adaptive when None.
        quantile: of the recent norms, between 0 and 1.
        window: how many norms are recent.
        factor: the adaptive limit over that quantile.
        shared: in a training of several processes, that this action is in the monitor of every one of them
            (``Monitor(every_rank=True)``); without, it does nothing there.

    Attributes:
        steps, clipped: optimizer steps seen, and those that were clipped.

    References:
        Seetharaman et al., AutoClip: Adaptive Gradient Clipping for Source Separation Networks, MLSP 2020. They clip at
        the 10th percentile of all norms, which is a different way to train; the default here touches outliers only.

    Raises:
        UsageError: a number out of range.
    """

    def __init__(
        self,
        limit: float | None = None,
        *,
        quantile: float = 0.95,
        window: int = 500,
        factor: float = 1.0,
        shared: bool = False,
    ) -> None:
        if limit is not None and not (limit > 0 and math.isfinite(limit)):
            raise UsageError(f"ClipGradients(limit=…) is above 0, got {limit!r}; leave it out for an adaptive one")
        if not 0 < quantile < 1 or window < _FIRST or not factor > 0:
            raise UsageError(
                f"ClipGradients needs quantile between 0 and 1, window of at least {_FIRST} and factor above 0, got "
                f"{quantile!r}, {window!r} and {factor!r}"
            )
        self.limit, self.shared = limit, shared
        self.steps = self.clipped = 0
        self._quantile, self._factor = quantile, factor
        self._recent: deque[float] = deque(maxlen=window)
        self._sorted: list[float] = []
        self._coming: deque[tuple[float, Pending[float]]] = deque()  # limits, and norms on their way
        self._told = math.nan
        self._once = Once()

    def before_step(self, monitor: Monitor, optimizer: Any) -> bool:
        if not may_act("ClipGradients", self.shared, self._once):
            return True
        self._collect(monitor, wait=False)
        limit = self._present_limit()
        norm = _clip(optimizer, limit)
        if norm is not None:
            self.steps += 1
            self._coming.append((limit, norm))
            self._collect(monitor, wait=len(self._coming) > 2)
        return True

    def finish(self, monitor: Monitor) -> None:
        while self._coming:
            self._collect(monitor, wait=True)
        if self.clipped:
            share = percent(self.clipped / self.steps)
            text = f"{self.clipped:,} of {self.steps:,} steps were clipped ({share})"
            monitor.event("gradients_clipped", text, clipped=self.clipped, steps=self.steps, action="ClipGradients")
        elif not self.steps:
            self._once.warn("ClipGradients has clipped nothing: it needs monitor.watch(model, optimizer)")

    def _present_limit(self) -> float:
        if self.limit is not None:
            return self.limit
        if len(self._sorted) < _FIRST:
            return math.inf
        return self._factor * self._sorted[min(int(self._quantile * len(self._sorted)), len(self._sorted) - 1)]

    def _collect(self, monitor: Monitor, wait: bool) -> None:
        """Take in the norms that have arrived, the first one in any case with ``wait``."""
        while self._coming and (wait or self._coming[0][1].ready()):
            limit, pending = self._coming.popleft()
            norm, wait = pending.result(), False
            if not math.isfinite(norm):
                continue
            if len(self._recent) == self._recent.maxlen:
                del self._sorted[bisect_left(self._sorted, self._recent[0])]
            self._recent.append(norm)
            insort(self._sorted, norm)
            if norm > limit:
                self.clipped += 1
                self._tell(monitor, norm, limit)

    def _tell(self, monitor: Monitor, norm: float, limit: float) -> None:
        """The first time, and when the limit has doubled or halved since."""
        if 0.5 < limit / self._told < 2.0:
            return
        self._told = limit
        text = f"a gradient of norm {short(norm)} was scaled down to {short(limit)}; later ones alike"
        monitor.event("gradients_clipped", text, norm=norm, limit=limit, action="ClipGradients")


def _clip(optimizer: Any, limit: float) -> Pending[float] | None:
    """Clip at a norm; the norm before, without the loss scale, on its way. None without gradients."""
    import torch

    from lossdoctor.torchkit.norms import Pending

    gradients = [p.grad for p in parameters(optimizer) if p.grad is not None]
    if not gradients:
        return None
    given = getattr(optimizer, "grad_scale", None)  # set by a GradScaler around the step of a fused optimizer
    scale = given if isinstance(given, torch.Tensor) else None
    most: Any = limit if scale is None else limit * scale
    with torch.no_grad():
        if any(hasattr(g, "full_tensor") for g in gradients):  # sharded: the norm is a collective
            norm = torch.nn.utils.clip_grad_norm_(parameters(optimizer), most)
            norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        else:
            norm = _norm(gradients)
            if math.isfinite(limit):
                _scale(gradients, torch.clamp(most / (norm + 1e-12), max=1.0))
        true = (norm if scale is None else norm / scale).reshape(1)
    return Pending([((0,), true)], 1, lambda values: float(values[0]))


def _norm(gradients: list[Tensor]) -> Tensor:
    """Of all as one vector, on the device of the first."""
    import torch

    groups: dict[tuple[Any, Any], list[Tensor]] = {}
    for gradient in gradients:
        dense = gradient if gradient.layout is torch.strided else gradient.coalesce().values()
        wide = torch.float64 if dense.dtype in (torch.float64, torch.complex128) else torch.float32
        groups.setdefault((dense.device, wide), []).append(dense.abs() if dense.is_complex() else dense)
    each = [torch.stack(torch._foreach_norm(g, 2, dtype=wide)) for (_, wide), g in groups.items()]
    norms = [torch.linalg.vector_norm(values) for values in each]
    total: Tensor = torch.linalg.vector_norm(torch.stack([n.to(norms[0].device, norms[0].dtype) for n in norms]))
    return total


def _scale(gradients: list[Tensor], share: Tensor) -> None:
    """Multiply by a share; not where it is no number, so that a NaN stays where it came up."""
    import torch

    share = torch.where(torch.isfinite(share) & (share > 0), share, torch.ones_like(share))
    groups: dict[tuple[Any, Any], list[Tensor]] = {}
    for gradient in gradients:
        groups.setdefault((gradient.device, gradient.dtype), []).append(gradient)
    for (device, dtype), group in groups.items():
        here = share.to(device, dtype if not dtype.is_complex else None)
        if all(g.layout is torch.strided for g in group):
            torch._foreach_mul_(group, here)
        else:
            for gradient in group:
                gradient.mul_(here)
