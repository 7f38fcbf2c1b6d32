"""``python -m tvmq.bench.cuda``: what this machine's GPU makes of the kernels, the most important first.

The machine; the tests of exactness; products beside PyTorch's; whole networks; products of few rows; what moves bytes.
Each part runs in a process of its own with a limit of time, and is shown and written when it ends: a run that is broken
off has all rows up to there, and a row that fails costs only itself.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from ...errors import TvmqError
from ..command import run_command
from ..tables import Table
from .peaks import nvidia_smi
from .tables import table_of

LIMITS = {"exact": 150, "products": 130, "models": 100, "vectors": 60, "memory": 50}
"""Seconds of each part, in their order: eight minutes together."""
TESTS = ("tests/passes/realize/compute",)
FIELDS = (
    "name",
    "driver_version",
    "compute_cap",
    "clocks.sm",
    "clocks.max.sm",
    "clocks.max.mem",
    "memory.total",
)
ROOT = Path(__file__).resolve().parents[2]
BROKEN = 3
"""What a part's process returns where it is to begin anew behind an error."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tvmq.bench.cuda", description=__doc__)
    parser.add_argument(
        "--output", type=Path, default=Path("cuda-bench"), metavar="FOLDER", help="of the results"
    )
    parser.add_argument(
        "--parts", nargs="+", default=[*LIMITS], choices=[*LIMITS], metavar="PART", help=" ".join(LIMITS)
    )
    parser.add_argument("--prepared", type=Path, metavar="FOLDER", help="what --compile-only wrote")
    parser.add_argument(
        "--compile-only",
        type=Path,
        metavar="FOLDER",
        help="compile everything into the folder, and run nothing",
    )
    parser.add_argument(
        "--archs", nargs="+", metavar="SM", help="to compile for, such as sm_90 (default: this GPU's)"
    )
    parser.add_argument("--no-models", action="store_true", help="compile no whole networks")
    parser.add_argument(
        "--emulated", action="store_true", help="tiny kernels on an emulated GPU: a rehearsal"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the limits of time (default: 1)")
    parser.add_argument(
        "--arithmetic", action="store_true", help="the cycles of a tile, from its machine code"
    )
    parser.add_argument("--part", help=argparse.SUPPRESS)
    return parser


def _act(arguments: argparse.Namespace, console: Console) -> None:
    if arguments.arithmetic:
        from .arithmetic import tables

        for title, table in tables(arguments.archs or ("sm_80", "sm_90", "sm_90a")).items():
            console.print(title)
            console.print(table.to_terminal())
    elif arguments.compile_only is not None:
        _compile(arguments, arguments.compile_only, console)
    elif arguments.part is not None:
        _run_part(arguments)
    else:
        _run(arguments, console)


def _compile(arguments: argparse.Namespace, folder: Path, console: Console) -> None:
    from .prepared import prepare

    if arguments.emulated:
        with _emulated_gpu():
            prepare(folder, ["sm_80"], True, console.print, not arguments.no_models)
        return
    archs = arguments.archs
    if archs is None:
        capability = nvidia_smi("compute_cap").replace(".", "")
        if not capability:
            raise TvmqError("there is no GPU here to compile for: name one, --archs sm_90")
        archs = ["sm_90a" if capability == "90" else f"sm_{capability}"]
    prepare(folder, archs, False, console.print, not arguments.no_models)


def _emulated_gpu():
    """Return the context of the tests' emulated GPU; raise ``TvmqError`` where there are no tests."""
    if not (ROOT / "tests" / "gpu.py").is_file():
        raise TvmqError(f"--emulated needs the tests of the repository, and {ROOT} has none")
    sys.path.insert(0, str(ROOT))
    from tests.gpu import gpu

    return gpu()


def _run_part(arguments: argparse.Namespace) -> None:
    """Run a part in this process, which ends with its code."""
    from contextlib import nullcontext

    from .parts import run_part
    from .prepared import Prepared

    with _emulated_gpu() if arguments.emulated else nullcontext():
        path = arguments.output / f"{arguments.part}.jsonl"
        code = run_part(arguments.part, Prepared(arguments.prepared), path, arguments.emulated)
    os._exit(code)  # a context of the GPU's that an error broke takes no orderly end


def _run(arguments: argparse.Namespace, console: Console) -> None:
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob("*.jsonl"):
        old.unlink()
    page = [f"# {nvidia_smi('name') or 'An emulated GPU'}", ""]
    page += [f"- {name}: {value}" for name, value in _machine().items()]
    _write(output, page, console, "\n".join(page))
    (output / "machine.json").write_text(json.dumps(_machine(), indent=1))
    with tempfile.TemporaryDirectory(prefix="tvmq-") as folder:
        prepared = arguments.prepared
        if prepared is None and set(arguments.parts) - {"exact"}:
            prepared = Path(folder)
            try:
                _compile(arguments, prepared, console)
            except Exception as error:  # the tests need nothing of it
                console.print(f"error: {type(error).__name__}: {error}", markup=False)
        for part in (part for part in LIMITS if part in arguments.parts):
            limit = LIMITS[part] * arguments.scale
            start = time.monotonic()
            if part == "exact":
                lines = _exactness(output, limit, arguments.emulated)
                table = None
            else:
                lines = _measured(part, arguments, prepared, limit)
                table = _table(output, part)
            title = f"## {part}, {time.monotonic() - start:.0f} s"
            page += ["", title, "", *(table.to_markdown() if table else ()), "", *lines]
            console.print(title)
            if table is not None:
                console.print(table.to_terminal())
            _write(output, page, console, "\n".join(lines))
    console.print(f"written: {output / 'results.md'}")


def _write(output: Path, page: Sequence[str], console: Console, said: str) -> None:
    if said:
        console.print(said, markup=False)
    (output / "results.md").write_text("\n".join(page) + "\n")


def _machine() -> Mapping[str, str]:
    """Return what there is; parts that are missing say so."""
    about = {field: nvidia_smi(field) or "-" for field in FIELDS}
    about["python"] = f"{platform.python_version()}, {os.cpu_count()} cores"
    try:
        from ...schedules.cuda import nvcc

        path = nvcc.find_nvcc()
        about["nvcc"] = f"{path}, sm_{nvcc.known_archs(path)[0]} to sm_{nvcc.known_archs(path)[-1]}"
    except (TvmqError, ImportError) as error:
        about["nvcc"] = f"- ({error})"
    try:
        from importlib.metadata import version

        about["torch"] = version("torch")
    except ImportError:
        about["torch"] = "-"
    return about


def _exactness(output: Path, limit: float, is_emulated: bool) -> list[str]:
    """Run the tests of the kernels on this GPU; return the end of what they say."""
    if not all((ROOT / each).is_dir() for each in TESTS):
        return ["The tests are not here: run it in a checkout of the repository."]
    few = "sm_80 and test_matmul and requantize" if is_emulated else "sm_"
    command = [
        sys.executable,
        "-m",
        "pytest",
        *TESTS,
        "-q",
        "-x" if is_emulated else "--maxfail=40",
        "-k",
        few,
    ]
    processes = 1 if is_emulated else min(12, os.cpu_count() or 1)
    command += ["-p", "no:cacheprovider"]
    command += ["-n", str(processes)] if processes > 1 and _has("xdist") else []
    log = output / "exact.log"
    with log.open("w") as file:
        code = _limited(command, limit, file, cwd=ROOT)
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("FAILED", "ERROR"))][:20]
    end = lines[-1:] if code is not None else [f"Stopped at its limit: {lines[-1] if lines else ''}"]
    return [*(f"    {line}" for line in told), *end]


