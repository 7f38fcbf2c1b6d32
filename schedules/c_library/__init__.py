"""A model as a C library: kernels of raw pointers, and a plan of calls over one piece of memory."""
