"""tvmq: quantization, tuned kernels and the ``tvmc`` command line for Apache TVM."""

from __future__ import annotations

__version__ = "0.1.0"
