"""Every schedule of the design space gives the integers that the default schedule gives, which other tests prove."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm.s_tir import Schedule

from tvmq import api
from tvmq.schedules.cpu.contraction import schedule_contraction
from tvmq.targets import host
from tvmq.targets.features import features_of, row_of, threads_of
from tvmq.targets.parse import parse_target
from tvmq.tuning.candidates import Candidates
from tvmq.tuning.evaluate import random_arguments

DRAWN = 4
"""Candidates of each kernel besides the default."""


def results(func, target):
    """Return what the function makes of its random arguments."""
    library = tvm.compile(func, target=target)
    arrays = [tvm.runtime.tensor(array) for array in random_arguments(func)]
    library["main"](*arrays)
    return arrays[-1].numpy()


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("cpu", ["haswell", "alderlake", "skylake-avx512", "icelake-server"])
def test_integers_do_not_depend_on_the_schedule(quantized, cpu, threads):
    target = parse_target(f"llvm -mtriple=x86_64-linux-gnu -mcpu={cpu} -num-cores={threads}")
    if host.architecture() != "x86_64" or host.missing_features("x86_64", features_of(target)):
        pytest.skip(f"this machine cannot run code for {cpu}")
    for number, task in enumerate(api.tuning_tasks(quantized, target)):

        def rule(decide, task=task):
            sch = Schedule(task.func)
            assert schedule_contraction(sch, row_of(target), threads_of(target), decide) == ""
            return sch

        candidates = Candidates(rule, np.random.default_rng(number))
        default = candidates.draw()
        expected = results(default.function, target)
        assert expected.std() > 0
        for _ in range(DRAWN):
            candidate = candidates.draw()
            if candidate is None:
                break
            np.testing.assert_array_equal(
                results(candidate.function, target), expected, f"{task.name} {candidate.choices}"
            )
