"""LD107 nonfinite-masked."""

from __future__ import annotations

from tests.rules import shapes
from tests.rules.cases import losses, seeded

NAN, INF = float("nan"), float("inf")
_LOSS = [2.0 * 0.98**i + 0.3 for i in range(100)]
_NORM = [1.0 + 0.01 * (i % 7) for i in range(100)]

SICK = {
    "zero loss, NaN norms": lambda: losses(*_LOSS[:40], *[0.0] * 30, grad_norm=[*_NORM[:40], *[NAN] * 30]),
    "finite loss, infinite norms": lambda: losses(*_LOSS, grad_norm=[*_NORM[:60], *[INF] * 40]),
}
HEALTHY = {
    "norms finite": lambda: losses(*_LOSS, grad_norm=_NORM),
    "single steps skipped by the loss scaler": lambda: losses(
        *_LOSS, grad_norm=[INF if i in (0, 1, 30, 90) else v for i, v in enumerate(_NORM)]
    ),
    "no norms": seeded(shapes.pretraining, 3),
    "the loss says it itself": lambda: losses(*_LOSS[:60], *[NAN] * 40, grad_norm=[*_NORM[:60], *[NAN] * 40]),
}
