"""The parser of a subcommand: argparse's, where it would not read what the old ``tvmc`` read."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import TvmqError
from .old.config import expand_config
from .old.targets import split_flags


class CommandParser(argparse.ArgumentParser):
    """Reads ``--desired-layout NCHW model.onnx``, flags of targets that have no table here, and ``--config FILE.json``.

    A subcommand's FILE is declared with ``nargs="?"``: a flag that takes a list would else keep it, and it is taken
    back from there. A parser with ``--target`` puts the names of such flags into ``other_target_flags``.
    """

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        flags: Sequence[str] = ()
        if args is not None:
            args = self._with_config(args)
            if "--target" in self._option_string_actions:
                args, flags = split_flags(args)
        namespace, extras = super().parse_known_args(args, namespace)
        namespace.other_target_flags = flags
        if getattr(namespace, "FILE", ...) is None:
            namespace.FILE = self._file_within_lists(namespace)
        return namespace, extras

    def _with_config(self, args: Sequence[str]) -> list[str]:
        try:
            return expand_config(args, self._option_string_actions)
        except TvmqError as error:
            self.error(str(error))

    def _file_within_lists(self, namespace: argparse.Namespace) -> Path:
        """Return the last word of a list, one that is a file's name if there is such, and take it out there."""
        lists = [getattr(namespace, action.dest) for action in self._actions if action.nargs == "+"]
        long = [values for values in lists if isinstance(values, list) and len(values) > 1]
        long.sort(key=lambda values: not Path(values[-1]).is_file())
        if not long:
            self.error("the following arguments are required: FILE")
        return Path(long[0].pop())
