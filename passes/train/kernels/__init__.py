"""Kernels of the gradients of convolutions and products, and the calls that emit them."""
