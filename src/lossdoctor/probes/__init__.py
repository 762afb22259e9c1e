"""Active tests on a torch model: the curve says that something is wrong, these say why. They leave no trace.

Each takes the model, its loss and its batches, and returns a :class:`~lossdoctor.probes.result.ProbeResult`: numbers, a
verdict in words, charts, and measurements that rules judge. They need torch (the extra ``torch``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossdoctor.probes.result import ProbeResult as ProbeResult

# Function -> the file that holds it. Everything is imported on use: torch comes with the first test.
_EXPORTS = {
    "ProbeResult": "lossdoctor.probes.result",
}

__all__ = [
    "ProbeResult",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'lossdoctor.probes' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
