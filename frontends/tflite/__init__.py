"""TFLite files, as graphs that the ONNX importer reads: each operator a node, its meaning in ``bodies/``."""
