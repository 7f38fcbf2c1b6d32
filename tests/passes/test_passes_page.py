"""The code of ``docs/passes.md`` runs and prints what it says, and its table has every pass."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path

from tvmq import passes

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "passes.md").read_text()


def test_the_script_runs(tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "examples" / "digits", tmp_path / "examples" / "digits")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)
    assert len(blocks) == 8
    scope: dict = {}
    for block in blocks:
        exec(compile(block, "docs/passes.md", "exec"), scope)
    printed = capsys.readouterr().out.splitlines()
    promised = re.findall(r"^# (.*)$", "".join(blocks), re.M)
    assert len(promised) == 3 and [line for line in printed if line in promised] == promised
    written = {path.name for path in (tmp_path / "pass-by-pass").iterdir()}
    assert {"summary.txt", "005-Calibrate.py", "005-Calibrate.diff", "006-PowersOfTwo.diff"} <= written
    diff = (tmp_path / "pass-by-pass" / "006-PowersOfTwo.diff").read_text()
    scale = re.search(r"^\+ +stem_conv_dq: .* = R.dequantize\(stem_conv_q, R.const\(([\d.]+), ", diff, re.M)
    assert scale and math.log2(float(scale[1])).is_integer()


def test_the_table_has_every_pass():
    rows = re.search(r"^\| pass \|.*?\n(?=\n)", PAGE, re.S | re.M)[0].splitlines()[2:]
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(listed) == [name for name in passes.__all__ if hasattr(getattr(passes, name), "requires")]
