"""Experiments: each a function with options that answers one question and returns figures, tables and runs.

>>> from lossdoctor.lab import experiments
>>> experiments.run("blind_hiker", lr=0.2, steps=40).numbers["state"]
'monotone'
"""

from lossdoctor.lab.experiments.base import LR, SEED, STEPS, Option, Spec, every, experiment, found, get, names, run

# One file each, in the order in which they read as a course.
NAMES: tuple[str, ...] = (
    "loss_functions",
    "outlier",
    "blind_hiker",
    "step_table",
    "learning_rates",
    "critical_rate",
    "overflow",
    "lr_range_test",
    "revenue",
    "double_well",
    "himmelblau",
    "saddle",
    "plateau_crossing",
    "ravine",
    "momentum",
    "optimizers",
    "adam_first_steps",
    "schedules",
    "house_prices",
    "missing_values",
    "batch_variants",
    "mini_batch",
    "gradient_noise",
    "linear_scaling",
    "descent",
)

__all__ = ["LR", "NAMES", "SEED", "STEPS", "Option", "Spec", "every", "experiment", "found", "get", "names", "run"]
