"""The tables of options as those of ``docs/config.md``; ``python -m tvmq.config.docs docs/config.md`` renews them.

A generated part of the page stands between two comments, ``<!-- options -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from .hardware_file import KEYS, OPTIONAL
from .table import OPTIONS, SECTIONS, TOP, Option


def options_table() -> str:
    """Return a heading and a table for each section of the file."""
    parts = []
    for section, text in SECTIONS.items():
        title = "### `[" + section + "]`" if section else "### Top of the file"
        rows = [_option_row(option) for option in OPTIONS if option.section == section]
        if section == TOP:
            text += " Paths are relative to the file."
        parts.append(
            "\n".join([title, "", text, "", _header("key", "value", "flag", "meaning", "default"), *rows])
        )
    return "\n\n".join(parts)


def hardware_table() -> str:
    """Return the keys of a hardware description."""
    rows = [
        _row(f"`{key}`" + (" (optional)" if key in OPTIONAL else ""), kind.expected, text)
        for key, (kind, text) in KEYS.items()
    ]
    return "\n".join([_header("key", "value", "meaning"), *rows])


def renewed(page: str) -> str:
    """Return a page with its generated parts anew."""
    for name, text in (("options", options_table()), ("hardware", hardware_table())):
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.S)
        # The text goes in as it is: a backslash in it is no reference to a group.
        page, count = pattern.subn(r"\1" + text.replace("\\", r"\\") + r"\n\2", page)
        if count != 1:
            raise ValueError(f"the page has {count} parts {name!r}, and should have one")
    return page


def _option_row(option: Option) -> str:
    flags = f"`{option.flag}`" + (f", `{option.off}`" if option.off else "")
    return _row(f"`{option.key}`", option.kind.expected, flags, option.help, option.default)


def _header(*names: str) -> str:
    return _row(*names) + "\n" + "|" + "---|" * len(names)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(renewed(page.read_text()))
