"""Which tasks are tuned."""

from __future__ import annotations

import pytest

from tvmq.errors import TvmqError
from tvmq.tuning.tasks import Task
from tvmq.tvmc.tuning import print_tasks, selected

TASKS = [
    Task(name, None, None, name, layers, 1, 1000)
    for name, layers in {"conv": ("a", "b/c"), "conv1": ("d",), "matmul": ("e",), "depthwise": ("3",)}.items()
]


@pytest.mark.parametrize(
    ("patterns", "numbers"),
    [
        ([], [0, 1, 2, 3]),
        (["all"], [0, 1, 2, 3]),
        (["0"], [0]),
        (["2", "0"], [0, 2]),
        (["1-2"], [1, 2]),
        (["2-"], [2, 3]),
        (["-1"], [0, 1]),
        (["2-9"], [2, 3]),
        (["conv*"], [0, 1]),
        (["b/c", "matmul"], [0, 2]),
    ],
)
def test_selection(patterns, numbers):
    assert selected(TASKS, patterns) == [TASKS[number] for number in numbers]


@pytest.mark.parametrize("pattern", ["4", "5-7", "3-2", "-", "relu"])
def test_patterns_that_mean_none(pattern):
    with pytest.raises(TvmqError, match=r"unknown task \(--tasks\)"):
        selected(TASKS, ["conv", pattern])


def test_the_list_has_their_numbers(capsys):
    print_tasks(TASKS)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["2", "matmul", "1", "0.0", "e"] in rows
