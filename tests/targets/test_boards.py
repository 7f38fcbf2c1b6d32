"""The table of boards in ``docs/arm.md``: each target there, and the features that it says the CPU has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tvmq.targets.features import arch_of, features_of, row_of
from tvmq.targets.parse import parse_target

DOCUMENT = Path(__file__).parents[2] / "docs" / "arm.md"
BOARDS = re.findall(
    r"^\| (.+) \| .+ \| (yes|no) \| (yes|no) \| `(.+)` \|$", DOCUMENT.read_text(), re.MULTILINE
)


def test_the_table_is_read():
    assert len(BOARDS) > 10


@pytest.mark.parametrize(("board", "dotprod", "i8mm", "spec"), BOARDS, ids=[row[0] for row in BOARDS])
def test_a_board(board, dotprod, i8mm, spec):
    target = parse_target(spec)
    features = features_of(target)
    assert arch_of(target) == "aarch64" and row_of(target).arch == "aarch64"
    assert ("dotprod" in features, "i8mm" in features) == (dotprod == "yes", i8mm == "yes")
    assert "phone" not in board or not features & {"sve", "sve2"}
