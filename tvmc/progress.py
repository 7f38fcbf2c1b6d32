"""Progress bars, on standard error and only where someone looks at it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm


def progress(description: str, total: int | None) -> tqdm:
    """Return the bar of one phase: a context manager with ``update(n=1)``.

    Parameters
    ----------
    description : what is being done, such as ``"calibrate"``.
    total : number of steps; None where it is not known.
    """
    from tqdm import tqdm

    # disable=None: silent where standard error is no terminal.
    return tqdm(desc=description, total=total, file=sys.stderr, disable=None, leave=False, dynamic_ncols=True)
