"""Does the order of the batches do harm."""
