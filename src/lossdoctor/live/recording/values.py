"""What a user logs, as float64: at once, or, from a GPU, when it has arrived by itself."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol


class Arrival(Protocol):
    """A number on its way: ``ready()`` never waits, ``result()`` does where it must."""

    def ready(self) -> bool: ...
    def result(self) -> float: ...


class NotANumberError(TypeError):
    """A value that ``float()`` does not take."""


def number(value: Any) -> float | Arrival:
    """The value as a Python float, or on its way to be one.

    An integer beyond float64's range becomes infinite. Tensors and arrays of one element count, whatever their shape.

    Raises:
        NotANumberError: it is no number.

    >>> number(3), number(True), number("0.5"), number(-(10**400))
    (3.0, 1.0, 0.5, -inf)
    """
    if type(value) is float:
        return value
    arriving = _from_device(value)
    if arriving is not None:
        return arriving
    try:
        return float(value.detach() if hasattr(value, "detach") else value)  # torch warns of graphs otherwise
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except Exception:
        pass
    try:  # an array of one element that is no scalar to float()
        return float(value.item())
    except Exception:
        raise NotANumberError(f"{type(value).__name__} {_shown(value)}") from None


def _shown(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"of shape {tuple(shape)}"
    try:
        return repr(value)[:60]
    except Exception:
        return ""


def _from_device(value: Any) -> Arrival | None:
    """A scalar tensor on a GPU starts its copy to the host here, behind what is queued already; nothing waits."""
    if not getattr(value, "is_cuda", False) or "torch" not in sys.modules or value.numel() != 1:
        return None
    from lossdoctor.torchkit.norms import Pending

    pending: Pending[float] = Pending([((0,), value.detach().reshape(1))], 1, lambda numbers: float(numbers[0]))
    return pending


def numbers(metrics: Mapping[str, Any], refuse: Callable[[str, str], None]) -> tuple[dict[str, Any], bool]:
    """Name -> float or :class:`Arrival`, and whether all are there. None is left out; no numbers are refused by name.

    >>> numbers({"loss": 1, "val_loss": None, "note": "x"}, lambda name, found: print(name, found))
    note str 'x'
    ({'loss': 1.0}, True)
    """
    taken: dict[str, Any] = {}
    complete = True
    for name, value in metrics.items():
        if value is None:
            continue
        try:
            taken[name] = found = number(value)
        except NotANumberError as error:
            refuse(name, str(error))
            continue
        except Exception as error:  # whatever a foreign type does when it is asked what it is
            refuse(name, f"{type(value).__name__}: {type(error).__name__}")
            continue
        complete = complete and type(found) is float
    return taken, complete


def arrived(metrics: Mapping[str, Any]) -> bool:
    """Whether all numbers of a row are there. What cannot be asked is: its failure shows in :func:`results`."""
    try:
        return all(type(v) is float or v.ready() for v in metrics.values())
    except Exception:
        return True


def results(metrics: Mapping[str, Any], refuse: Callable[[str, str], None]) -> dict[str, float]:
    """The numbers of a row, waited for where they are not there; what fails to arrive is refused by name."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        try:
            found[name] = value if type(value) is float else value.result()
        except Exception as error:  # a device that has failed: training will hear of it by itself
            refuse(name, f"{type(error).__name__} on its way from the device")
    return found
