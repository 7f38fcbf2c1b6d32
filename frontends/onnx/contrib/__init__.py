"""onnxruntime's operators, and QONNX's, as bodies of ONNX's own."""
