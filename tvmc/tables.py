"""Tables and numbers as text for a terminal or a pipe."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_PIPE_WIDTH = 200  # columns, where no terminal tells its own


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; a column whose name starts with ``>`` is aligned right. Long values wrap.

    Without any name for a column there is no header.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    table.show_header = any(columns)
    for column in columns:
        is_right = column.startswith(">")
        table.add_column(column.removeprefix(">"), justify="right" if is_right else "left", overflow="fold")
    for row in rows:
        # As Text: a name such as "[bold]" is no markup.
        table.add_row(*(Text(str(value)) for value in row))
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    with console.capture() as capture:
        console.print(table)
    lines = (line.rstrip() for line in capture.get().splitlines())
    print("\n".join(line for line in lines if line) + "\n")


def counted(layers: Iterable[Mapping[str, Any]]) -> str:
    """Return how many layers there are of each status: ``"12 int8, 1 float"``."""
    counts = Counter(str(layer["status"]) for layer in layers)
    return ", ".join(f"{count} {status}" for status, count in counts.most_common()) or "none"


def typed(target: Mapping[str, Any]) -> str:
    """Return a target's attributes as a user types them: ``"llvm -mcpu=znver3"``."""
    words = [str(target["kind"])]
    for name, value in target.items():
        if name not in ("kind", "keys", "tag"):
            words.append(f"-{name}={','.join(map(str, value)) if isinstance(value, list) else value}")
    return " ".join(words)


def megabytes(size: float) -> str:
    """Return a size in bytes as text, in bytes, kB or MB."""
    if size < 1000:
        return f"{size:.0f} bytes"
    return f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:.2f} MB"


def shaped(tensor: Mapping[str, Any]) -> str:
    """Return a tensor's shape and dtype: ``"[1,3,224,224] float32"``."""
    return f"[{','.join(map(str, tensor['shape']))}] {tensor['dtype']}"
