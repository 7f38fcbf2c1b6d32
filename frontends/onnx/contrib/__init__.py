"""onnxruntime's operators, and one of QONNX's, as bodies of ONNX's own."""
