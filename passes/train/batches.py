"""Samples on disk --> batches: shuffled, seen anew each time, some of them held out.

Everything that is random in a step follows from the seed and the step's number, so whoever goes on later goes on with
the same batches. Samples are walked through once, into a temporary file (``passes.calibrate.spool``), and read from
there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import TvmqError
from ..calibrate.sample_check import Sample, Spec, check_sample
from ..calibrate.spool import Spool
from .augment import Augment, is_image
from .held_out import is_held

LEAST = 8
"""Samples: of fewer none can be held out that would say anything."""

HELD_VIEWS, ENOUGH = 3, 60
"""How often few samples that are held out are seen, beside as they are; of how many that is enough."""

_ORDER, _VIEWS, _HELD = range(3)
"""What a random stream is for."""


@dataclass(frozen=True)
class Batch:
    """What a step sees.

    Attributes
    ----------
    inputs : float32 or whatever the model takes ``[batch, ...]``, by name.
    labels : float32 ``[batch, classes]``, shares of classes; None where there are no labels.
    """

    inputs: dict[str, np.ndarray]
    labels: np.ndarray | None = None


@dataclass(frozen=True)
class Data:
    """Samples, and which of them are learned from.

    Attributes
    ----------
    spool : of samples, each with its labels, int64, or None.
    learned, held : places in it.
    specs : of the model's inputs.
    classes : how many there are; 0 without labels.
    """

    spool: Spool[tuple[Sample, np.ndarray | None]]
    learned: np.ndarray
    held: np.ndarray
    specs: Mapping[str, Spec]
    augment: Augment
    seed: int
    classes: int = 0

    @classmethod
    def of(
        cls,
        samples: Iterable[tuple[Sample, np.ndarray | None]],
        specs: Mapping[str, Spec],
        *,
        share: float,
        augment: Augment,
        seed: int,
        classes: int = 0,
    ) -> Data:
        """Read the samples, and hold a share of them out.

        Raises
        ------
        TvmqError : too few samples; one that does not fit the model's inputs; a label that is no class.
        """
        spool: Spool[tuple[Sample, np.ndarray | None]] = Spool(iter(samples))
        for place, (sample, labels) in enumerate(spool):
            check_sample(sample, place, specs)
            if labels is not None and classes and not ((labels >= 0) & (labels < classes)).all():
                raise TvmqError(
                    f"sample {place} is labelled {int(labels.max())}, and the model's output has {classes} classes"
                )
        count = spool.count
        if count < LEAST:
            raise TvmqError(
                f"fine-tuning holds out a share of its samples, to stop before it learns the others by heart: it "
                f"needs at least {LEAST}, and there are {count}"
            )
        held = np.array([is_held(place, share) for place in range(count)])
        if not held.any():
            held[-1] = True
        return cls(spool, np.flatnonzero(~held), np.flatnonzero(held), specs, augment, seed, classes)

    def batch(self, step: int, size: int) -> Batch:
        """Return the batch of a step: each sample that is learned comes once before any comes again."""
        rng = np.random.default_rng((self.seed, _VIEWS, step))
        return self._views(self._chosen(range(step * size, (step + 1) * size)), self.learned, rng)

    def held_out(self, size: int) -> Iterable[Batch]:
        """Give the held samples as they are, the last of them again where they do not fill a batch."""
        for places in self._held_places(size):
            found = [self._read(place) for place in places]
            yield _joined([sample for sample, _ in found], [label for _, label in found])

    def held_views(self, size: int) -> Iterable[Batch]:
        """Give them as batches of learning see samples, the same each time, where they are few and so say little."""
        views = min(HELD_VIEWS, ENOUGH // len(self.held)) if self.augment.kinds else 0
        for view in range(views):
            rng = np.random.default_rng((self.seed, _HELD, view))
            for places in self._held_places(size):
                yield self._views(places, self.held, rng)

    def _held_places(self, size: int) -> Iterable[list[int]]:
        places = [*map(int, self.held), *[int(self.held[-1])] * (-len(self.held) % size)]
        return (places[first : first + size] for first in range(0, len(places), size))

    def _views(self, places: Sequence[int], others: np.ndarray, rng: np.random.Generator) -> Batch:
        """Return samples as they are seen; some of them have one of the ``others`` mixed in."""
        shares = self.augment.shares(len(places), rng)
        second_places = others[rng.integers(len(others), size=len(places))]
        samples, labels = [], []
        for place, share, other in zip(places, shares, second_places, strict=True):
            sample, label = self._seen(place, rng)
            if share < 1.0 and self._is_of_images(sample):
                second, second_label = self._seen(other, rng)
                sample, share = self.augment.join(sample, second, share, rng)
                if label is not None:
                    label = share * label + (1.0 - share) * second_label
            samples.append(sample)
            labels.append(label)
        return _joined(samples, labels)

    def _chosen(self, numbers: Sequence[int]) -> list[int]:
        found = []
        orders: dict[int, np.ndarray] = {}
        for number in numbers:
            epoch, place = divmod(number, len(self.learned))
            if epoch not in orders:
                orders[epoch] = np.random.default_rng((self.seed, _ORDER, epoch)).permutation(self.learned)
            found.append(int(orders[epoch][place]))
        return found

    def _read(self, place: int) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        sample, labels = self.spool[place]
        one_hot = None if labels is None else np.eye(self.classes, dtype=np.float32)[labels]
        return dict(sample), one_hot

    def _seen(self, place: int, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        sample, label = self._read(place)
        views = {
            name: self.augment.view(array, rng) if is_image(*self.specs[name]) else array
            for name, array in sample.items()
        }
        return views, label

    def _is_of_images(self, sample: Mapping[str, np.ndarray]) -> bool:
        """Tell whether two such samples can be one: there is nothing beside images that would have to fit them."""
        return all(is_image(*self.specs[name]) for name in sample)


def _joined(samples: Sequence[Mapping[str, np.ndarray]], labels: Sequence[np.ndarray | None]) -> Batch:
    inputs = {
        name: np.ascontiguousarray(np.concatenate([sample[name] for sample in samples]))
        for name in samples[0]
    }
    known = [label for label in labels if label is not None]
    return Batch(inputs, np.concatenate(known).astype(np.float32) if known else None)
