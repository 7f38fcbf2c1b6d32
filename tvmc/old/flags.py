"""A flag of the old ``tvmc`` that has nothing to act on --> one line that says what happens instead.

    --executor graph                        the virtual machine runs it
    --num-cores 4 --cache-line-bytes 64     one line for both, since they say the same

The rows are in ``table.py``.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import TvmqError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OldFlag:
    """One such flag.

    Attributes
    ----------
    name : with its dashes.
    note : what happens instead; also its help.
    shape : how argparse reads it: ``{"action": "store_true"}``, ``{"nargs": "+"}`` and so on.
    same : values that ask for what happens anyway.
    refused : values, or ``"*"`` for all others, for which there is nothing that could happen instead, and why.
    keyword : its name in the Python functions, where that differs.
    """

    name: str
    note: str = ""
    shape: Mapping[str, Any] = field(default_factory=dict)
    same: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    keyword: str = ""

    @property
    def dest(self) -> str:
        """The name of its value among argparse's, and among Python's keywords unless ``keyword`` says another."""
        return self.name.lstrip("-").replace("-", "_")

    def refusal(self, value: str) -> str | None:
        """Return why a value is refused; None where it is not."""
        if value in self.same:
            return None
        return self.refused.get(value, self.refused.get("*"))


def add_old_flags(parser: argparse.ArgumentParser, flags: Sequence[OldFlag]) -> None:
    """Add the flags, in a group of their own."""
    group = parser.add_argument_group(
        "from the old tvmc",
        "taken so that its command lines run; each given one is answered by a line that says what happens instead",
    )
    for flag in flags:
        text = flag.note or "; ".join(sorted(set(flag.refused.values())))
        shape = {"metavar": "VALUE", **flag.shape}
        if "choices" in shape or shape.get("action") == "store_true":
            del shape["metavar"]
        group.add_argument(flag.name, dest=flag.dest, help=text.replace("%", "%%"), **shape)


def say(flags: Sequence[OldFlag], values: Mapping[str, Any], *, keywords: bool = False) -> None:
    """Log a line for each kind of flag that was given.

    Parameters
    ----------
    values : by ``dest``, or by keyword with ``keywords``; what is None, False or empty was not given.

    Raises
    ------
    TvmqError : a value is refused.
    """
    lines: dict[str, list[str]] = {}
    for flag in flags:
        key = (flag.keyword or flag.dest) if keywords else flag.dest
        given = values.get(key)
        if given in (None, False, "", []):
            continue
        values_given = given if isinstance(given, list | tuple) else [given]
        texts = ["" if value is True else str(value) for value in values_given]
        label = key if keywords else " ".join([flag.name, *texts]).strip()
        for text in texts:
            reason = flag.refusal(text)
            if reason is not None:
                raise TvmqError(f"{label}: {reason}")
        if not set(texts) <= set(flag.same):
            lines.setdefault(flag.note, []).append(label)
    for note, labels in lines.items():
        logger.warning("%s: %s", ", ".join(labels), note)
