"""Experiments that really train: small nets, made-up data, seconds on one thread; nothing is drawn by hand."""

from __future__ import annotations

# The order in which they read as a course.
NAMES: tuple[str, ...] = (
    "four_patterns",
    "more_patterns",
    "overfitting_remedies",
    "smoothing_augmentation",
    "loss_vs_metric",
    "normalisation",
    "initialisation",
    "warmup",
    "gradient_clipping",
    "fp16_overflow",
    "seed_variance",
    "sharp_flat",
    "growing_batch",
)
