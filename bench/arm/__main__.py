"""``python -m tvmq.bench.arm``."""

import sys

from .run import main

sys.exit(main())
