"""Experiments that really train: small nets, made-up data, seconds on one thread; nothing is drawn by hand."""

from __future__ import annotations

# The order in which they read as a course.
NAMES: tuple[str, ...] = (
    "four_patterns",
    "overfitting_remedies",
    "warmup",
    "normalisation",
    "gradient_clipping",
    "fp16_overflow",
    "initialisation",
    "seed_variance",
)
