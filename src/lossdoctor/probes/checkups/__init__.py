"""The usual tests in a row on one target, each guarded, as one report."""