def _has(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


def _measured(part: str, arguments: argparse.Namespace, prepared: Path | None, limit: float) -> list[str]:
    """Run a part in processes, each behind the row that ended the one before it, until its time is up."""
    if prepared is None:
        return ["Nothing is prepared."]
    command = [sys.executable, "-m", __package__, "--part", part, "--prepared", str(prepared)]
    command += ["--output", str(arguments.output)] + (["--emulated"] if arguments.emulated else [])
    path, log = arguments.output / f"{part}.jsonl", arguments.output / f"{part}.log"
    end = time.monotonic() + limit
    said: list[str] = []
    with log.open("w") as file:
        while (left := end - time.monotonic()) > 0:
            before = path.stat().st_size if path.exists() else 0
            code = _limited(command, left, file)
            if code == 0:
                return said
            if code is None:
                return [*said, "Stopped at its limit."]
            if (path.stat().st_size if path.exists() else 0) == before:
                break  # it does not even begin
            if code != BROKEN:
                said.append(f"A row ended its process with {code}.")
    told = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return [*said, *(f"    {line}" for line in told[-6:])]


def _limited(command: Sequence[str], limit: float, file, cwd: Path | None = None) -> int | None:
    """Return a command's code; None where it was stopped at its limit, with all that it started."""
    process = subprocess.Popen(
        command, stdout=file, stderr=subprocess.STDOUT, cwd=cwd, start_new_session=True, env=dict(os.environ)
    )
    try:
        return process.wait(timeout=max(1.0, limit))
    except BaseException as error:
        os.killpg(process.pid, 9)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            return None
        raise


def _table(output: Path, part: str) -> Table | None:
    path = output / f"{part}.jsonl"
    if not path.is_file():
        return None
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    (output / f"{part}.json").write_text(json.dumps([row for row in rows if "begun" not in row], indent=1))
    return table_of(part, rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return run_command(_parser(), argv, _act, width=160)
