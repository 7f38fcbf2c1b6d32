"""``python -m tvmq.bench.cuda``: what the kernels of a GPU do, and how fast, in some minutes on one."""
