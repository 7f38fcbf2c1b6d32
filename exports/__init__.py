"""Modules of the hub as files of other formats."""
