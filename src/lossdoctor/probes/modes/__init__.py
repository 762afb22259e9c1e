"""The same batches in training and in evaluation mode."""
