"""Can the model learn a few examples by heart."""
