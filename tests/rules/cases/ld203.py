"""LD203 slow-descent."""

from __future__ import annotations

from tests.rules import shapes
from tests.rules.cases import losses, seeded

SICK = {
    "a straight shallow line": seeded(shapes.crawling, 1),
    "another": seeded(shapes.crawling, 2),
    "fifty epochs": lambda: losses(*[1.5 - 0.005 * i + 0.003 * ((i * 7) % 5 - 2) for i in range(50)]),
}
HEALTHY = {
    "pretraining": seeded(shapes.pretraining, 4),
    "epochs": seeded(shapes.epochs, 5),
    "level": seeded(shapes.level_tail, 2),
    "flat": seeded(shapes.flat, 2),
}
