"""Converters of torch's operators, and the table of them."""
