"""TFLite files, as graphs that the ONNX importer reads: each operator a node, its meaning in ``bodies/``.

The schema's package is imported only where such a file is read.
"""

DOMAIN = "tflite"
"""That of the nodes."""

IDENTIFIER = b"TFL3"
"""What stands behind the first four bytes of a file."""
