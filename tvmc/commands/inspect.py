"""``tvmc inspect``: what a package holds, for any machine."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..tables import counted, megabytes, print_table, shaped, typed

# Columns of the table of errors: name in the report -> heading, format.
_ERRORS = {
    "layer": ("layer", ""),
    "kind": ("kind", ""),
    "bits": (">bits", "d"),
    "sqnr": (">SQNR, dB", ".1f"),
    "accumulated_sqnr": (">in all", ".1f"),
    "untuned_sqnr": (">before tuning", ".1f"),
    "cosine": (">cosine", ".5f"),
    "accumulated_cosine": (">in all", ".5f"),
    "clip_rate": (">clipped", ".2%"),
    "sparsity": (">zeros", ".1%"),
    "min": (">min", ".4g"),
    "q1": (">q1", ".4g"),
    "median": (">median", ".4g"),
    "q3": (">q3", ".4g"),
    "max": (">max", ".4g"),
    "mean": (">mean", ".4g"),
    "variance": (">variance", ".4g"),
    "scale": (">scale", ".4g"),
    "zero_point": (">zero point", "d"),
}
_OUTPUT_ERRORS = {
    "name": ("output", ""),
    "cosine": (">cosine", ".5f"),
    "sqnr": (">SQNR, dB", ".1f"),
    "max_error": (">max error", ".4g"),
    "same_argmax": (">same largest element", ".1%"),
}

_COLUMNS = (
    "layer",
    "operator",
    "runs as",
    ">input scale, zero",
    ">output dtype, scale, zero",
    ">weight shape, bits, bytes",
    ">weight scales",
    "why it stays float, and more",
)


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add this command to the command line and return its parser."""
    parser = subparsers.add_parser(
        "inspect",
        help="show what a package holds",
        description="Show a package's layers, schemes, scales and sizes, and what stayed float and why.",
        allow_abbrev=False,
    )
    parser.add_argument("FILE", type=Path, help="the package; with --errors also the folder of a report")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print everything as JSON")
    shown.add_argument(
        "--errors",
        action="store_true",
        help="show what quantization did to each tensor, worst first; needs compile --report",
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Print the package's tables.

    Raises
    ------
    TvmqError : the file is no package; with ``--errors``, it holds none.
    """
    from ...runtime.archive import read_metadata

    if args.errors:
        _print_errors(args.FILE)
        return
    metadata = read_metadata(args.FILE)
    if args.json:
        print(json.dumps(metadata, indent=1, ensure_ascii=False))
        return
    print_table(str(args.FILE), ("", ""), _overview(args.FILE, metadata))
    _print_tensors("Inputs", metadata["inputs"])
    _print_tensors("Outputs", metadata["outputs"])
    print_table("Layers", _COLUMNS, [_layer_row(layer) for layer in metadata["layers"]])


def _print_errors(path: Path) -> None:
    """Print what a report says of the outputs and of each tensor, worst first."""
    from ...report.files import read_csv, read_metadata_table
    from ...runtime.archive import read_metadata

    names = ("outputs", "tensors")
    if path.is_dir():
        outputs, tensors = (read_csv(path, name) for name in names)
    else:
        metadata = read_metadata(path)
        outputs, tensors = (read_metadata_table(metadata, name, str(path)) for name in names)
    _print_figures("Outputs", _OUTPUT_ERRORS, outputs)
    # A report of what was not fine-tuned, or was written before there was any, has no such column.
    tuned = any(tensor.get("untuned_sqnr") not in (None, "") for tensor in tensors)
    columns = {name: column for name, column in _ERRORS.items() if tuned or name != "untuned_sqnr"}
    _print_figures("Tensors, worst first", columns, sorted(tensors, key=_worst))


def _worst(tensor: Mapping[str, Any]) -> float:
    """Return the smaller of a tensor's two SQNRs; weights have one."""
    return min(float(tensor[name]) for name in ("sqnr", "accumulated_sqnr") if tensor[name] not in (None, ""))


def _print_figures(
    title: str, columns: Mapping[str, tuple[str, str]], rows: Iterable[Mapping[str, Any]]
) -> None:
    """Print these columns of the rows; values may be numbers or, from a CSV file, their text."""

    def shown(value: Any, form: str) -> str:
        if not form or value in (None, ""):
            return str(value or "")
        return format(int(value) if form == "d" else float(value), form)

    table = [[shown(row[name], form) for name, (_, form) in columns.items()] for row in rows]
    print_table(title, [heading for heading, _ in columns.values()], table)


def _overview(path: Path, metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what holds for the whole package."""
    sizes, versions = metadata["bytes"], metadata["versions"]
    return [
        ("scheme", metadata["scheme"]),
        ("layers", counted(metadata["layers"])),
        ("target", typed(metadata["target"])),
        ("architecture", metadata["arch"]),
        ("CPU features", ", ".join(metadata["cpu_features"])),
        *_gpu(metadata),
        *_dimensions(metadata),
        ("file", megabytes(path.stat().st_size)),
        *((name, megabytes(size)) for name, size in sizes.items()),
        *_against_float(metadata),
        ("versions", ", ".join(f"{name} {number}" for name, number in versions.items())),
    ]


def _dimensions(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the ranges of open dimensions; nothing of a package that has none."""
    ranges = [f"{name} {low}..{high}" for name, (low, high) in metadata.get("dimensions", {}).items()]
    return [("open dimensions", ", ".join(ranges))] if ranges else []


def _gpu(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what GPUs there is code for; nothing of a CPU's package."""
    gpu = metadata.get("gpu")
    if gpu is None:
        return []
    later = f", PTX for later than sm_{gpu['ptx']}" if gpu["ptx"] else ""
    return [("GPU code", ", ".join(gpu["archs"]) + later)]


def _against_float(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return how near the outputs were to float's when the package was made, where they were compared."""
    from ...report.nearness import METADATA, AgainstFloat

    record = metadata.get(METADATA)
    return [] if record is None else [("outputs", str(AgainstFloat.of_metadata(record)))]


def _print_tensors(title: str, tensors: list[Mapping[str, Any]]) -> None:
    print_table(title, ("name", "shape and dtype"), [(tensor["name"], shaped(tensor)) for tensor in tensors])


def _layer_row(layer: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a layer's row of ``_COLUMNS``; a detail without a column of its own goes into the last."""
    details = dict(layer["details"])
    columns = (
        _joined(details, ", ", "data_scale", "data_zero_point"),
        _joined(details, ", ", "output_dtype", "output_scale", "output_zero_point"),
        _joined(details, ", ", "weight_shape", "weight_bits", "weight_bytes"),
        _joined(details, " .. ", "weight_scale_min", "weight_scale_max"),
    )
    rest = [layer["reason"]] if layer["reason"] else []
    rest += [f"{name.replace('_', ' ')} {_shown(value)}" for name, value in details.items()]
    return layer["name"], layer["op"], layer["status"], *columns, ", ".join(rest)


def _joined(details: dict[str, Any], separator: str, *names: str) -> str:
    """Take these details out of the dict and return those that were there as text."""
    return separator.join(_shown(details.pop(name)) for name in names if name in details)


def _shown(value: Any) -> str:
    """Return a detail as text, a float to four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return f"[{','.join(map(_shown, value))}]"
    return str(value)
