"""One table, for the terminal and as Markdown, and how a command of one table shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import rich.table
from rich.console import Console

TEXT_HEADINGS = ("engine", "function", "instruction set", "operator", "network", "model", "method")
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


def show_table(table: Table, about: Sequence[str], console: Console, stem: Path | None) -> None:
    """Print a table behind lines about the run, and write them to ``stem.md`` where there is a stem."""
    if stem:
        lines = [*(f"- {fact}" for fact in about), "", *table.to_markdown()]
        Path(f"{stem}.md").write_text("\n".join(lines) + "\n")
    for line in about:
        console.print(line)
    console.print(table.to_terminal())
