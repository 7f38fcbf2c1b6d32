"""ONNX's own node tests, run through the compile path."""
