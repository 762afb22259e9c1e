"""Which active test to run next, and which of the advised remedies help.

:func:`workup` takes what a diagnosis holds possible, and runs the cheapest test that tells most, until one cause stands
out. :func:`prove` tries the advised remedies in short runs. The first needs torch (the extra ``torch``), the second
Optuna (the extra ``prove``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossdoctor.workup.chain import WorkUp as WorkUp
    from lossdoctor.workup.menu import Patient as Patient
    from lossdoctor.workup.menu import Test as Test
    from lossdoctor.workup.proof import Proof as Proof
    from lossdoctor.workup.proving import prove as prove
    from lossdoctor.workup.working import workup as workup

# Function -> the file that holds it. Everything is imported on use: torch and Optuna come with the first call.
_EXPORTS = {
    "Patient": "lossdoctor.workup.menu",
    "Proof": "lossdoctor.workup.proof",
    "Test": "lossdoctor.workup.menu",
    "WorkUp": "lossdoctor.workup.chain",
    "prove": "lossdoctor.workup.proving",
    "workup": "lossdoctor.workup.working",
}

__all__ = ["Patient", "Proof", "Test", "WorkUp", "prove", "workup"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'lossdoctor.workup' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
