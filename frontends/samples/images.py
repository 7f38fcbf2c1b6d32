"""Image files as calibration samples: resize, centre crop, ``(pixel * scale - mean) / std``, layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import TvmqError, unknown
from ...ranges import Range, least, shown
from .arrays import InputSpecs, Sample

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
LAYOUTS = ("NCHW", "NHWC")
COLORS = ("rgb", "bgr")
RESAMPLING = {"linear": "BILINEAR", "nearest": "NEAREST", "cubic": "BICUBIC"}
"""Methods of resizing, and what Pillow calls them."""
PART = 0.35
"""Of a picture's area, the least that a view shows."""
STRETCH = 1.25
"""How much wider or higher than the picture a view's part is at most."""


class UnreadableImage(TvmqError):
    """A file that is no picture, or a damaged one: it is skipped, named and counted."""


@dataclass(frozen=True)
class ImageOptions:
    """How a picture becomes the model's input.

    Attributes
    ----------
    size : pixels. One number: the short side is resized to it; two: height and width, whatever the aspect.
        None resizes so that the picture just covers the model's height and width, or to exactly those where
        nothing is cropped.
    resize : a key of ``RESAMPLING``.
    center_crop : cut the model's height and width out of the centre of the resized picture, which else must have
        just those.
    views : how often each picture is seen: as it is; its mirror image; and from the third on parts of it, of any size
        from ``PART`` of its area on and nearly its aspect, resized, every other one mirrored (the crops of Szegedy et
        al., "Going deeper with convolutions", 2015). They are the same each time. Pictures with labels are seen once.
    scale : factor on the 8-bit pixels; None is 1/255, and 1 for a model whose input is uint8.
    mean, std : of each channel, or one for all, on the scaled pixels, in the order of ``color``.
    layout : ``"NCHW"`` or ``"NHWC"``; None tells by which axis has 1 or 3 channels.
    color : ``"rgb"`` or ``"bgr"``.
    """

    size: tuple[int, ...] | None = None
    resize: str = "linear"
    center_crop: bool = True
    views: int = 1
    scale: float | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: str | None = None
    color: str = "rgb"

    def __post_init__(self) -> None:
        if self.views < 1:
            raise TvmqError(f"the number of views of each image must be positive, got {self.views}")
        if self.layout is not None and self.layout not in LAYOUTS:
            raise unknown("image layout", self.layout, LAYOUTS)
        if self.color not in COLORS:
            raise unknown("image color order", self.color, COLORS)
        if self.resize not in RESAMPLING:
            raise unknown("method of resizing images", self.resize, RESAMPLING)
        if self.size is not None and (len(self.size) not in (1, 2) or min(self.size) < 1):
            raise TvmqError(f"the image size must be one or two positive numbers, got {_listed(self.size)}")
        for which in ("mean", "std"):
            values = getattr(self, which)
            if len(values) not in (1, 3) or not np.isfinite(values).all():
                raise TvmqError(f"the image {which} must be one or three numbers, got {_listed(values)}")
        if min(self.std) <= 0:
            raise TvmqError(f"the image std must be positive, got {_listed(self.std)}")
        if self.scale is not None and not (np.isfinite(self.scale) and self.scale > 0):
            raise TvmqError(f"the image scale must be positive, got {self.scale}")


