"""A program for arm64 whose loops are known."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROUNDS = 1000
SOURCE = """
__attribute__((noinline)) void loop(long* data, long rounds) {
  __asm__ volatile(
      "mov x8, %1\\n b 1f\\n 1: ldr x9, [%0]\\n str x9, [%0]\\n subs x8, x8, #1\\n b.ne 1b"
      : : "r"(data), "r"(rounds) : "x8", "x9", "memory", "cc");
}
int main(int count, char** arguments) {
  long data = 0;
  for (char* runs = arguments[1]; *runs; ++runs) loop(&data, 1000);
  return 0;
}
"""


@pytest.fixture(scope="session")
def program(arm_launcher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static program that runs ``loop``, of ``ROUNDS`` rounds, once for each letter of its argument."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed; it builds the plugin")
    folder = tmp_path_factory.mktemp("program")
    (folder / "loop.c").write_text(SOURCE)
    command = ["aarch64-linux-gnu-gcc", "-O2", "-static", str(folder / "loop.c"), "-o", str(folder / "loop")]
    subprocess.run(command, check=True)
    return folder / "loop"
