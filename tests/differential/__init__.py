"""Random small graphs over every operator that the importer reads, beside the reference evaluators."""
