"""Does the input, does the label matter."""
