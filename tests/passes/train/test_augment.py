"""Views of images: parts are resized as bilinear interpolation has it, small images move, mixtures keep their sum."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.passes.train.augment import Augment, _interpolation, is_image


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((1, 3, 224, 224), "float32", True),
        ((4, 1, 28, 28), "float32", True),
        ((1, 3, 224, 224), "uint8", False),
        ((1, 16, 32, 32), "float32", False),
        ((1, 3, 7, 32), "float32", False),
        ((1, 128), "int64", False),
    ],
)
def test_what_is_an_image(shape, dtype, expected):
    assert is_image(shape, dtype) == expected


def test_all_of_an_axis_stays_as_it_is():
    assert np.array_equal(_interpolation(9, 1.0, 0.0), np.eye(9, dtype=np.float32))


def test_a_part_of_a_ramp_is_a_slower_ramp():
    ramp = np.arange(64, dtype=np.float32)
    stretched = _interpolation(64, 0.5, 0.25) @ ramp
    np.testing.assert_allclose(stretched, 15.75 + 0.5 * np.arange(64), rtol=1e-6)


def test_a_large_image_is_seen_in_parts():
    image = np.random.default_rng(0).standard_normal((1, 3, 80, 96)).astype(np.float32)
    view = Augment(("crop",)).view(image, np.random.default_rng(1))
    assert view.shape == image.shape
    assert not np.array_equal(view, image)
    assert image.min() <= view.min() and view.max() <= image.max()


def test_a_small_image_moves_by_an_eighth_at_most():
    image = np.zeros((1, 1, 32, 32), np.float32)
    image[0, 0, 16, 16] = 1.0
    rng = np.random.default_rng(2)
    places = [np.argwhere(Augment(("crop",)).view(image, rng)[0, 0])[0] for _ in range(50)]
    assert np.abs(np.array(places) - 16).max() == 4


def test_mirror_images_are_half_of_all():
    image = np.arange(8 * 8, dtype=np.float32).reshape(1, 1, 8, 8)
    rng = np.random.default_rng(3)
    views = [Augment(("mirror",)).view(image, rng) for _ in range(100)]
    mirrored = sum(np.array_equal(view, image[..., ::-1]) for view in views)
    assert mirrored + sum(np.array_equal(view, image) for view in views) == 100
    assert 30 < mirrored < 70


@pytest.mark.parametrize("kind", ["mix", "paste"])
def test_shares_of_two_images_in_one(kind):
    rng = np.random.default_rng(4)
    shares = Augment((kind,)).shares(200, rng)
    assert ((shares >= 0) & (shares <= 1)).all()
    assert 60 < (shares == 1.0).sum() < 140
    assert (Augment(("crop",)).shares(5, rng) == 1.0).all()


def test_a_mixture():
    first, second = ({"x": np.full((1, 1, 8, 8), value, np.float32)} for value in (1.0, 5.0))
    joined, share = Augment(("mix",)).join(first, second, 0.75, np.random.default_rng(5))
    assert (share, joined["x"].min(), joined["x"].max()) == (0.75, 2.0, 2.0)


def test_a_rectangle_of_another_image():
    first, second = ({"x": np.full((1, 3, 40, 60), value, np.float32)} for value in (1.0, 5.0))
    rng = np.random.default_rng(6)
    for wanted in np.linspace(0.0, 1.0, 20):
        joined, share = Augment(("paste",)).join(first, second, wanted, rng)
        own = joined["x"] == 1.0
        assert np.array_equal(own, joined["x"] != 5.0)
        # Each edge lies within half a pixel of where it should.
        assert own[0, 0].mean() == pytest.approx(share, abs=1 / 40 + 1 / 60)
        rows, columns = np.nonzero(~own[0, 0])
        if rows.size:
            inside = own[0, 0, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            assert not inside.any()
    assert (first["x"] == 1.0).all()


def test_the_area_of_a_rectangle_is_what_the_other_image_has():
    image = {"x": np.zeros((1, 3, 40, 60), np.float32)}
    rng = np.random.default_rng(7)
    shares = [Augment(("paste",)).join(image, image, wanted, rng)[1] for wanted in (0.3, 0.6, 0.9)]
    np.testing.assert_allclose(shares, [0.3, 0.6, 0.9], atol=1e-6)
