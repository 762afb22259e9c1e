"""lossdoctor reads the loss curves of training runs and tells what is wrong, since when, why, and what to do.

>>> import lossdoctor
>>> history = lossdoctor.TrainingHistory()
>>> for step in range(200):
...     history.record(loss=2.0 * 0.97**step + 0.1)
>>> history.diagnose().status
'healthy'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossdoctor import lab as lab
    from lossdoctor.core.context import RunContext as RunContext
    from lossdoctor.core.curve import Curve as Curve
    from lossdoctor.core.history import TrainingHistory as TrainingHistory
    from lossdoctor.engine import assert_healthy as assert_healthy
    from lossdoctor.engine import diagnose as diagnose
    from lossdoctor.live import Monitor as Monitor
    from lossdoctor.live import actions as actions
    from lossdoctor.live.watching.grad_report import grad_report as grad_report
    from lossdoctor.readers import read as read

__version__ = "0.1.0"

# Everything is imported on use: `import lossdoctor` costs next to nothing.
_EXPORTS = {
    "Curve": "lossdoctor.core.curve",
    "Monitor": "lossdoctor.live",
    "RunContext": "lossdoctor.core.context",
    "TrainingHistory": "lossdoctor.core.history",
    "assert_healthy": "lossdoctor.engine",
    "diagnose": "lossdoctor.engine",
    "grad_report": "lossdoctor.live.watching.grad_report",
    "read": "lossdoctor.readers",
}
_ROOMS = {"actions": "lossdoctor.live.actions", "lab": "lossdoctor.lab", "probes": "lossdoctor.probes"}

__all__ = [
    "Curve",
    "Monitor",
    "RunContext",
    "TrainingHistory",
    "__version__",
    "actions",
    "assert_healthy",
    "diagnose",
    "grad_report",
    "lab",
    "probes",
    "read",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    if name in _ROOMS:
        return import_module(_ROOMS[name])
    raise AttributeError(f"module 'lossdoctor' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
