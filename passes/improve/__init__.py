"""Methods that better what rounding to nearest gives: one pass a file."""
