"""Samples that the user's program makes --> samples in the dtypes of the model's inputs, checked one by one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sized

import numpy as np

from ...errors import TvmqError
from ...passes.calibrate.sample_check import Sample, Spec, fitting_sample


class GivenSamples:
    """What an iterable of samples gives, each converted by the rule of ``passes.calibrate.sample_check``.

    Iterating raises ``TvmqError`` for a sample that does not fit, and where the iterable itself raises.
    """

    def __init__(self, samples: Iterable[Sample], specs: Mapping[str, Spec]):
        self._samples = samples
        self._specs = specs

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        count = 0
        try:
            for sample in self._samples:
                yield fitting_sample(sample, count, self._specs)
                count += 1
        except TvmqError:
            raise
        except Exception as error:
            raise TvmqError(
                f"the calibration samples raised {type(error).__name__} after {count} of them: {error}"
            ) from error


class CountedSamples(GivenSamples):
    """The same, where their number is known."""

    _samples: Collection[Sample]

    def __len__(self) -> int:
        return len(self._samples)


def given_samples(samples: Iterable[Sample], specs: Mapping[str, Spec]) -> GivenSamples:
    """Return the samples for a model of inputs ``{name: (shape, dtype)}``."""
    return (CountedSamples if isinstance(samples, Sized) else GivenSamples)(samples, specs)
