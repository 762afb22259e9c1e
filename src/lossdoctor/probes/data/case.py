"""What every check of the data gets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lossdoctor.probes.data.finding import MOST_ROWS
from lossdoctor.probes.data.stability import Stability, stability_of
from lossdoctor.probes.data.table import Table

LEVEL = 0.01  # the chance that any one check alarms on data that are sound
WORST = 10  # features that are named one by one; the others are counted


@dataclass(frozen=True)
class Case:
    """The data, and what the caller said of the run.

    Attributes:
        train: what the model is trained on.
        val: what it is judged on, or None.
        lr: the learning rate, or None.
        stability: up to which rate a linear model on these inputs is stable; None where they are no quantities.
    """

    train: Table
    val: Table | None = None
    lr: float | None = None

    @cached_property
    def stability(self) -> Stability | None:
        return stability_of(self.train)


def rows_of(table: Table, places: Iterable[int] | np.ndarray) -> tuple[int, ...]:
    """What messages call the first of these examples."""
    held = np.asarray(places if isinstance(places, np.ndarray) else list(places), dtype=np.int64)
    return tuple(int(r) for r in table.rows[held[:MOST_ROWS]])


def share_of_batches(table: Table, places: np.ndarray) -> tuple[int, int]:
    """(batches that hold these examples, batches in all)."""
    return len(np.unique(table.batch[places])), int(table.batch[-1]) + 1 if len(table.batch) else 0


def in_one_batch(table: Table, places: np.ndarray) -> dict[str, float]:
    """The cause "bad-batch", where what is wrong sits in one batch of many."""
    held, total = share_of_batches(table, places)
    return {"bad-batch": 6.0} if total >= 10 and held == 1 and len(places) else {}
