"""One table, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import rich.table

TEXT_HEADINGS = ("engine", "instruction set", "operator", "network", "model", "method")
"""Columns of words, which begin at the left; the others are of numbers."""


@dataclass(frozen=True)
class Table:
    """Cells as they are shown, one sequence a row, as long as the headings."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    def to_terminal(self) -> rich.table.Table:
        """Return what a rich console prints."""
        table = rich.table.Table()
        for heading in self.headings:
            table.add_column(heading, justify="left" if heading in TEXT_HEADINGS else "right")
        for cells in self.rows:
            table.add_row(*cells)
        return table

    def to_markdown(self) -> list[str]:
        """Return the lines."""
        rule = ["---" if heading in TEXT_HEADINGS else "---:" for heading in self.headings]
        return [f"| {' | '.join(cells)} |" for cells in (self.headings, rule, *self.rows)]
