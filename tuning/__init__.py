"""Search for faster schedules by measuring: what ``tvmc tune`` runs. Compilation needs none of it."""
