"""The package file: what it holds, how it is loaded and run. Nothing here imports TVM's compiler."""
