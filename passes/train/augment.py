"""Views of images that make many samples of few: parts of any size, mirror images, and two images in one.

    crop       a rectangle of at least a share of the area, resized to the input by bilinear interpolation
    mirror     left is right
    mix        l a + (1 - l) b,   l uniform                          (Zhang et al., "mixup", 2018)
    paste      a, with a rectangle of b that has 1 - l of the area   (Yun et al., "CutMix", 2019)

The teacher sees the same views, so that what they show needs no name: a patient teacher and wild views go further than
labels (Beyer et al., "Knowledge distillation: a good teacher is patient and consistent", 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...ranges import Range
from ..annotate.learning import AUGMENTATIONS

CROP, MIRROR, MIX, PASTE = AUGMENTATIONS

LEAST_AREA = 0.35
ASPECT = 0.28
"""Of the logarithm of a part's ratio of height to width, at most."""
SMALL = 64
"""Pixels a side below which a part is the whole image, shifted by an eighth at most: less of it shows nothing."""
JOINED = 0.5
"""Share of the samples that are made of two."""
IMAGE_CHANNELS, LEAST_SIZE = (1, 3, 4), 8


def is_image(shape: Sequence[int | Range], dtype: str) -> bool:
    """Tell whether an input takes images ``[N, C, H, W]``."""
    fixed = [extent for extent in shape if isinstance(extent, int)]
    return (
        len(fixed) == len(shape) == 4
        and dtype == "float32"
        and fixed[1] in IMAGE_CHANNELS
        and min(fixed[2:]) >= LEAST_SIZE
    )


@dataclass(frozen=True)
class Augment:
    """How samples are seen.

    Attributes
    ----------
    kinds : of ``AUGMENTATIONS``.
    """

    kinds: tuple[str, ...] = AUGMENTATIONS

    def view(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a view of images ``[N, C, H, W]``, the same of all of them."""
        if CROP in self.kinds:
            image = _part(image, rng)
        if MIRROR in self.kinds and rng.random() < 0.5:
            image = image[..., ::-1]
        return image

    def shares(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return for so many samples how much of each stays where another joins it, float32."""
        joined = rng.random(count) < (JOINED if {MIX, PASTE} & set(self.kinds) else 0.0)
        return np.where(joined, rng.random(count), 1.0).astype(np.float32)

    def join(
        self,
        first: Mapping[str, np.ndarray],
        second: Mapping[str, np.ndarray],
        share: float,
        rng: np.random.Generator,
    ) -> tuple[dict[str, np.ndarray], float]:
        """Return two samples of images as one, and the share of it that is the first's: about the one given."""
        if PASTE not in self.kinds or (MIX in self.kinds and rng.random() < 0.5):
            rest = np.float32(1.0) - share
            return {name: share * image + rest * second[name] for name, image in first.items()}, share
        sides = np.sqrt((1.0 - share) * np.exp(rng.uniform(-ASPECT, ASPECT) * np.array([1.0, -1.0])))
        sides = np.minimum(sides, 1.0)
        starts = rng.random(2) * (1.0 - sides)
        return {
            name: _pasted(image, second[name], starts, sides) for name, image in first.items()
        }, 1.0 - float(sides.prod())


def _pasted(first: np.ndarray, second: np.ndarray, starts: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Return an image with a rectangle of another: starts and sides are shares of height and width."""
    extents = np.array(first.shape[2:])
    low, high = (np.rint(edge * extents).astype(int) for edge in (starts, starts + sides))
    joined = first.copy()
    inside = (..., slice(low[0], high[0]), slice(low[1], high[1]))
    joined[inside] = second[inside]
    return joined


def _part(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = image.shape[2:]
    if min(height, width) < SMALL:
        return _shifted(image, rng)
    area, aspect = rng.uniform(LEAST_AREA, 1.0), np.exp(rng.uniform(-ASPECT, ASPECT))
    sides = [min(1.0, float(np.sqrt(area * aspect))), min(1.0, float(np.sqrt(area / aspect)))]
    down, across = (
        _interpolation(extent, share, rng.uniform(0.0, 1.0 - share))
        for extent, share in zip((height, width), sides, strict=True)
    )
    return np.matmul(np.matmul(down, image), across.T)


def _shifted(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a small image moved by an eighth at most, with zeros where nothing was."""
    height, width = image.shape[2:]
    most = max(height, width) // 8
    padded = np.pad(image, ((0, 0), (0, 0), (most, most), (most, most)))
    top, left = (int(rng.integers(2 * most + 1)) for _ in range(2))
    return padded[..., top : top + height, left : left + width]


def _interpolation(extent: int, share: float, start: float) -> np.ndarray:
    """Return the matrix ``[extent, extent]`` that stretches a share of an axis, from ``start`` on, to all of it."""
    places = (start + share * (np.arange(extent) + 0.5) / extent) * extent - 0.5
    places = np.clip(places, 0.0, extent - 1.0)
    first = np.floor(places).astype(int)
    rest = (places - first).astype(np.float32)
    matrix = np.zeros((extent, extent), np.float32)
    rows = np.arange(extent)
    matrix[rows, first] += 1.0 - rest
    matrix[rows, np.minimum(first + 1, extent - 1)] += rest
    return matrix
