"""One case: a seed and an index --> files with a fault, given to tvmq, and what came of it.

The outcome is ``ok``, ``refused`` (an error of tvmq's own, or wrong usage), ``translated`` (an error of TVM's that
names the node), or a finding: the kind of what went wrong, and the text. A finding is an exception that is not tvmq's,
an error that names no node, or a message that shows TVM's or Python's insides.
"""

from __future__ import annotations

import contextlib
import io
import re
import traceback
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from bases import Base
from formats import Format
from mutations import mutate_bytes

PASSED = ("ok", "refused", "translated")
"""What is no finding."""

INSIDES = re.compile(
    r"has no attribute|NoneType|index out of range|subscriptable|unexpected keyword|positional argument"
    r"|ir\.Op\(|Check failed|\.(?:cc|cpp|h):\d+|\bT\.int64\(|Traceback|0x[0-9a-f]{6}"
)
"""What no message that a user meets may show."""

LARGEST_RUN = 100_000
"""Elements of the inputs of a model that is run, too."""

SMALL = "convolutions"
"""The network that faults elsewhere than in the model are tried with."""


@dataclass(frozen=True)
class Outcome:
    """``kind`` is ``ok``, ``refused`` or the kind of a finding; ``text`` the message."""

    kind: str
    text: str = ""


def run_case(seed: int, index: int, bases: Sequence[Base], folder: Path) -> Outcome:
    """Make the files of a case in a folder and give them to tvmq."""
    rng = Random(f"{seed}/{index}")
    kinds: dict[Callable[[Random, Sequence[Base], Path], Outcome], int] = {
        _model: 90,
        _calibration: 3,
        _package: 3,
        _settings: 2,
        _command_line: 2,
    }
    (case,) = rng.choices(list(kinds), list(kinds.values()))
    return case(rng, bases, folder)


def prepare(bases: Sequence[Base], folder: Path) -> None:
    """Write what all cases share: a package and calibration data of the small network."""
    import tvmq

    content = next(base.content for base in bases if base.name == SMALL)
    (folder / "small.onnx").write_bytes(content)
    np.savez(folder / "samples.npz", x=np.random.default_rng(0).normal(size=(4, 3, 7, 7)).astype(np.float32))
    tvmq.compile(folder / "small.onnx").export(folder / "small.tar")


def _model(rng: Random, bases: Sequence[Base], folder: Path) -> Outcome:
    base = rng.choices(bases, [base.weight for base in bases])[0]
    path = folder / f"model{base.format.suffix}"
    path.write_bytes(base.format.damage(rng, base.content))
    return judged(lambda: _compile(path, base.format, quantize=rng.random() < 0.3))


def _compile(path: Path, form: Format, quantize: bool) -> None:
    import tvmq
    from tvmq.passes.hub.graph import dtype_of, shape_of

    module = form.load(path)
    specs = {param.name: (shape_of(param), dtype_of(param)) for param in module["main"].params}
    small = sum(int(np.prod(shape)) for shape, _ in specs.values()) <= LARGEST_RUN
    if quantize and small and specs:
        rng = np.random.default_rng(0)
        samples = [
            {name: rng.normal(size=shape).astype(dtype) for name, (shape, dtype) in specs.items()}
            for _ in range(2)
        ]
        package = tvmq.compile(tvmq.quantize(module, "int8", calibration=samples))
    else:
        package = tvmq.compile(module)
    if small:
        package.run({name: np.ones(shape, dtype) for name, (shape, dtype) in specs.items()})


def _calibration(rng: Random, bases: Sequence[Base], folder: Path) -> Outcome:
    path = folder / rng.choice(["bad.npz", "bad.npy", "bad"])
    shape = rng.choice([(4, 3, 7, 7), (4, 3, 7, 6), (3, 7, 7), (0, 3, 7, 7), (), (2, 1, 3, 7, 7)])
    dtype = rng.choice(["float32", "float64", "float16", "int64", "bool", "U3", "complex64", "object"])
    array = np.zeros(shape, dtype) if dtype != "object" else np.full(shape, None)
    if rng.random() < 0.3 and array.size and array.dtype.kind == "f":
        array.reshape(-1)[0] = rng.choice([np.nan, np.inf])
    buffer = io.BytesIO()
    if path.suffix == ".npy":
        np.save(buffer, array, allow_pickle=True)
    else:
        arrays: dict[str, Any] = {rng.choice(["x", "y", "x/../y"]): array}
        np.savez(buffer, **arrays)
    content = buffer.getvalue()
    if rng.random() < 0.7:
        content = mutate_bytes(rng, content)
    path.write_bytes(content)
    return _tvmc(
        "compile", "small.onnx", "--quantize", "int8", "--calibration-data", str(path), folder=folder
    )


def _package(rng: Random, bases: Sequence[Base], folder: Path) -> Outcome:
    path = folder / "bad.tar"
    content = (folder / "small.tar").read_bytes()
    if rng.random() < 0.5:
        path.write_bytes(mutate_bytes(rng, content))
    else:
        _damage_member(rng, folder / "small.tar", path)
    command = rng.choice([["run", "--repeat", "1"], ["inspect"], ["inspect", "--json"]])
    return _tvmc(command[0], str(path), *command[1:], folder=folder)


