"""Training: the gradients of a float module's parameters."""
