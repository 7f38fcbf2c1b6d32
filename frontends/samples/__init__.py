"""Samples from files, folders, images and programs."""
