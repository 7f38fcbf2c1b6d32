"""Calibration data on disk --> samples for a model, one in memory at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from ...errors import TvmqError, unknown
from .arrays import ArrayFile, InputSpecs, Sample, of_least_batch, open_array_file
from .images import SUFFIXES, ImageFiles, ImageOptions, open_images

ARRAY_SUFFIXES = frozenset({".npy", ".npz"})
ARRAYS, IMAGES = TYPES = ("arrays", "images")


@dataclass(frozen=True)
class Samples:
    """Samples that can be iterated any number of times; each pass reads the files again.

    Attributes
    ----------
    sources : the files, in order.
    limit : at most so many samples, from the start; None is all of them.
    """

    sources: tuple[ArrayFile | ImageFiles, ...]
    limit: int | None = None

    def __len__(self) -> int:
        total = sum(source.count for source in self.sources)
        return total if self.limit is None else min(total, self.limit)

    def __iter__(self) -> Iterator[Sample]:
        return islice(chain.from_iterable(self.sources), self.limit)

    @property
    def notes(self) -> list[str]:
        """What was left out of the data, or missed, a line each; after an iteration images that cannot be read too."""
        notes = [note for source in self.sources for note in source.notes]
        if self.limit is not None and len(self) < self.limit:
            notes.append(f"calibration data: {self.limit} samples were asked for, and there are {len(self)}")
        return notes


def read_samples(
    path: str | os.PathLike[str],
    input_specs: InputSpecs,
    image_options: ImageOptions | None = None,
    limit: int | None = None,
    type: str | None = None,
) -> Samples:
    """Return the samples that a file or folder holds for a model.

    Parameters
    ----------
    path : one of
        - an ``.npz`` with one array an input (or an ``.npy`` for a model of one input), its first axis the
          samples;
        - a folder of such files, each one sample or several, in the order of their names;
        - a folder of images, subfolders included, in the order of their paths;
        - a ``.txt`` that lists images, a path a line, relative to its own folder (what follows the path after
          white space is ignored).
    input_specs : name -> (shape, dtype) of each of the model's inputs. For an input ``[B, ...]`` each sample
        is ``[B, ...]``: ``B`` rows of the array, or ``B`` images; rows left over are dropped with a note.
        An open ``B`` is the least that it can be.
    image_options : how images become the input; the defaults where None.
    limit : use only so many samples, from the start.
    type : ``"arrays"`` or ``"images"``, what to take of a folder that holds both; None takes the arrays then.

    Raises
    ------
    TvmqError : nothing there, or nothing that can be read; arrays of wrong name, shape or dtype, or empty;
        images for a model that takes none; another type than asked for. While iterating: NaN and infinity, a
        truncated array, no image that can be read.
    """
    if type is not None and type not in TYPES:
        raise unknown("type of calibration data", type, TYPES)
    path = Path(path)
    if limit is not None and limit < 1:
        raise TvmqError(f"the number of calibration samples must be positive, got {limit}")
    if not path.exists():
        raise TvmqError(f"calibration data {str(path)!r} does not exist")
    if not input_specs:
        raise TvmqError("the model has no inputs to calibrate with")
    return Samples(_sources(path, of_least_batch(input_specs), image_options, type), limit)


@dataclass(frozen=True)
class CalibrationFiles:
    """Calibration data on disk before the model is known: the arguments of ``read_samples``."""

    path: str | os.PathLike[str]
    images: ImageOptions | None = None
    limit: int | None = None
    type: str | None = None

    def open(self, input_specs: InputSpecs) -> Samples:
        """Return the samples for a model; raises ``TvmqError`` as ``read_samples`` does."""
        return read_samples(self.path, input_specs, self.images, self.limit, self.type)


def _sources(
    path: Path, specs: InputSpecs, image_options: ImageOptions | None, type: str | None
) -> tuple[ArrayFile | ImageFiles, ...]:
    if path.is_file():
        return (_file(path, specs, image_options, type),)
    arrays = sorted(file for file in path.iterdir() if _is_visible(file, ARRAY_SUFFIXES))
    if arrays and type != IMAGES:
        _refuse_image_options(path, image_options)
        return tuple(open_array_file(file, specs, lone_sample=True) for file in arrays)
    images = sorted(file for file in path.rglob("*") if _is_visible(file, SUFFIXES))
    if images and type != ARRAYS:
        return (open_images(images, specs, image_options or ImageOptions()),)
    wanted = {None: ".npy, .npz or image files", ARRAYS: ".npy or .npz files", IMAGES: "image files"}[type]
    raise TvmqError(f"calibration data {str(path)!r} is empty: no {wanted} in it")


def _file(
    path: Path, specs: InputSpecs, image_options: ImageOptions | None, type: str | None
) -> ArrayFile | ImageFiles:
    """Return the samples of a file of arrays, or of a list of images."""
    suffix = path.suffix.lower()
    if suffix not in ARRAY_SUFFIXES and suffix != ".txt":
        raise TvmqError(f"calibration data {str(path)!r} is no .npz, .npy, .txt or folder")
    holds = ARRAYS if suffix in ARRAY_SUFFIXES else IMAGES
    if type not in (None, holds):
        raise TvmqError(f"calibration data {str(path)!r} holds {holds}, not {type}")
    if holds == ARRAYS:
        _refuse_image_options(path, image_options)
        return open_array_file(path, specs)
    return open_images(_listed_images(path), specs, image_options or ImageOptions())


def _refuse_image_options(path: Path, image_options: ImageOptions | None) -> None:
    """Raise where image options are given for arrays, which are taken as they are."""
    if image_options is not None:
        raise TvmqError(f"image options have no effect on the arrays in {str(path)!r}")


def _is_visible(path: Path, suffixes: frozenset[str]) -> bool:
    return path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()


def _listed_images(path: Path) -> list[Path]:
    """Return the images that a list names, in its order; one that is not there cannot be read later."""
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise TvmqError(f"cannot read the list of images {str(path)!r}: {error}") from error
    images = []
    for line in lines:
        if not line or line.startswith("#"):
            continue
        candidates = [path.parent / line, path.parent / line.split()[0]]
        found = [candidate for candidate in candidates if candidate.is_file()]
        images.append(found[0] if found else candidates[1])
    if not images:
        raise TvmqError(f"the list of images {str(path)!r} is empty")
    return images
