"""Does the loss start where guessing is."""
