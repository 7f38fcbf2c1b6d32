from __future__ import annotations

import numpy as np

import tvmq
from tvmq.passes.hub.graph import tupled
from tvmq.search.host import run_on_host

from .network import network, samples


def test_a_module_runs_on_any_number_of_cores():
    (sample,) = samples(1)
    runs = [run_on_host(tupled(network()), cores)(sample) for cores in (None, 1)]
    assert [len(outputs) for outputs in runs] == [1, 1]
    np.testing.assert_array_equal(runs[0][0], runs[1][0])
    # The same kernels as those of a package.
    np.testing.assert_array_equal(runs[0][0], next(iter(tvmq.compile(network()).run(sample).values())))
