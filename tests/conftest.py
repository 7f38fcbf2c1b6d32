"""Fixtures of the whole suite."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.runtime.board import BOARDS, make_bundle, make_runtime, run_bundle
from tvmq.runtime.c_library.library import CLibrary
from tvmq.runtime.c_library.tools import tools_for
from tvmq.runtime.compilers import linker_for
from tvmq.runtime.libraries import runtime_libraries
from tvmq.targets import host

CORES = os.sched_getaffinity(0)
QEMU = ("qemu-aarch64", "-cpu", "cortex-a72", "-L", "/usr/aarch64-linux-gnu")
QEMU_32 = ("qemu-arm", "-cpu", "cortex-a7", "-L", "/usr/arm-linux-gnueabihf")


@pytest.fixture(autouse=True)
def any_core() -> Iterator[None]:
    """Let the tests run on all cores again: TVM's pool binds the thread that first runs a parallel kernel to one."""
    yield
    os.sched_setaffinity(0, CORES)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real models and data: ``TVMQ_DATA``, or ``../shared/data`` beside the repository."""
    folder = Path(os.environ.get("TVMQ_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real models and data at {folder}; TVMQ_DATA names the folder")
    return folder


def refuse(reason: str) -> None:
    """Skip the test for want of an ARM tool; let it fail if ``TVMQ_REQUIRE_ARM`` is set, as it is in CI."""
    (pytest.fail if os.environ.get("TVMQ_REQUIRE_ARM") else pytest.skip)(reason)


def require(*tools: str) -> None:
    """Skip the test, or let it fail, where a tool is missing."""
    for tool in tools:
        if shutil.which(tool) is None:
            refuse(f"{tool} is not installed: scripts/install-debian-packages.sh arm64")


@pytest.fixture(scope="session")
def arm_launcher() -> tuple[str, ...]:
    """Command that runs a program of a Cortex-A72 here, under emulation."""
    board = BOARDS["aarch64"]
    require(QEMU[0])
    try:
        linker_for(board.arch)
        runtime_libraries(board.arch, board.wheel_platform)
    except TvmqError as error:
        refuse(str(error))
    return QEMU


@pytest.fixture(scope="session")
def run_on_arm(
    arm_launcher: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Path, Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Function ``(package file, {input name: array}) -> {output name: array}``: a Cortex-A72 under emulation."""

    def run(package: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return run_bundle(make_bundle(package, tmp_path_factory.mktemp("board")), inputs, arm_launcher)

    return run


@pytest.fixture(scope="session")
def lend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., subprocess.Popen]]:
    """Function ``(*arguments, arch=this machine's, launcher=()) -> process`` that starts a board's ``tvmq-rpc``.

    It has written its first line when the function returns, and ends with the tests.
    """
    started: list[subprocess.Popen] = []
    folders: dict[str, Path] = {}

    def start(
        *arguments: str, arch: str = host.architecture(), launcher: Sequence[str] = ()
    ) -> subprocess.Popen:
        if arch not in folders:
            folders[arch] = make_runtime(arch, tmp_path_factory.mktemp("rpc"))
        process = subprocess.Popen(
            [*launcher, folders[arch] / "tvmq-rpc", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        process.line = process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def run_c_library(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[CLibrary, Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Function ``(library, {input name: array}) -> {output name: array}``: its example, compiled and run.

    The program of another machine than this one runs under emulation.
    """

    def run(library: CLibrary, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        arch, folder = library.metadata["arch"], tmp_path_factory.mktemp("c")
        launcher = () if arch == host.architecture() else {"aarch64": QEMU, "arm": QEMU_32}[arch]
        require(*launcher[:1])
        library.export(folder)
        warnings = ["-Wall", "-Wextra", "-Werror"]
        command = [
            tools_for(arch).compiler,
            *warnings,
            "main.c",
            "-L.",
            f"-l{library.name}",
            "-lm",
            "-o",
            "run",
        ]
        subprocess.run(command, cwd=folder, check=True)
        files = []
        for index, tensor in enumerate(library.metadata["inputs"]):
            files.append(folder / f"{index}.bin")
            inputs[tensor["name"]].tofile(files[-1])
        done = subprocess.run([*launcher, folder / "run", *files], capture_output=True, text=True, check=True)
        numbers = iter(line.split()[1] for line in done.stdout.splitlines())
        outputs = {}
        for tensor in library.metadata["outputs"]:
            shape, dtype = tensor["shape"], tensor["dtype"]
            texts = [next(numbers) for _ in range(int(np.prod(shape)))]
            outputs[tensor["name"]] = np.array(texts, "uint8" if dtype == "bool" else dtype).reshape(shape)
        return outputs

    return run
