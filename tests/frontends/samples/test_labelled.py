"""Labelled pictures and arrays."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tvmq.errors import TvmqError
from tvmq.frontends.samples.images import ImageOptions
from tvmq.frontends.samples.labelled import LabelledFiles

SPECS = {"x": ((1, 3, 4, 4), "float32")}


@pytest.fixture
def pictures(tmp_path):
    """Five pictures of one grey each, 10 times their number; the third cannot be read."""
    for number in range(5):
        Image.new("RGB", (4, 4), (10 * number,) * 3).save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_text("no picture")
    lines = [
        "# picture label name",
        *(f"{number}.png {number + 100} grey no. {number}" for number in range(5)),
        "",
    ]
    (tmp_path / "labels.txt").write_text("\n".join(lines))
    return tmp_path / "labels.txt"


@pytest.mark.parametrize("batch", [1, 2])
def test_labels_stay_with_their_pictures(pictures, batch):
    pairs = LabelledFiles(pictures).open({"x": ((batch, 3, 4, 4), "float32")})
    for _ in range(2):
        found = [
            (round(float(picture.mean()) * 25.5), int(label))
            for sample, labels in pairs
            for picture, label in zip(sample["x"], labels, strict=True)
        ]
        assert found == [(0, 100), (1, 101), (3, 103), (4, 104)]
    assert "2.png" in pairs.notes[0]
    assert pairs.notes[1] == "skipped 1 of 5 images, which cannot be read"


def test_labelled_pictures_are_seen_once(pictures):
    assert len(list(LabelledFiles(pictures, ImageOptions(views=3)).open(SPECS))) == 4


def test_a_path_with_blanks_and_words_behind_the_label(pictures):
    (pictures.parent / "0.png").rename(pictures.parent / "my dog.png")
    pictures.write_text("my dog.png\t207 golden retriever\n  1.png 3\n")
    pairs = LabelledFiles(pictures).open(SPECS)
    assert [labels.tolist() for _, labels in pairs] == [[207], [3]]
    assert pairs.notes == []


def test_arrays_with_labels(tmp_path):
    x = np.arange(5 * 2, dtype=np.float32).reshape(5, 2)
    np.savez(tmp_path / "data.npz", x=x, labels=np.arange(5, dtype=np.int32))
    pairs = list(LabelledFiles(tmp_path / "data.npz").open({"x": ((2, 2), "float32")}))
    assert [labels.tolist() for _, labels in pairs] == [[0, 1], [2, 3]]
    np.testing.assert_array_equal(pairs[1][0]["x"], x[2:4])
    assert set(pairs[0][0]) == {"x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.png", "labels.txt, line 1: expected a picture and its label, got '0.png'"),
        ("0.png 1\n1.png dog", "labels.txt, line 2: expected a picture and its label, got '1.png dog'"),
        ("0.png -1", "line 1: expected a picture and its label"),
        ("# nothing", "is empty"),
    ],
)
def test_lists_without_labels(pictures, text, message):
    pictures.write_text(text)
    with pytest.raises(TvmqError, match=message):
        LabelledFiles(pictures).open(SPECS)


def test_files_that_are_none(tmp_path):
    with pytest.raises(TvmqError, match="do not exist"):
        LabelledFiles(tmp_path / "labels.txt").open(SPECS)
    (tmp_path / "labels.csv").write_text("")
    with pytest.raises(TvmqError, match="are no .txt that lists pictures, and no .npz"):
        LabelledFiles(tmp_path / "labels.csv").open(SPECS)
    (tmp_path / "data.npz").write_text("")
    with pytest.raises(TvmqError, match="cannot read the labelled data"):
        LabelledFiles(tmp_path / "data.npz").open(SPECS)


def test_labels_that_do_not_match_the_samples(tmp_path):
    path, x = tmp_path / "data.npz", np.zeros((5, 3, 4, 4), np.float32)
    for labels, message in (
        (np.zeros(4, np.int64), r"differ in their number of samples: \{'x': 5, 'labels': 4\}"),
        (np.zeros(5, np.float32), "has the dtype float32, expected int64"),
        (np.zeros((5, 2), np.int64), "expected"),
    ):
        np.savez(path, x=x, labels=labels)
        with pytest.raises(TvmqError, match=message):
            LabelledFiles(path).open(SPECS)
    np.savez(path, x=x, label=np.zeros(5))
    with pytest.raises(TvmqError, match="has no array 'labels'; it has 'x', 'label'"):
        LabelledFiles(path).open(SPECS)
