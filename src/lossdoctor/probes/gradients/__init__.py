"""Do gradients arrive in every layer, and what does the optimizer make of them."""
