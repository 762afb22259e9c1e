"""Experiments that really train a model."""

# One file each, in the order in which they read as a course.
NAMES: tuple[str, ...] = ()
