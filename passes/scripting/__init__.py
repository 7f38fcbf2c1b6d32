"""Passes in lists, and what watches them."""