@dataclass(frozen=True)
class ImageFiles:
    """The samples of a list of image files, ``batch`` pictures a sample.

    Attributes
    ----------
    paths : the pictures.
    name, shape, dtype : the model's one input.
    options : see ``ImageOptions``.
    unreadable : filled while iterating: why each picture that was skipped cannot be read, by its path.
    """

    paths: tuple[Path, ...]
    name: str
    shape: tuple[int, ...]
    dtype: str
    options: ImageOptions
    unreadable: dict[Path, str] = field(default_factory=dict, compare=False)

    @property
    def count(self) -> int:
        """Number of samples, as far as it is known that images can be read."""
        return self._views // self.shape[0]

    @property
    def notes(self) -> list[str]:
        """What is left out; what cannot be read is among it after iterating."""
        notes = []
        if self.unreadable:
            count = len(self.unreadable)
            notes = [f"skipped: {reason}" for reason in self.unreadable.values()]
            notes.append(f"skipped {count} of {len(self.paths)} images, which cannot be read")
        rest = self._views % self.shape[0]
        if rest:
            notes.append(f"left out the last {rest} images, which fill no batch of {self.shape[0]}")
        return notes

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples in order, without the pictures that cannot be read.

        Raises
        ------
        TvmqError : too few can be read to fill one batch; a picture does not fit the model after resizing.
        """
        batch: list[np.ndarray] = []
        some = False
        for place, path in enumerate(self.paths):
            try:
                views = self._load(path, np.random.default_rng(place))
            except UnreadableImage as error:
                self.unreadable[path] = str(error)
                continue
            for view in views:
                batch.append(view)
                if len(batch) == self.shape[0]:
                    yield {self.name: np.stack(batch)}
                    batch, some = [], True
        if not some:
            raise TvmqError(
                f"of {len(self.paths)} images {len(self.unreadable)} cannot be read, which leaves too few for one "
                f"sample; the first: {next(iter(self.unreadable.values()))}"
            )

    @property
    def _views(self) -> int:
        """How often a picture is seen, in all."""
        return (len(self.paths) - len(self.unreadable)) * self.options.views

    def _load(self, path: Path, rng: np.random.Generator) -> list[np.ndarray]:
        """Return the views of one picture as the model reads it, ``[C, H, W]`` or ``[H, W, C]``."""
        layout = _layout(self.shape, self.options.layout)
        height, width, channels = _extents(self.shape, layout)
        picture = _picture(path, height, width, channels, self.options)
        views = []
        for view in _views(picture, height, width, self.options, rng):
            pixels = np.asarray(view).reshape(height, width, channels)
            values = _normalized(
                pixels[:, :, ::-1] if self.options.color == "bgr" else pixels, self.dtype, self.options
            )
            views.append(np.ascontiguousarray(values.transpose(2, 0, 1) if layout == "NCHW" else values))
        return views


def open_images(paths: list[Path], specs: InputSpecs, options: ImageOptions) -> ImageFiles:
    """Return image files as samples for a model with one picture input.

    Raises
    ------
    TvmqError : the model has several inputs, or one that is no picture; the options don't fit it; fewer
        pictures than the model's batch.
    """
    if len(specs) != 1:
        raise TvmqError(f"images can feed a model of one input, and this one has {len(specs)}; use an .npz")
    name, (extents, dtype) = next(iter(specs.items()))
    shape = _fixed(extents)
    if dtype not in ("float32", "float16", "float64", "uint8"):
        raise TvmqError(f"images cannot feed the input {name!r} of dtype {dtype}; use an .npz")
    channels = _extents(shape, _layout(shape, options.layout))[2]
    for which in ("mean", "std"):
        given = len(getattr(options, which))
        if given not in (1, channels):
            raise TvmqError(
                f"the image {which} has {given} values, and the input {name!r} {channels} channels"
            )
    brightest = 255 * _scale(dtype, options)
    if min(options.mean) < 0 or max(options.mean) > brightest:
        raise TvmqError(
            f"the image mean {_listed(options.mean)} lies outside the scaled pixels, 0 to {brightest:g}; "
            "an image scale of 1 leaves them at 0 to 255"
        )
    if len(paths) * options.views < shape[0]:
        raise TvmqError(f"{len(paths)} images are fewer than the model's batch of {shape[0]}")
    return ImageFiles(tuple(paths), name, shape, dtype, options)


def _fixed(shape: tuple[int | Range, ...]) -> tuple[int, ...]:
    """Return the shape of an input, of which the batch alone may be open: at its least."""
    if any(isinstance(extent, Range) for extent in shape[1:]):
        raise TvmqError(
            f"images need a fixed size, and the model's input has the shape {shown(shape)}; use an .npz"
        )
    return tuple(map(least, shape))


def _layout(shape: tuple[int, ...], wanted: str | None) -> str:
    """Return the layout of a picture input; raises ``TvmqError`` where its shape has no channels there."""
    if len(shape) != 4:
        raise TvmqError(
            f"images need an input of four axes, and the model's has the shape {list(shape)}; use an .npz"
        )
    for layout, axis in (("NCHW", 1), ("NHWC", 3)):
        if shape[axis] in (1, 3) and wanted in (None, layout):
            return layout
    asked = f" in the layout {wanted}" if wanted else ""
    raise TvmqError(f"the model's input of shape {list(shape)} has no 1 or 3 channels{asked}; use an .npz")


def _extents(shape: tuple[int, ...], layout: str) -> tuple[int, int, int]:
    """Return height, width and channels."""
    return (shape[2], shape[3], shape[1]) if layout == "NCHW" else (shape[1], shape[2], shape[3])


def _picture(path: Path, height: int, width: int, channels: int, options: ImageOptions) -> Picture:
    """Return the resized picture, RGB or grey."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB" if channels == 3 else "L")
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"image {path} is not in a format that Pillow knows") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImage(f"image {path} cannot be read: {error}") from error
    size = _resized(picture.size, height, width, options)
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling[RESAMPLING[options.resize]])
    got, wanted = f"{picture.height}x{picture.width}", f"{height}x{width}"
    if picture.width < width or picture.height < height:
        raise TvmqError(f"image {path} is {got} after resizing, smaller than the model's {wanted}")
    if not options.center_crop and got != wanted:
        raise TvmqError(
            f"image {path} is {got} after resizing, and without a centre crop it must be {wanted}"
        )
    return picture


