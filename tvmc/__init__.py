"""The command line. Only a subcommand that runs imports TVM, ONNX or NumPy: help answers at once."""
