"""A few hundred mutated files: each is compiled, or refused by an error of tvmq's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).resolve().parents[1] / "scripts" / "fuzz"


def test_mutated_files():
    command = [sys.executable, str(FUZZ), "--count", "250", "--seed", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 findings " in done.stdout.splitlines()[-1]
