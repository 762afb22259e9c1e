"""What is known of a metric's unit: the one place where a loss may be compared with a fixed number."""

from __future__ import annotations

import math

import numpy as np

from lossdoctor.core.names import tokens
from lossdoctor.rules.base import Case
from lossdoctor.signal.reading import Reading

_HIGH = math.log(100)  # a language model that has learned anything guesses better than one in a hundred


def is_cross_entropy(case: Case, metric: str, reading: Reading) -> bool:
    """Whether a loss is a cross-entropy in nats: its name says so, or it is the logarithm of a logged perplexity."""
    words = set(tokens(metric))
    if {"cross", "entropy"} <= words or words & {"crossentropy", "ce", "xent", "nll"} or {"lm", "loss"} <= words:
        return True
    for name, other in case.readings.items():
        if name == metric or not set(tokens(name)) & {"ppl", "perplexity"} or not len(other) or not len(reading):
            continue
        level = reading.end.value
        if level < 700 and math.isclose(math.exp(level), other.end.value, rel_tol=0.1):
            return True
    return False


def far_above_expected(case: Case, metric: str, reading: Reading) -> bool:
    """Whether a known cross-entropy ends where no model should: above ln 100. False when its unit is not known."""
    return (
        is_cross_entropy(case, metric, reading) and bool(np.isfinite(reading.end.value)) and reading.end.value > _HIGH
    )
