"""The gradient noise scale, and the batch that it speaks for."""
