"""ONNX operators of which TVM's importer knows nothing, or only a part."""
