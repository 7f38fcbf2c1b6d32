from __future__ import annotations

import numpy as np

from tvmq.passes.calibrate.kept_outputs import SAMPLES, KeptOutputs


def test_the_first_samples_are_kept_as_they_were():
    kept, array, output = KeptOutputs(), np.zeros(2, np.float32), np.ones(3, np.float32)
    for number in range(SAMPLES + 2):
        array[:] = number
        kept.update({"x": array}, [output])
    output[:] = 0.0
    assert [sample["x"][0] for sample, _ in kept.pairs] == list(range(SAMPLES))
    assert all(outputs[0].sum() == 3.0 for _, outputs in kept.pairs)


def test_no_more_is_kept_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr("tvmq.passes.calibrate.kept_outputs.BYTES", 100)
    kept, sample = KeptOutputs(), {"x": np.zeros(20, np.float32)}
    for _ in range(4):
        kept.update(sample, [np.zeros(1, np.float32)])
    assert len(kept.pairs) == 2
    kept.restart()
    assert kept.pairs == []
