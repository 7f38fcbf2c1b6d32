"""Random graphs against ONNX's reference, and random quantized networks against the definition of their kernels.

    python scripts/differential.py 0 5000 --processes 2 --output findings
    python scripts/differential.py 0 300 --networks
    python scripts/differential.py 0 300 --target "cuda -arch=sm_80"

Each seed is a graph. A line is printed for each that differs, raises, or takes too long, and what reproduces it is
written: the model, cut down to one node where that alone still differs, its inputs, and what is expected. The exit
status is 1 where there was any. On a machine without a GPU, one is emulated (``docs/emulated-gpu.md``).
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import signal
import sys
import time
import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import onnx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SECONDS = 120
"""How long one seed may take."""


def _too_long(*_) -> None:
    raise TimeoutError(f"took more than {SECONDS} s")


def _check_graph(seed: int, output: Path, target: str | None) -> list[str]:
    from tests.differential.check import differences, isolated
    from tests.differential.operators import draw

    graph = draw(seed)
    where = {} if target is None else {"target": target}
    found = differences(graph, **where)
    if found:
        least = isolated(graph, **where)
        output.mkdir(parents=True, exist_ok=True)
        onnx.save(least.model, output / f"{seed}.onnx")
        np.savez(output / f"{seed}_inputs.npz", **least.inputs)
        np.savez(output / f"{seed}_expected.npz", **least.expected)
    return found


def _check_network(seed: int, output: Path, target: str | None) -> list[str]:
    from tests.differential.networks import draw_network, network_differences

    found = network_differences(seed, target)
    if found:
        output.mkdir(parents=True, exist_ok=True)
        onnx.save(draw_network(seed), output / f"network_{seed}.onnx")
    return found


def _device(target: str | None) -> AbstractContextManager:
    """Return what gives TVM the target's device."""
    if target is None or not target.startswith("cuda"):
        return nullcontext()
    from tests.gpu import gpu

    return gpu()


def _check(seed: int, output: Path, networks: bool, target: str | None) -> tuple[int, list[str]]:
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)
    try:
        with _device(target):
            return seed, (_check_network if networks else _check_graph)(seed, output, target)
    except Exception as error:  # the generator's own, or a time that is up: a finding too
        return seed, [f"{type(error).__name__}: {error}".splitlines()[0]]
    finally:
        signal.alarm(0)


def _quiet() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=int, help="the first seed")
    parser.add_argument("end", type=int, help="the seed behind the last")
    parser.add_argument("--networks", action="store_true", help="quantized networks on each x86 target")
    parser.add_argument("--target", help="in place of this machine's CPU, or of each x86 target")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument(
        "--output", type=Path, default=Path("findings"), help="folder of what reproduces a finding"
    )
    args = parser.parse_args()
    started, count = time.monotonic(), 0
    check = partial(_check, output=args.output, networks=args.networks, target=args.target)
    # Processes that start fresh: TVM's threads do not survive a fork.
    with multiprocessing.get_context("spawn").Pool(args.processes, _quiet) as pool:
        for seed, found in pool.imap_unordered(check, range(args.first, args.end)):
            count += bool(found)
            if found:
                print(f"{seed}: {found[0]}", flush=True)
    taken = time.monotonic() - started
    print(f"{args.end - args.first} seeds, {count} findings, {taken:.0f} s")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
