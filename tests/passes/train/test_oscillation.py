"""Weights that go to and fro are frozen where they are most of the time; others never."""

from __future__ import annotations

import numpy as np

from tvmq.passes.train.oscillation import Oscillations


def test_what_goes_to_and_fro_is_frozen():
    places = np.array([0.4, 0.4, 0.4], np.float32)
    found = Oscillations(places, 0.05)
    for step in range(40):
        # The first oscillates, three times as often at 0 as at 1; the second climbs; the third stays.
        places[:2] = (0.6 if step % 4 == 3 else 0.4), 0.4 + 0.1 * step
        found.update(places)
        if found.frozen.any():
            break
    assert found.frozen.tolist() == [True, False, False]
    assert places[0] == 0.0


def test_a_state_goes_on():
    rng = np.random.default_rng(0)
    walks = rng.uniform(-1, 1, (60, 8)).astype(np.float32)
    whole, first = Oscillations(walks[0], 0.02), Oscillations(walks[0], 0.02)
    for walk in walks[:30]:
        whole.update(walk.copy())
        first.update(walk.copy())
    second = Oscillations(np.zeros(8, np.float32), 0.02)
    second.restore(first.state())
    for walk in walks[30:]:
        whole.update(walk.copy())
        second.update(walk.copy())
    assert all(np.array_equal(one, second.state()[name]) for name, one in whole.state().items())
