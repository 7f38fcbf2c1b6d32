"""Tables and numbers as text for a terminal or a pipe."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_PIPE_WIDTH = 200  # columns of text, where no terminal tells its own
_TEXT_WIDTH = 24  # a column of text gets at least this before figures take the rest
_BETWEEN = 3  # blanks between two columns


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; a column whose name starts with ``>`` holds figures and is aligned right.

    Long text wraps; figures do not, and the last of them are left out, with a line that says so, where a terminal is
    too narrow. In a pipe a table with figures is as wide as it needs to be. Without any name for a column there is no
    header.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[str(value) for value in row] for row in rows]
    widths = _widths(columns, cells)
    has_figures = any(map(_is_figure, columns))
    console = Console(width=None)
    if not sys.stdout.isatty():
        console.width = max(_PIPE_WIDTH, sum(widths) if has_figures else 0)
    shown = _places_that_fit(columns, widths, console.width)
    table = Table(
        title=Text(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    table.show_header = any(columns)
    for place in shown:
        is_figure = _is_figure(columns[place])
        table.add_column(
            columns[place].removeprefix(">"),
            justify="right" if is_figure else "left",
            no_wrap=is_figure,
            overflow="fold",
        )
    for row in cells:
        # As Text: a name such as "[bold]" is no markup.
        table.add_row(*(Text(row[place]) for place in shown))
    with console.capture() as capture:
        console.print(table)
    lines = (line.rstrip() for line in capture.get().splitlines())
    print("\n".join(line for line in lines if line))
    left_out = [column.removeprefix(">") for place, column in enumerate(columns) if place not in shown]
    if left_out:
        print(f" no room for: {', '.join(left_out)} (a wider terminal has it, and a pipe)")
    print()


def _is_figure(column: str) -> bool:
    return column.startswith(">")


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return what each column takes that does not wrap."""
    texts = [columns, *rows]
    return [
        _BETWEEN + max(len(text[place].removeprefix(">")) for text in texts) for place in range(len(columns))
    ]


def _places_that_fit(columns: Sequence[str], widths: Sequence[int], width: int) -> list[int]:
    """Return the columns for which there is room: all text, and the first figures."""
    left = width - sum(
        min(needed, _TEXT_WIDTH)
        for column, needed in zip(columns, widths, strict=True)
        if not _is_figure(column)
    )
    shown = []
    for place, column in enumerate(columns):
        if _is_figure(column):
            left -= widths[place]
        if left >= 0 or not _is_figure(column):
            shown.append(place)
    return shown


def counted(layers: Iterable[Mapping[str, Any]]) -> str:
    """Return how many layers there are of each status: ``"12 int8, 3 int8 with 4-bit weights, 1 float"``."""
    counts = Counter(map(_status, layers))
    return ", ".join(f"{count} {status}" for status, count in counts.most_common()) or "none"


def _status(layer: Mapping[str, Any]) -> str:
    status, bits = str(layer["status"]), layer["details"].get("weight_bits", 8)
    return f"{status} with {bits}-bit weights" if status == "int8" and bits < 8 else status


_OF_TVM = ("max_num_threads", "thread_warp_size", "max_threads_per_block", "registers_per_block")
"""Attributes of every GPU's target, which nobody types."""


def typed(target: Mapping[str, Any]) -> str:
    """Return a target's attributes as a user types them: ``"llvm -mcpu=znver3"``."""
    words = [str(target["kind"])]
    for name, value in target.items():
        if name == "host":
            words.append(f"-host='{typed(value)}'")
        elif name not in ("kind", "keys", "tag", *_OF_TVM):
            words.append(f"-{name}={','.join(map(str, value)) if isinstance(value, list) else value}")
    return " ".join(words)


def megabytes(size: float) -> str:
    """Return a size in bytes as text, in bytes, kB or MB."""
    if size < 1000:
        return f"{size:.0f} bytes"
    return f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:.2f} MB"


def shaped(tensor: Mapping[str, Any]) -> str:
    """Return a tensor's shape and dtype: ``"[1,3,224,224] float32"``, an open dimension by its name."""
    axes = tensor.get("open", {})
    extents = [axes.get(str(axis), str(extent)) for axis, extent in enumerate(tensor["shape"])]
    return f"[{','.join(extents)}] {tensor['dtype']}"
