"""Calibration data in pictures: sizes, layouts, views, and every kind of bad file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tvmq.errors import TvmqError
from tvmq.frontends.samples.files import read_samples
from tvmq.frontends.samples.images import ImageOptions

from ..sample_arrays import SPECS, assert_samples, random_array

PICTURE = {"x": ((1, 3, 8, 8), "float32")}


def save_image(path: Path, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Write a lossless random picture and return its pixels, uint8 ``[H, W, 3]``."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def load_one(path: Path, specs, **options) -> np.ndarray:
    (sample,) = read_samples(path, specs, ImageOptions(**options) if options else None)
    (array,) = sample.values()
    return array


def test_image_defaults_scale_to_one(tmp_path):
    pixels = save_image(tmp_path / "a.png", 8, 8)
    expected = (pixels.astype(np.float32) * np.float32(1 / 255)).transpose(2, 0, 1)[None]
    np.testing.assert_array_equal(load_one(tmp_path, PICTURE), expected, strict=True)


def test_image_mean_std_color_and_layout(tmp_path):
    pixels = save_image(tmp_path / "a.png", 8, 8)
    mean, std = (0.5, 0.25, 0.125), (0.5, 1.0, 2.0)
    found = load_one(tmp_path, {"x": ((1, 8, 8, 3), "float32")}, mean=mean, std=std, color="bgr")
    scaled = pixels[:, :, ::-1].astype(np.float32) * np.float32(1 / 255)
    expected = (scaled - np.float32(mean)) / np.float32(std)
    np.testing.assert_array_equal(found, expected[None], strict=True)


def test_image_of_raw_bytes(tmp_path):
    pixels = save_image(tmp_path / "a.png", 8, 8)
    found = load_one(tmp_path, {"x": ((1, 8, 8, 3), "uint8")})
    np.testing.assert_array_equal(found, pixels[None], strict=True)


def test_image_is_cropped_in_the_centre(tmp_path):
    pixels = save_image(tmp_path / "a.png", 12, 16)
    found = load_one(tmp_path, {"x": ((1, 8, 8, 3), "uint8")}, size=(12,))
    np.testing.assert_array_equal(found, pixels[None, 2:10, 4:12], strict=True)


@pytest.mark.parametrize(
    ("size", "resized"),
    [
        (None, (11, 8)),  # 16 x 22 just covers 8 x 8 at half its size
        ((10,), (14, 10)),  # the short side to 10
        ((8, 9), (9, 8)),  # exactly so
    ],
)
def test_image_size(tmp_path, size, resized):
    pixels = save_image(tmp_path / "a.png", 16, 22)
    picture = Image.fromarray(pixels).resize(resized, Image.Resampling.BILINEAR)
    left, top = (resized[0] - 8) // 2, (resized[1] - 8) // 2
    expected = np.asarray(picture)[None, top : top + 8, left : left + 8]
    found = load_one(tmp_path, {"x": ((1, 8, 8, 3), "uint8")}, size=size)
    np.testing.assert_array_equal(found, expected, strict=True)


def test_grey_images(tmp_path):
    save_image(tmp_path / "a.png", 8, 8)
    grey = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
    np.testing.assert_array_equal(load_one(tmp_path, {"x": ((1, 1, 8, 8), "uint8")}), grey[None, None])


def test_images_in_subfolders_fill_batches(tmp_path):
    pictures = [
        save_image(tmp_path / name, 8, 8, seed) for seed, name in enumerate(["a/2.png", "a/3.PNG", "b/1.png"])
    ]
    samples = read_samples(tmp_path, {"x": ((2, 8, 8, 3), "uint8")})
    assert_samples(samples, [{"x": np.stack(pictures[:2])}])
    assert samples.notes == ["left out the last 1 images, which fill no batch of 2"]


def test_mirror_images_follow_their_pictures(tmp_path):
    pictures = [save_image(tmp_path / f"{seed}.png", 8, 8, seed) for seed in range(3)]
    first, second = (
        [view for picture in pictures for view in (picture, picture[:, ::-1])][i::2] for i in (0, 1)
    )
    options = ImageOptions(views=2)
    samples = read_samples(tmp_path, {"x": ((1, 8, 8, 3), "uint8")}, options)
    assert_samples(samples, [{"x": view[None]} for pair in zip(first, second, strict=True) for view in pair])
    samples = read_samples(tmp_path, {"x": ((4, 3, 8, 8), "uint8")}, options)
    views = [first[0], second[0], first[1], second[1]]
    assert_samples(samples, [{"x": np.stack([view.transpose(2, 0, 1) for view in views])}])
    assert samples.notes == ["left out the last 2 images, which fill no batch of 4"]


def test_further_views_are_parts_of_the_picture(tmp_path):
    height, width = 40, 60
    # Red grows from left to right, green from top to bottom: a view says what part it is of.
    grey = np.zeros((height, width, 3), np.uint8)
    grey[..., 0], grey[..., 1] = 4 * np.arange(width), 4 * np.arange(height)[:, None]
    Image.fromarray(grey).save(tmp_path / "a.png")
    options = ImageOptions(views=40)
    samples = read_samples(tmp_path, {"x": ((1, height, width, 3), "uint8")}, options)
    views = [sample["x"][0].astype(float) / 4 for sample in samples]
    assert len(views) == len(samples) == 40
    shares = []
    for number, view in enumerate(views):
        across, down = view[:, :, 0].mean(axis=0), view[:, :, 1].mean(axis=1)
        steps = np.diff(across) * (-1 if number % 2 else 1)
        assert (steps > -0.3).all() and (np.diff(down) > -0.3).all()
        shares.append((np.ptp(across) + 1) / width * (np.ptp(down) + 1) / height)
    assert shares[:2] == [1.0, 1.0]
    assert 0.3 < min(shares) < 0.5 and max(shares[2:]) > 0.8
    assert_samples(samples, [{"x": sample["x"]} for sample in samples])


def test_list_of_images_keeps_its_order(tmp_path):
    first = save_image(tmp_path / "z.png", 8, 8, 0)
    second = save_image(tmp_path / "a b.png", 8, 8, 1)
    (tmp_path / "list.txt").write_text("# name index\nz.png 12 cat\n\na b.png\n")
    samples = read_samples(tmp_path / "list.txt", {"x": ((1, 8, 8, 3), "uint8")})
    assert_samples(samples, [{"x": first[None]}, {"x": second[None]}])


@pytest.mark.parametrize(
    ("specs", "options", "message"),
    [
        ({"x": ((1, 10), "float32")}, {}, r"images need an input of four axes, .* \[1, 10\]"),
        ({"x": ((1, 4, 8, 8), "float32")}, {}, "has no 1 or 3 channels"),
        (PICTURE, {"layout": "NHWC"}, "has no 1 or 3 channels in the layout NHWC"),
        ({"x": ((1, 3, 8, 8), "int64")}, {}, "cannot feed the input 'x' of dtype int64"),
        ({**PICTURE, "y": ((1, 2), "float32")}, {}, "a model of one input, and this one has 2"),
        ({"x": ((1, 1, 8, 8), "float32")}, {"mean": (0.1, 0.2, 0.3)}, "mean has 3 values, .* 1 channels"),
        (
            PICTURE,
            {"mean": (123.0, 117.0, 104.0)},
            "mean 123,117,104 lies outside the scaled pixels, 0 to 1;",
        ),
        ({"x": ((4, 3, 8, 8), "float32")}, {}, "1 images are fewer than the model's batch of 4"),
    ],
)
def test_models_and_options_that_images_do_not_fit(tmp_path, specs, options, message):
    save_image(tmp_path / "a.png", 8, 8)
    with pytest.raises(TvmqError, match=message):
        read_samples(tmp_path, specs, ImageOptions(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "NCWH"}, "unknown image layout 'NCWH'; did you mean 'NCHW'"),
        ({"resize": "bilinear"}, "unknown method of resizing images 'bilinear'; did you mean 'linear'"),
        ({"color": "rgba"}, "unknown image color order 'rgba'; did you mean 'rgb'"),
        ({"size": (0,)}, "size must be one or two positive numbers, got 0"),
        ({"size": (1, 2, 3)}, "size must be one or two positive numbers, got 1,2,3"),
        ({"mean": (1.0, 2.0)}, "mean must be one or three numbers, got 1,2"),
        ({"mean": (float("nan"),)}, "mean must be one or three numbers, got nan"),
        ({"std": (0.0,)}, "std must be positive, got 0"),
        ({"scale": -1.0}, "scale must be positive, got -1.0"),
    ],
)
def test_bad_image_options(options, message):
    with pytest.raises(TvmqError, match=message):
        ImageOptions(**options)


def test_unreadable_images_are_skipped_named_and_counted(tmp_path):
    first = save_image(tmp_path / "a.png", 8, 8, 0)
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    last = save_image(tmp_path / "d.png", 8, 8, 1)
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes()[:100])
    samples = read_samples(tmp_path, {"x": ((1, 8, 8, 3), "uint8")})
    assert samples.notes == []  # it is not known before they are read
    assert len(list(samples)) == 2
    assert_samples(samples, [{"x": first[None]}, {"x": last[None]}])
    not_a_picture, cut_short, count = samples.notes
    assert not_a_picture == f"skipped: image {tmp_path}/b.jpg is not in a format that Pillow knows"
    assert cut_short.startswith(f"skipped: image {tmp_path}/c.png cannot be read: ")
    assert count == "skipped 2 of 4 images, which cannot be read"


def test_unreadable_images_fill_no_batch(tmp_path):
    pictures = [save_image(tmp_path / f"{name}.png", 8, 8, seed) for seed, name in enumerate("acde")]
    (tmp_path / "b.png").write_bytes(b"")
    samples = read_samples(tmp_path, {"x": ((3, 8, 8, 3), "uint8")})
    list(samples)
    assert_samples(samples, [{"x": np.stack(pictures[:3])}])
    assert samples.notes[1:] == [
        "skipped 1 of 5 images, which cannot be read",
        "left out the last 1 images, which fill no batch of 3",
    ]


def test_no_image_that_can_be_read(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(
        TvmqError, match=r"of 2 images 2 cannot be read, .* the first: image .*a.png is not in"
    ):
        list(read_samples(tmp_path, PICTURE))


def test_the_limit_counts_images_that_can_be_read(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    second = save_image(tmp_path / "b.png", 8, 8)
    save_image(tmp_path / "c.png", 8, 8, 1)
    samples = read_samples(tmp_path, {"x": ((1, 8, 8, 3), "uint8")}, limit=1)
    assert_samples(samples, [{"x": second[None]}])


def test_an_image_smaller_than_the_crop(tmp_path):
    save_image(tmp_path / "a.png", 8, 8)
    with pytest.raises(TvmqError, match="a.png is 6x6 after resizing, smaller than the model's 8x8"):
        list(read_samples(tmp_path, PICTURE, ImageOptions(size=(6,))))


def test_image_options_for_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "s.npz", x=random_array(1, 3, 4, 5))
    with pytest.raises(TvmqError, match="image options have no effect"):
        read_samples(tmp_path / "s.npz", SPECS, ImageOptions())


def test_a_list_that_names_no_image(tmp_path):
    save_image(tmp_path / "a.png", 8, 8)
    (tmp_path / "list.txt").write_text("gone.png 3\na.png\n")
    samples = read_samples(tmp_path / "list.txt", PICTURE)
    assert len(list(samples)) == 1
    assert samples.notes[0].startswith(f"skipped: image {tmp_path}/gone.png cannot be read: [Errno 2]")
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(TvmqError, match="list.txt' is empty"):
        read_samples(tmp_path / "list.txt", PICTURE)


def test_the_type_chooses_from_a_folder(tmp_path):
    pixels = save_image(tmp_path / "a.png", 8, 8)
    specs = {"x": ((1, 8, 8, 3), "uint8")}
    np.save(tmp_path / "b.npy", np.zeros((2, 8, 8, 3), np.uint8))
    assert len(read_samples(tmp_path, specs)) == len(read_samples(tmp_path, specs, type="arrays")) == 2
    assert_samples(read_samples(tmp_path, specs, type="images"), [{"x": pixels[None]}])
    with pytest.raises(TvmqError, match="b.npy' holds arrays, not images"):
        read_samples(tmp_path / "b.npy", specs, type="images")
    with pytest.raises(TvmqError, match="unknown type of calibration data 'image'; did you mean 'images'"):
        read_samples(tmp_path, specs, type="image")
    (tmp_path / "b.npy").unlink()
    with pytest.raises(TvmqError, match="is empty: no .npy or .npz files in it"):
        read_samples(tmp_path, specs, type="arrays")


@pytest.mark.parametrize(
    ("resize", "method"),
    [
        ("linear", Image.Resampling.BILINEAR),
        ("nearest", Image.Resampling.NEAREST),
        ("cubic", Image.Resampling.BICUBIC),
    ],
)
def test_methods_of_resizing(tmp_path, resize, method):
    pixels = save_image(tmp_path / "a.png", 16, 16)
    expected = np.asarray(Image.fromarray(pixels).resize((8, 8), method))
    found = load_one(tmp_path, {"x": ((1, 8, 8, 3), "uint8")}, resize=resize)
    np.testing.assert_array_equal(found, expected[None], strict=True)


def test_without_a_crop_the_picture_is_squeezed(tmp_path):
    pixels = save_image(tmp_path / "a.png", 16, 22)
    expected = np.asarray(Image.fromarray(pixels).resize((8, 8), Image.Resampling.BILINEAR))
    specs = {"x": ((1, 8, 8, 3), "uint8")}
    np.testing.assert_array_equal(load_one(tmp_path, specs, center_crop=False), expected[None], strict=True)
    with pytest.raises(
        TvmqError, match="a.png is 10x14 after resizing, and without a centre crop it must be 8x8"
    ):
        load_one(tmp_path, specs, center_crop=False, size=(10,))
