"""LD108 clipping-saturated. What the known limit shows is in test_stability_evidence.py: a limit has a scale."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded


def _clipped(limit: float, *, rises: bool = False, both: bool = False) -> TrainingHistory:
    """Norms as they are after clipping at a limit; before it they scatter about 1."""
    rng = np.random.default_rng(1)
    t = np.linspace(0, 1, 400)
    loss = (1 + 2 * np.exp(-t * 10) + (2 * t if rises else 0)) * np.exp(rng.normal(0, 0.03, 400))
    before = np.exp(rng.normal(0, 0.5, 400))
    after = before * np.minimum(1, limit / (before + 1e-6))
    more = (
        {"grad_norm": before.tolist(), "clipped_grad_norm": after.tolist()} if both else {"grad_norm": after.tolist()}
    )
    return losses(*loss, **more)


def _frozen() -> TrainingHistory:
    """The norm stands still because the model does, or because it died at its highest gradient."""
    rng = np.random.default_rng(2)
    norm = [*np.exp(rng.normal(0, 0.3, 80)), *[300.0] * 320]
    return losses(*np.exp(rng.normal(0, 0.3, 400)), grad_norm=norm)


SICK = {
    "logged after clipping": lambda: _clipped(0.8),
    "every step": lambda: _clipped(0.1),
    "loss rises too": lambda: _clipped(0.7, rises=True),
    "norm before and after": lambda: _clipped(0.5, both=True),
}
HEALTHY = {
    "clips the tail": lambda: _clipped(2.0),
    "clips a third": lambda: _clipped(1.3),
    "frozen": _frozen,
    "constant norm, constant loss": lambda: losses(*[2.0] * 50, grad_norm=[0.5] * 50),
    "no norms": seeded(shapes.pretraining, 5),
}
