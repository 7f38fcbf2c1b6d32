"""The options of quantization as a table, and the files that hold them: ``tvmc --config``, ``--hardware``."""
