"""Judging a run while it grows: the verdict of the rows so far, when to ask for it, and what of it is told."""
