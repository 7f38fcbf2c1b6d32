"""The files of a C library, and the target's own tools that make them."""
