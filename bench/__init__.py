"""Accuracy and speed of tvmq beside onnxruntime and OpenVINO/NNCF: ``python -m tvmq.bench``."""
