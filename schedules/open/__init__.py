"""Kernels whose extents are open: loops over kernels of fixed sizes, and kernels of any size."""
