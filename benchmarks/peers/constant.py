"""The same advice for every run: what any cleverness has to beat."""

from __future__ import annotations

from benchmarks.peers.base import Opinion
from lossdoctor.core.history import TrainingHistory

ADVICE = ("reduce_learning_rate", "stop_early", "add_regularization")


def ask(history: TrainingHistory) -> Opinion:  # noqa: ARG001 -- that is the point of it
    """An alarm for every run and the three remedies that are named most often."""
    return Opinion(True, ADVICE)
