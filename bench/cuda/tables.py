"""Rows of a part --> its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..tables import Table

PRODUCTS = (
    "operator",
    "times",
    "tvmq us",
    "TOPS",
    "of peak %",
    "torch int8 us",
    "x",
    "torch f16 us",
    "torch f32 us",
    "x",
)
BYTES = ("operator", "tvmq us", "± us", "MB", "GB/s", "of copy %")
MODELS = (
    "model",
    "batch",
    "tvmq ms",
    "GPU alone ms",
    "a call ms",
    "images/s",
    "torch f16 ms",
    "graph ms",
    "x",
)


def table_of(part: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table of ``products``, ``models``, ``vectors`` or ``memory``; rows that failed say why."""
    done = [row for row in rows if "seconds" in row]
    told = {row["name"] for row in rows if "begun" not in row}
    failed = [(row["name"], row["error"]) for row in rows if "error" in row]
    failed += [
        (row["name"], "ended its process") for row in rows if "begun" in row and row["name"] not in told
    ]
    if part == "products":
        table = Table(PRODUCTS, [*map(_product, done), *_sum(done)])
    elif part == "models":
        table = Table(MODELS, [*map(_model, done)])
    else:
        copy = next((row["bytes_s"] for row in done if row["name"] == "copy"), 0.0)
        table = Table(BYTES, [_bytes(row, copy) for row in done])
    width = len(table.headings)
    lost = [(name, why, *[""] * (width - 2)) for name, why in failed]
    return Table(table.headings, [*table.rows, *lost])


def _us(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e6:.1f}"


def _times(ours: float, theirs: float | None) -> str:
    return "-" if theirs is None else f"{theirs / ours:.2f}"


def _product(row: Mapping[str, Any]) -> Sequence[str]:
    seconds = row["seconds"]
    ours, int8, float32 = seconds["tvmq"], seconds.get("torch int8"), seconds.get("torch float32")
    share = "-" if row["share_of_peak"] is None else f"{100 * row['share_of_peak']:.1f}"
    return (
        *(
            row["name"],
            str(row["times"]),
            _us(ours),
            f"{row['tops']:.1f}",
            share,
            _us(int8),
            _times(ours, int8),
        ),
        *(_us(seconds.get("torch float16")), _us(float32), _times(ours, float32)),
    )


def _sum(rows: Sequence[Mapping[str, Any]]) -> list[Sequence[str]]:
    """Return the row of all convolutions together, as often as the network has them."""
    own = [row for row in rows if "convolution" in row["family"]]
    if not own:
        return []

    def total(name: str) -> float | None:
        if not all(name in row["seconds"] for row in own):
            return None
        return sum(row["times"] * row["seconds"][name] for row in own)

    macs = sum(row["times"] * row["macs"] for row in own)
    names = ("tvmq", "torch int8", "torch float32", "torch float16")
    seconds = {name: found for name in names if (found := total(name)) is not None}
    whole = {
        **{"name": "all convolutions", "times": sum(row["times"] for row in own), "seconds": seconds},
        **{"tops": 2 * macs / seconds["tvmq"] / 1e12, "share_of_peak": None},
    }
    return [_product(whole)]


def _bytes(row: Mapping[str, Any], copy: float) -> Sequence[str]:
    seconds = row["seconds"]
    spread = row.get("spread", {}).get("tvmq")
    seconds = seconds["tvmq"] if isinstance(seconds, Mapping) else seconds
    moved = row["bytes_s"] * seconds
    share = f"{100 * row['bytes_s'] / copy:.1f}" if copy else "-"
    return row["name"], _us(seconds), _us(spread), f"{moved / 1e6:.1f}", f"{row['bytes_s'] / 1e9:.0f}", share


def _model(row: Mapping[str, Any]) -> Sequence[str]:
    seconds, batch = row["seconds"], row["batch"]
    ours, plain, graph = seconds["tvmq"], seconds.get("torch float16"), seconds.get("torch float16, graph")

    def ms(value: float | None) -> str:
        return "-" if value is None else f"{value * 1e3:.3f}"

    best = min((each for each in (plain, graph) if each is not None), default=None)
    return (
        *(
            row["name"],
            str(batch),
            ms(ours),
            ms(row["call_seconds"]),
            f"{batch / ours:.0f}",
            ms(plain),
            ms(graph),
        ),
        _times(ours, best),
    )
