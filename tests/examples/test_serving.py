"""What ``docs/serving.md`` shows does what it says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import tvmq
from tvmq.runtime.machine import _Place

ROOT = Path(__file__).parents[2]


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The page's code blocks by language, to be run in a folder with the example and its package."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    tvmq.compile(ROOT / "examples/digits/digits.onnx", "llvm").export(tmp_path / "digits.tar")
    monkeypatch.chdir(tmp_path)
    blocks: dict[str, list[str]] = {}
    for language, code in re.findall(
        r"```(\w*)\n(.*?)```", (ROOT / "docs/serving.md").read_text(), re.DOTALL
    ):
        blocks.setdefault(language, []).append(code)
    return blocks


def test_the_page(page):
    threads, bundle = page["python"]
    names: dict = {}
    exec(threads, names)
    one_by_one = [names["package"].run(image)["scores"] for image in names["images"]]
    np.testing.assert_array_equal(names["scores"], one_by_one)

    array = np.zeros((1, 1, 8, 8), "float32")
    place = _Place(names["package"].metadata["alignment"])
    assert np.from_dlpack(place.put(array)).ctypes.data == array.ctypes.data

    exec(bundle, names)
    Path("image.raw").write_bytes(names["images"][0].tobytes())
    (build,) = page[""]
    subprocess.run(["bash", "-euc", build], check=True)
    assert Path("scores.raw").read_bytes() == names["scores"][0].tobytes()
