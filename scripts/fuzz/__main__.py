"""Mutated files against tvmq: ``python scripts/fuzz --count 1000 --seed 0``.

Each case is a file of a real or small model, of calibration data, a package, settings or a command line, with a fault
in it. Whatever is not a clear error of tvmq's own is a finding: another exception, death by a signal, more than 30
seconds, more memory than ``--memory``. Cases run in forked processes, so that one that dies takes no other with it.
Exit code 1 where there are findings; each kind is printed with the command that repeats its first case.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from bases import Base, all_bases
from cases import PASSED, Outcome, prepare, run_case

SECONDS = 30
CHUNK = 200
"""Cases of one process."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300, help="cases (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="index of the first case")
    parser.add_argument("--only", type=int, help="repeat one case, in this process")
    parser.add_argument("--keep", type=Path, help="folder for the files of --only")
    parser.add_argument(
        "--memory", type=int, default=8, help="GiB of address space beyond the start (default: 8)"
    )
    args = parser.parse_args()
    bases = all_bases()
    import tvmq.api  # noqa: F401 (once, before the forks)
    import tvmq.tvmc.main  # noqa: F401

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.only is not None:
            folder = args.keep or folder
            folder.mkdir(exist_ok=True)
            prepare(bases, folder)
            print(run_case(args.seed, args.only, bases, folder))
            return 0
        _in_child(lambda: prepare(bases, folder))
        return _report(args, _all(args, bases, folder))


def _all(args: argparse.Namespace, bases: Sequence[Base], folder: Path) -> Iterator[tuple[int, Outcome]]:
    """Yield the outcome of each case, in order."""
    index, end = args.first, args.first + args.count
    while index < end:
        for index, outcome in _chunk(args, bases, folder, range(index, min(end, index + CHUNK))):  # noqa: B007, B020
            yield index, outcome
        index += 1


def _chunk(
    args: argparse.Namespace, bases: Sequence[Base], shared: Path, indices: range
) -> Iterator[tuple[int, Outcome]]:
    """Run cases in one forked process; the last outcome is that of the case that ended it early."""
    readable, writable = os.pipe()
    folder = Path(tempfile.mkdtemp(dir=shared))
    log = folder / "log"
    child = os.fork()
    if child == 0:
        os.close(readable)
        _child(args, bases, shared, folder, indices, writable)
    os.close(writable)
    index, killed = indices.start, False
    with os.fdopen(readable, "rb", buffering=0) as pipe:
        pending = b""
        while True:
            if not select.select([pipe], [], [], SECONDS)[0]:
                os.kill(child, signal.SIGKILL)
                killed = True
                break
            data = pipe.read(65536)
            if not data:
                break
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                yield index, Outcome(*json.loads(line))
                index += 1
    _, status = os.waitpid(child, 0)
    text = log.read_text(errors="replace")[-2000:] if log.exists() else ""
    shutil.rmtree(folder, ignore_errors=True)
    if killed:
        yield index, Outcome(f"more than {SECONDS} s", text)
    elif os.WIFSIGNALED(status):
        yield index, Outcome(f"signal {signal.Signals(os.WTERMSIG(status)).name}", text)
    elif index < indices.stop:
        yield index, Outcome(f"exit status {status}", text)


def _child(
    args: argparse.Namespace, bases: Sequence[Base], shared: Path, folder: Path, indices: range, writable: int
) -> None:
    """Run cases and write their outcomes, a JSON line each; never returns."""
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    limit = _address_space() + args.memory * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for file in shared.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    try:
        for index in indices:
            os.ftruncate(log, 0)
            os.lseek(log, 0, os.SEEK_SET)
            outcome = run_case(args.seed, index, bases, folder)
            noise = (folder / "log").read_text(errors="replace").strip()
            if outcome.kind in ("ok", "refused") and noise:
                outcome = Outcome(f"noise: {noise.splitlines()[0][:100]}", noise[:2000])
            os.write(writable, json.dumps([outcome.kind, outcome.text]).encode() + b"\n")
    except BaseException:  # what is the parent's must not be cleaned up here
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _address_space() -> int:
    """Return the bytes of address space that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _in_child(action) -> None:
    """Run what starts threads in a process of its own: a forked one has none of its parent's."""
    child = os.fork()
    if child == 0:
        action()
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit("the shared files could not be made")


def _report(args: argparse.Namespace, outcomes: Iterator[tuple[int, Outcome]]) -> int:
    started = time.monotonic()
    counts: Counter[str] = Counter()
    first: dict[str, tuple[int, str]] = {}
    others: dict[str, list[int]] = defaultdict(list)
    for index, outcome in outcomes:
        counts[outcome.kind] += 1
        if outcome.kind not in first:
            first[outcome.kind] = index, outcome.text
            if outcome.kind not in PASSED:
                print(f"case {index}: {outcome.kind}", file=sys.stderr, flush=True)
        others[outcome.kind].append(index)
        if counts.total() % 500 == 0:
            print(f"{counts.total()} cases, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    passed = {kind: counts.pop(kind, 0) for kind in PASSED}
    for kind, count in counts.most_common():
        index, text = first[kind]
        print(
            f"\n{count} x {kind}\n  python scripts/fuzz --seed {args.seed} --only {index}   {others[kind][1:6]}"
        )
        print("    " + "\n    ".join(text.strip().splitlines()[-12:]))
    print(
        f"\nseed {args.seed}, {args.count} cases from {args.first}: {passed['ok']} compiled, "
        f"{passed['refused']} refused, {passed['translated']} errors of TVM's with their node, "
        f"{sum(counts.values())} findings of {len(counts)} kinds, {time.monotonic() - started:.0f} s"
    )
    return 1 if counts else 0


if __name__ == "__main__":
    sys.exit(main())
