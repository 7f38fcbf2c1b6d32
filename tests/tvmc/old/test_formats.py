"""Files of formats that are not read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvmq.errors import TvmqError
from tvmq.tvmc.old.formats import check_format


@pytest.mark.parametrize(("name", "owner"), [("a.H5", "Keras"), ("a.pth", "PyTorch")])
def test_by_their_suffix(name, owner):
    with pytest.raises(
        TvmqError, match=f"'{name}' is a {owner} model by its suffix; models are read in ONNX and TFLite form"
    ):
        check_format(Path(name), None)
    check_format(Path(name), "onnx")


def test_an_exported_program_is_not_unpickled():
    with pytest.raises(
        TvmqError, match=r"'a\.pt2' is an exported program .* tvmq.compile\(torch.export.load\('a.pt2'"
    ):
        check_format(Path("a.pt2"), None)


@pytest.mark.parametrize("name", ["a.onnx", "a.pb", "a", "a.tflite", "a.zip"])
def test_what_may_be_read(name):
    check_format(Path(name), None)
