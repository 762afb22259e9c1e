"""What acting on a run is worth: the parts of :mod:`benchmarks.acting`."""
