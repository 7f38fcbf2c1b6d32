"""Fixtures of the whole suite."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests import emulated_gpu as emulated
from tests.gpu import gpu, is_real
from tvmq.errors import TvmqError
from tvmq.runtime.board import BOARDS, make_bundle, make_runtime, run_bundle
from tvmq.runtime.c_library.library import CLibrary
from tvmq.runtime.c_library.tools import Tools, tools_for
from tvmq.runtime.compilers import linker_for
from tvmq.runtime.libraries import runtime_libraries
from tvmq.runtime.package import Package
from tvmq.schedules.cuda import nvcc
from tvmq.targets import host

CORES = os.sched_getaffinity(0)
EMULATED = {"aarch64": "cortex-a72", "arm": "cortex-a7"}
"""The CPU that is emulated where a test names none."""
LIBRARIES = {"aarch64": "/usr/aarch64-linux-gnu", "arm": "/usr/arm-linux-gnueabihf"}


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


@pytest.fixture(scope="session")
def emulated_gpu() -> ModuleType:
    """``tests.emulated_gpu``, loaded; the test is skipped where there is a GPU of the machine's own."""
    if is_real():
        pytest.skip("TVM has found a GPU")
    if shutil.which("g++") is None or host.architecture() != "x86_64":
        pytest.skip("the emulated GPU needs g++ on x86-64")
    emulated.load()
    return emulated


@pytest.fixture
def gpu_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """TVM has a device ``cuda``, and code is made for it: the emulated one needs no nvcc."""
    with gpu():
        if not is_real():
            monkeypatch.setattr(nvcc, "check_archs", lambda archs: None)
        yield


@pytest.fixture(params=["sm_61", "sm_80", "sm_90a"])
def gpu_target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A target of each way in which GPUs multiply; code is made for it, and runs."""
    if is_real() and request.param == "sm_61":
        pytest.skip("no CUDA has code for it and for this GPU")
    with gpu(int(request.param[3:5])):
        if not is_real():
            monkeypatch.setattr(nvcc, "check_archs", lambda archs: None)
        yield f"cuda -arch={request.param}"


def refuse(reason: str) -> None:
    """Skip the test for want of an ARM tool; let it fail if ``TVMQ_REQUIRE_ARM`` is set, as it is in CI."""
    (pytest.fail if os.environ.get("TVMQ_REQUIRE_ARM") else pytest.skip)(reason)


def require(*tools: str) -> None:
    """Skip the test, or let it fail, where a tool is missing."""
    for tool in tools:
        if shutil.which(tool) is None:
            refuse(f"{tool} is not installed: scripts/install-debian-packages.sh arm64")


@pytest.fixture(scope="session")
def emulator() -> Callable[..., tuple[str, ...]]:
    """Function ``(arch, cpu=the usual one) -> command`` that runs a program of that CPU here."""

    def launcher(arch: str, cpu: str | None = None) -> tuple[str, ...]:
        require(f"qemu-{arch}")
        return (f"qemu-{arch}", "-cpu", cpu or EMULATED[arch], "-L", LIBRARIES[arch])

    return launcher


@pytest.fixture(scope="session")
def arm_launcher(emulator: Callable[..., tuple[str, ...]]) -> tuple[str, ...]:
    """Command that runs a program of a Cortex-A72 here, under emulation."""
    board = BOARDS["aarch64"]
    launcher = emulator(board.arch)
    try:
        linker_for(board.arch)
        runtime_libraries(board.arch, board.wheel_platform)
    except TvmqError as error:
        refuse(str(error))
    return launcher


@pytest.fixture(scope="session")
def run_on_arm(
    arm_launcher: tuple[str, ...],
    emulator: Callable[..., tuple[str, ...]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., dict[str, np.ndarray]]:
    """Function ``(package or its file, {input name: array}, cpu="cortex-a72") -> {output name: array}``."""

    def run(
        package: Package | Path, inputs: Mapping[str, np.ndarray], cpu: str | None = None
    ) -> dict[str, np.ndarray]:
        bundle = make_bundle(package, tmp_path_factory.mktemp("board"))
        return run_bundle(bundle, inputs, emulator("aarch64", cpu))

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
def c_tools() -> Callable[[str], Tools]:
    """Function ``arch -> its C compiler``; the test is skipped, or fails, where there is none."""

    def tools(arch: str) -> Tools:
        try:
            return tools_for(arch)
        except TvmqError as error:
            refuse(str(error))

    return tools


@pytest.fixture(scope="session")
def run_c_library(
    c_tools: Callable[[str], Tools],
    emulator: Callable[..., tuple[str, ...]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., dict[str, np.ndarray]]:
    """Function ``(library, {input name: array}, cpu=the usual one) -> {output name: array}``.

    It compiles and runs the library's example; of another machine than this one, under emulation.
    """

    def run(
        library: CLibrary, inputs: Mapping[str, np.ndarray], cpu: str | None = None
    ) -> dict[str, np.ndarray]:
        arch, folder = library.metadata["arch"], tmp_path_factory.mktemp("c")
        launcher = () if arch == host.architecture() else emulator(arch, cpu)
        library.export(folder)
        warnings = ["-Wall", "-Wextra", "-Werror"]
        command = [
            c_tools(arch).compiler,
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
