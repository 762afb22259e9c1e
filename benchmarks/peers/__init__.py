"""What a user would pick instead, asked about the same curves: ``ask(history) -> Opinion``, one file per peer."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.peers import constant, debugger, keras, lightning, runmedic, seeds
from benchmarks.peers.base import Opinion
from lossdoctor.core.history import TrainingHistory

# The peers that need no training, in the order in which the report shows them. The tree ensemble is in ``trees``.
PEERS: dict[str, Callable[[TrainingHistory], Opinion]] = {
    "always “reduce the learning rate”": constant.ask,
    "the seeds' diagnose()": seeds.ask,
    "Keras EarlyStopping (patience 0) + TerminateOnNaN": keras.ask,
    "Keras EarlyStopping (patience 10) + TerminateOnNaN": keras.ask_patiently,
    "Lightning EarlyStopping": lightning.ask,
    "SageMaker Debugger, four rules": debugger.ask,
    "runmedic 0.1.1": runmedic.ask,
}

__all__ = ["PEERS", "Opinion"]