def _views(
    picture: Picture, height: int, width: int, options: ImageOptions, rng: np.random.Generator
) -> Iterator[Picture]:
    """Give the views of a resized picture, of that height and width."""
    from PIL import Image

    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    for number in range(options.views):
        if number < 2:
            view = picture.crop((left, top, left + width, top + height))
        else:
            view = _part(picture, rng).resize((width, height), Image.Resampling[RESAMPLING[options.resize]])
        yield view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if number % 2 else view


def _part(picture: Picture, rng: np.random.Generator) -> Picture:
    """Return a part of a picture, of a size, an aspect and a place at random."""
    share, stretch = rng.uniform(PART, 1.0), np.exp(rng.uniform(-1.0, 1.0) * np.log(STRETCH))
    sides = (picture.width * np.sqrt(share * stretch), picture.height * np.sqrt(share / stretch))
    width, height = (min(max(1, round(side)), whole) for side, whole in zip(sides, picture.size, strict=True))
    left, top = rng.integers(picture.width - width + 1), rng.integers(picture.height - height + 1)
    return picture.crop((left, top, left + width, top + height))


def _resized(picture: tuple[int, int], height: int, width: int, options: ImageOptions) -> tuple[int, int]:
    """Return width and height of a picture of that width and height after resizing."""
    size = options.size
    if size is None and not options.center_crop:
        return width, height
    if size is not None and len(size) == 2:
        return size[1], size[0]
    factor = size[0] / min(picture) if size else max(width / picture[0], height / picture[1])
    return max(1, round(picture[0] * factor)), max(1, round(picture[1] * factor))


def _scale(dtype: str, options: ImageOptions) -> float:
    if options.scale is not None:
        return options.scale
    return 1.0 if dtype == "uint8" else 1 / 255


def _normalized(pixels: np.ndarray, dtype: str, options: ImageOptions) -> np.ndarray:
    """Return ``(pixels * scale - mean) / std`` in the model's dtype, ``[H, W, C]``."""
    scaled = pixels.astype(np.float32) * np.float32(_scale(dtype, options))
    values = (scaled - np.asarray(options.mean, np.float32)) / np.asarray(options.std, np.float32)
    if np.dtype(dtype).kind == "u":
        values = np.clip(np.rint(values), 0, 255)
    return values.astype(dtype)


def _listed(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)
