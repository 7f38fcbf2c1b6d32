"""The flags that say how to quantize and what to calibrate with: one for each row of ``config.table``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import table
from ..config.config import make_config, read_values
from ..config.table import OPTIONS, Option

if TYPE_CHECKING:
    from ..config.config import Config

_TITLES = {
    table.TOP: "configuration",
    table.QUANTIZATION: "quantization",
    table.CALIBRATION: "calibration",
    table.SEARCH: "search for bits",
    table.FINE_TUNE: "fine-tuning",
    table.ACCURACY: "accuracy",
    table.IMAGE: "images as calibration data",
}


def add_quantize_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``, ``--quantize`` and what goes with it."""
    groups = {section: parser.add_argument_group(title) for section, title in _TITLES.items()}
    groups[table.TOP].add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="a TOML file with any of the options below; flags win over it",
    )
    for option in OPTIONS:
        _add(groups[option.section], option)


def config_of(args: argparse.Namespace) -> Config:
    """Return what the file of ``--config`` and the flags say together; raises ``TvmqError``.

    Each switch, and each other flag that was given, replaces what the file says of the same option.
    """
    values = {} if args.config is None else read_values(args.config)
    for option in OPTIONS:
        given = getattr(args, option.dest)
        if given is not None:
            values[option] = given if option.kind.is_switch else option.kind.join(given)
    return make_config(values)


def _add(group: argparse._ArgumentGroup, option: Option) -> None:
    default = f" (default: {option.default})" if option.default else ""
    text = (option.help + default).replace("%", "%%")
    if option.kind.is_switch:
        group.add_argument(option.flag, dest=option.dest, action="store_const", const=True, help=text)
        group.add_argument(
            option.off, dest=option.dest, action="store_const", const=False, help=f"not {option.flag}"
        )
        return
    group.add_argument(
        option.flag,
        dest=option.dest,
        type=_reader(option),
        action="append",
        metavar=option.kind.metavar,
        help=text,
    )
    if option.off:
        group.add_argument(
            option.off,
            dest=option.dest,
            action="append_const",
            const=option.off_value,
            help=f"the same as {option.flag} {option.off_value}",
        )


def _reader(option: Option) -> Callable[[str], Any]:
    """Return the function that argparse calls with a flag's text."""

    def read(text: str) -> Any:
        try:
            return option.kind.from_text(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} must be {option.kind.expected}") from error

    return read
