"""Training and validation data compared."""
