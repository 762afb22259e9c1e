"""The descent lab: loss functions, surfaces, optimizers and schedules, to see and to play with.

The lab computes; :mod:`lossdoctor.render` draws. It needs torch (the extra ``torch``); the extra
``lab`` adds the optimizers that torch has not (LARS, LAMB, Lion, …): ``pip install 'lossdoctor[lab]'``.

>>> from lossdoctor import lab
>>> lab.descend("quadratic", optimizer="sgd", lr=0.1, starts=[[0.0]], steps=100).state(0)
'monotone'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossdoctor.lab.basins import basin_map as basin_map
    from lossdoctor.lab.descent import Descent as Descent
    from lossdoctor.lab.descent import descend as descend
    from lossdoctor.lab.result import Experiment as Experiment
    from lossdoctor.lab.result import Panel as Panel
    from lossdoctor.lab.surfaces import Surface as Surface
    from lossdoctor.lab.surfaces import surface as surface

# Everything is imported on use: torch comes in with the first descent, not with the package.
_EXPORTS = {
    "Descent": "lossdoctor.lab.descent",
    "Experiment": "lossdoctor.lab.result",
    "Panel": "lossdoctor.lab.result",
    "Surface": "lossdoctor.lab.surfaces",
    "basin_map": "lossdoctor.lab.basins",
    "descend": "lossdoctor.lab.descent",
    "surface": "lossdoctor.lab.surfaces",
}
_ROOMS = (
    "basins",
    "convergence",
    "experiments",
    "guide",
    "landscapes",
    "losses",
    "optimizers",
    "result",
    "schedules",
    "surfaces",
)

__all__ = [
    "Descent",
    "Experiment",
    "Panel",
    "Surface",
    "basin_map",
    "basins",
    "convergence",
    "descend",
    "experiments",
    "guide",
    "landscapes",
    "losses",
    "optimizers",
    "result",
    "schedules",
    "surface",
    "surfaces",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    if name in _ROOMS:
        return import_module(f"lossdoctor.lab.{name}")
    raise AttributeError(f"module 'lossdoctor.lab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
