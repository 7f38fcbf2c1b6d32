"""Labelled data on disk --> samples for a model with the labels of their rows, one in memory at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ...errors import TvmqError
from ...ranges import least
from .arrays import ArrayFile, InputSpecs, Sample, of_least_batch, open_array_file
from .images import ImageFiles, ImageOptions, open_images

LABELS = "labels"
"""The array of an ``.npz`` that has them."""

_ENTRY = re.compile(r"(?P<path>\S.*?)\s+(?P<label>[0-9]+)(?:\s|$)")
"""A line of a list: what follows the label is ignored; a path may have blanks, but no number between them."""

Labelled = tuple[Sample, np.ndarray]
"""A sample, and an int64 label for each of its rows."""


@dataclass(frozen=True)
class LabelledFiles:
    """Labelled data before the model is known.

    Attributes
    ----------
    path : a ``.txt`` with a picture a line, its path relative to the file's folder and its label, a whole number; or
        an ``.npz`` with an array for each input and one named ``labels``.
    images : how pictures become the input; the defaults where None.
    """

    path: str | os.PathLike[str]
    images: ImageOptions | None = None

    def open(self, input_specs: InputSpecs) -> LabelledImages | LabelledArrays:
        """Return the samples for a model, which can be walked through any number of times.

        Raises
        ------
        TvmqError : nothing there, or nothing that can be read; a line without a label; other numbers of labels than of
            samples; data that do not fit the model's inputs.
        """
        path = Path(self.path)
        if not path.is_file():
            raise TvmqError(f"the labelled data {str(path)!r} do not exist")
        if path.suffix.lower() == ".npz":
            return _open_arrays(path, input_specs)
        if path.suffix.lower() != ".txt":
            raise TvmqError(f"the labelled data {str(path)!r} are no .txt that lists pictures, and no .npz")
        entries = _entries(path)
        options = replace(self.images or ImageOptions(), views=1)
        files = open_images([file for file, _ in entries], input_specs, options)
        return LabelledImages(files, tuple(label for _, label in entries))


@dataclass(frozen=True)
class LabelledImages:
    """Pictures; those that cannot be read are left out, with their labels.

    Attributes
    ----------
    labels : of all pictures.
    """

    files: ImageFiles
    labels: tuple[int, ...]

    @property
    def notes(self) -> list[str]:
        """What was left out, a line each; known after an iteration."""
        return self.files.notes

    def __len__(self) -> int:
        return self.files.count

    def __iter__(self) -> Iterator[Labelled]:
        count = 0
        for sample in self.files:
            # All pictures up to the last of this sample have been opened by now.
            known = [
                label
                for path, label in zip(self.files.paths, self.labels, strict=True)
                if path not in self.files.unreadable
            ]
            rows = self.files.shape[0]
            yield sample, np.array(known[count : count + rows], np.int64)
            count += rows


@dataclass(frozen=True)
class LabelledArrays:
    """Arrays, the labels among them."""

    file: ArrayFile

    @property
    def notes(self) -> list[str]:
        """What is left out, a line each."""
        return self.file.notes

    def __len__(self) -> int:
        return self.file.count

    def __iter__(self) -> Iterator[Labelled]:
        for sample in self.file:
            yield {name: array for name, array in sample.items() if name != LABELS}, sample[LABELS]


def _open_arrays(path: Path, specs: InputSpecs) -> LabelledArrays:
    if LABELS in specs:
        raise TvmqError(
            f"the model has an input {LABELS!r}, which is the name of the labels in {str(path)!r}"
        )
    specs = of_least_batch(specs)
    batches = {least(shape[0]) if shape else 1 for shape, _ in specs.values()}
    if len(batches) != 1:
        raise TvmqError(
            f"rows can have labels where all inputs have the same batch, and these have {sorted(batches)}"
        )
    try:
        with np.load(path) as arrays:
            names = arrays.files
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise TvmqError(f"cannot read the labelled data {str(path)!r}: {error}") from error
    if LABELS not in names:
        raise TvmqError(f"{path} has no array {LABELS!r}; it has {', '.join(map(repr, names))}")
    return LabelledArrays(open_array_file(path, {**specs, LABELS: ((batches.pop(),), "int64")}))


def _entries(path: Path) -> list[tuple[Path, int]]:
    """Return the pictures of a list with their labels."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TvmqError(f"cannot read the labelled data {str(path)!r}: {error}") from error
    entries = []
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        found = _ENTRY.match(line)
        if found is None:
            raise TvmqError(f"{path}, line {number}: expected a picture and its label, got {line!r}")
        entries.append((path.parent / found["path"], int(found["label"])))
    if not entries:
        raise TvmqError(f"the list of labelled pictures {str(path)!r} is empty")
    return entries
