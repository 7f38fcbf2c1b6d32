"""The C++ library, in the application of ``examples/cpp``: natively, and on an ARM board under emulation."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tvmq.runtime.board import make_bundle
from tvmq.runtime.compilers import linker_for
from tvmq.targets import host

from .models import ARM_COMPILER, CORTEX_A72, SIZE, heavy_package, parallel_package

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/cpp/serve.cc"
COMPILER = linker_for(host.architecture())[0]


def build(compiler, source, bundle):
    """Build a program in a bundle as ``docs/serving.md`` says."""
    command = f"{compiler} -std=c++17 -O2 -pthread -I{bundle} {source} -L{bundle} -ltvmq".split()
    command += [f"-Wl,-rpath-link,{bundle}", "-Wl,-rpath,$ORIGIN", "-o", str(bundle / source.stem)]
    subprocess.run(command, check=True)


@pytest.fixture(scope="module")
def application(parallel_path, tmp_path_factory):
    """A bundle with the example in it, for this machine."""
    folder = make_bundle(parallel_path, tmp_path_factory.mktemp("application"))
    build(COMPILER, EXAMPLE, folder)
    return folder


def serve(command, image, limit=120):
    done = subprocess.run(command, input=image.tobytes(), capture_output=True, timeout=limit, check=False)
    return done.returncode, done.stdout, done.stderr.decode()


def image():
    return np.random.default_rng(0).integers(-9, 9, (SIZE, SIZE)).astype("float32")


def test_threads_of_an_application_run_one_model(application):
    code, output, errors = serve([application / "serve", application, "4", "500"], image())
    assert (code, errors) == (0, "")
    np.testing.assert_array_equal(np.frombuffer(output, "float32").reshape(SIZE, SIZE), image() @ image())


def test_threads_of_an_arm_board(arm_launcher, tmp_path):
    parallel_package({**CORTEX_A72, "num-cores": 2}, ARM_COMPILER).export(tmp_path / "model.tar")
    folder = make_bundle(tmp_path / "model.tar", tmp_path / "board")
    build(ARM_COMPILER, EXAMPLE, folder)
    code, output, errors = serve([*arm_launcher, folder / "serve", folder, "4", "20"], image())
    assert (code, errors) == (0, "")
    np.testing.assert_array_equal(np.frombuffer(output, "float32").reshape(SIZE, SIZE), image() @ image())


def test_sessions_share_the_weights(application, tmp_path):
    """Eight more sessions add less than a copy of the weights to the memory of the process."""
    package = heavy_package()
    package.export(tmp_path / "model.tar")
    subprocess.run(["tar", "-xf", tmp_path / "model.tar", "-C", tmp_path], check=True)
    (side,) = {extent for extent in package.metadata["inputs"][0]["shape"] if extent > 1}
    (tmp_path / "input").write_bytes(np.ones(side, "float32").tobytes())

    def peak(threads):
        """Return the peak of the resident memory, in bytes."""
        with open(tmp_path / "input") as given:
            command = [application / "serve", tmp_path, str(threads), "1"]
            process = subprocess.Popen(command, stdin=given, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_maxrss * 1024

    assert peak(9) - peak(1) < package.metadata["bytes"]["weights"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/nowhere", "1", "1"], "cannot read /nowhere/mod.json"),
        (["{folder}", "1", "1"], f"the input has {SIZE * SIZE * 4} bytes"),
    ],
)
def test_errors_are_one_line(application, arguments, message):
    command = [application / "serve", *(argument.format(folder=application) for argument in arguments)]
    code, _, errors = serve(command, np.zeros(1))
    assert (code, errors) == (1, f"serve: error: {message}\n")


def test_what_the_example_does_not_do(application, tmp_path):
    """Kernels on two threads, inputs that are aligned or not, and everything that is refused."""
    (tmp_path / "other.cc").write_text(
        """
        #include <iostream>
        #include <stdexcept>
        #include <utility>
        #include "tvmq.h"
        template <typename F> void Say(F f) {
          try { f(); } catch (const std::runtime_error& error) { std::cout << error.what() << "\\n"; }
        }
        alignas(64) float image[64 * 64 + 1], squared[64 * 64];
        int main(int, char** argv) {
          tvmq::Model model(argv[1]);
          tvmq::Session session(model, 2), other(std::move(session));
          for (int offset : {0, 1}) {
            for (int i = 0; i < 64; ++i) image[offset + 65 * i] = i;
            other.Run({image + offset}, {squared});
            for (int i = 0; i < 64; ++i) image[offset + 65 * i] = 0;
            std::cout << squared[0] << " " << squared[1] << " " << squared[64 * 64 - 1] << "\\n";
          }
          Say([&] { other.Run({}, {nullptr}); });
          Say([&] { other.Run({nullptr}, {}); });
          Say([&] { tvmq::Session(model, -1); });
          Say([&] { tvmq::Model newer(argv[2]); });
          Say([&] { tvmq::Model broken(argv[3]); });
          Say([&] { tvmq::Model odd(argv[4]); });
        }
        """
    )
    newer, broken, odd = (tmp_path / name for name in ("newer", "broken", "odd"))
    for folder in (newer, broken, odd):
        folder.mkdir()
        (folder / "mod.json").write_text((application / "mod.json").read_text())
    text = (newer / "mod.json").read_text()
    (newer / "mod.json").write_text(re.sub(r'"format": \d+', '"format": 99', text))
    (broken / "mod.so").write_bytes(b"\x7fELF but no more")
    (odd / "mod.json").write_text("{}")
    build(COMPILER, tmp_path / "other.cc", application)
    done = subprocess.run(
        [application / "other", application, newer, broken, odd], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[:6] == [
        "0 0 3969",
        "0 0 3969",
        "0 inputs given; the model has 1",
        "0 outputs given; the model has 1",
        "a session on -1 threads; expected 0 or more",
        f"{newer}/mod.json has package format 99; this program reads up to 2",
    ]
    assert len(lines) == 8
    assert lines[6].startswith(f"{broken}: ")
    assert lines[7].startswith(f"{odd}: ")
