"""The formatter, the linter, the type checker and the shell's syntax check have nothing to say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = sys.executable
SCRIPTS = sorted(map(str, [*(ROOT / "scripts").glob("*.sh"), ROOT / ".ci/run"]))


@pytest.mark.parametrize(
    "command",
    [
        [PYTHON, "-m", "ruff", "check", "."],
        [PYTHON, "-m", "ruff", "format", "--check", "."],
        [str(ROOT / "scripts/typecheck.sh")],
        *(["bash", "-n", script] for script in SCRIPTS),
    ],
    ids=lambda command: " ".join(Path(word).name for word in command),
)
def test_clean(command):
    environment = {**os.environ, "PYTHON": PYTHON}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
