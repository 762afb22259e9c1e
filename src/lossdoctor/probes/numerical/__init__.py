"""Gradients by autograd against centred differences."""
