"""Each engine that is installed builds small operators and times them."""

from __future__ import annotations

import importlib.util

import pytest

from tvmq.bench.engines import Settings
from tvmq.bench.isa import Isa, default_target
from tvmq.bench.kernels import ENGINES
from tvmq.bench.operators import Operator

SMALL = (
    Operator("", 32, 48, 64),
    Operator("", 8, 16, 32, kernel=3),
    Operator("", 4, 16, 32, kernel=1, stride=2),
)


@pytest.mark.parametrize("operator", SMALL, ids=lambda operator: operator.name)
@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_times_the_operator(name: str, operator: Operator) -> None:
    engine = ENGINES[name]
    if importlib.util.find_spec(engine.package) is None:
        pytest.skip(f"{engine.package} is not installed: pip install 'tvmq[bench]'")
    kernel = engine.build(operator, Settings(1, default_target(Isa("native")), "native"))
    assert kernel.isa
    # OpenVINO counts whole microseconds, and these operators take few: a run of a thousand has some.
    assert 0 < kernel.timer(1000) < 1
