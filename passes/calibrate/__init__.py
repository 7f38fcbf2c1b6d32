"""Ranges from samples."""
