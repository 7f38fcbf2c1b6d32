"""Relax to Relax: rooms in the order in which a model walks through them (``docs/architecture.md``)."""
