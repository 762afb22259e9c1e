"""LD205 stopped-too-early."""

from __future__ import annotations

from tests.rules import shapes
from tests.rules.cases import losses, seeded

_WIGGLE = [0.001 * ((i * 7) % 5 - 2) for i in range(100)]

SICK = {
    "cut in mid-descent": lambda: losses(*[3.0 - 0.02 * i + w for i, w in enumerate(_WIGGLE)]),
    "still falling": lambda: losses(*[3.0 * 0.98**i + w for i, w in enumerate(_WIGGLE)]),
}
HEALTHY = {
    "level tail": seeded(shapes.level_tail, 5),
    "overfitted": seeded(shapes.overfitted, 2),
    "flat": seeded(shapes.flat, 3),
}