def _damage_member(rng: Random, source: Path, target: Path) -> None:
    """Copy an archive with one of its files changed, but not the code, which nothing can check byte for byte."""
    import tarfile

    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        members = [member for member in old.getmembers() if member.isfile()]
        texts = [member for member in members if not member.name.endswith((".so", ".o"))]
        victim = rng.choice(texts or members)
        for member in members:
            content = old.extractfile(member).read()
            if member is victim:
                content = rng.choice([mutate_bytes(rng, content), b"", b"{}", b"[]", b"null"])
            elif rng.random() < 0.05:
                continue
            member.size = len(content)
            new.addfile(member, io.BytesIO(content))


SETTINGS = (
    b'[quantize]\nscheme = "int8"\n',
    b'scheme = "int8"\ncalibration-samples = 2\nobserver = "percentile"\n',
    b'[target]\nkind = "llvm"\nmcpu = "znver3"\n',
    b'{"kind": "llvm", "mcpu": "znver3", "num-cores": 2}',
    b'scheme = "mixed"\nbit-budget = "2kB"\n',
)


def _settings(rng: Random, bases: Sequence[Base], folder: Path) -> Outcome:
    content = rng.choice(SETTINGS)
    if rng.random() < 0.8:
        content = mutate_bytes(rng, content)
    path = folder / rng.choice(["settings.toml", "target.json"])
    path.write_bytes(content)
    flag = rng.choice(["--config", "--target", "--hardware", "--calibration-cache"])
    extra = ["--quantize", "int8", "--calibration-data", "samples.npz"] if rng.random() < 0.5 else []
    return _tvmc("compile", "small.onnx", flag, str(path), *extra, folder=folder)


ARGUMENTS = (
    ("--target", "llvm -mcpu=znver3"),
    ("--target", '{"kind": "llvm", "mcpu": "znver3"}'),
    ("--target", "cuda -arch=sm_90"),
    ("--input-shapes", "x:[1,3,7,7]"),
    ("--input-dtypes", "x:float32"),
    ("--bind", "x=0.5"),
    ("--outputs", "y,r"),
    ("--pass-config", "tirx.disable_vectorize=true"),
    ("--quantize", "int8"),
    ("--tuning-records", "records"),
)


def _command_line(rng: Random, bases: Sequence[Base], folder: Path) -> Outcome:
    flag, value = rng.choice(ARGUMENTS)
    if rng.random() < 0.8:
        value = mutate_bytes(rng, value.encode()).decode("latin-1").replace("\0", "")
    return _tvmc("compile", "small.onnx", f"{flag}={value}", folder=folder)


def _tvmc(command: str, *arguments: str, folder: Path) -> Outcome:
    """Run the command line in this process; its own message is the outcome's text."""
    from tvmq.tvmc.main import main

    out, err = io.StringIO(), io.StringIO()

    def call() -> None:
        code = main(
            [command, *(str(folder / a) if (folder / a).is_file() else a for a in arguments), *output]
        )
        if code:
            raise _Refused(err.getvalue())

    output = ["--output", str(folder / "out.tar")] if command == "compile" else []
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        return judged(call)


class _Refused(Exception):
    """The command line ended with an error, whose text this has."""


def judged(action: Callable[[], None]) -> Outcome:
    """Run an action and judge what it raises."""
    from tvmq.errors import CompilerError, TvmqError

    try:
        action()
    except CompilerError as error:
        text = str(error)
        kind = (
            "translated" if " at node '" in text and not INSIDES.search(text) else f"internal: {_shape(text)}"
        )
        return Outcome(kind, f"{error}\n{_cause(error)}")
    except (TvmqError, _Refused) as error:
        text = str(error).strip()
        if "that tvmc knows" in text:
            return Outcome(f"internal: {_shape(text)}", text)
        if INSIDES.search(text) or ("\n" in text and isinstance(error, TvmqError)):
            return Outcome(f"unclear: {_shape(text)}", text)
        return Outcome("refused", text)
    except SystemExit as error:
        return Outcome("refused" if error.code in (0, 2) else f"exit code {error.code}")
    except zipfile.BadZipFile as error:
        return Outcome("raw: BadZipFile", traceback.format_exc() + str(error))
    except Exception as error:
        return Outcome(f"raw: {type(error).__name__}: {_shape(str(error))}", traceback.format_exc())
    return Outcome("ok")


def _cause(error: BaseException) -> str:
    cause = error.__cause__
    return "".join(traceback.format_exception(cause)[-4:]) if cause is not None else ""


def _shape(text: str) -> str:
    """Return a message without names and numbers, so that equal ones have one kind."""
    line = text.strip().splitlines()[0] if text.strip() else ""
    line = re.sub(r"'[^']*'", "'...'", line)
    line = re.sub(r"\[[^\[\]]*\]|\([^()]*\d[^()]*\)", "[...]", line)
    return re.sub(r"-?\d[\d.e+]*", "N", line)[:150]
