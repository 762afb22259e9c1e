"""Which active test to run next, until one cause stands out; and which of the advised remedies help."""
