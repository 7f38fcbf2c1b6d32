"""An ONNX file to a Relax module."""
