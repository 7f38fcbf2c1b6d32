"""``tvmq.passes`` by name, and loaded when used."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import tvmq
from tvmq import passes

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("package", [passes, tvmq])
def test_each_name_is_there_for_code_and_for_type_checkers(package):
    typed = set(re.findall(r"(\w+) as \1", Path(package.__file__).read_text()))
    assert typed == {name for name in package.__all__ if not name.startswith("_")}
    assert dir(package) == package.__all__
    for name in package.__all__:
        assert getattr(package, name) is not None


def test_no_other_name():
    with pytest.raises(AttributeError, match="module 'tvmq.passes' has no attribute 'Anotate'"):
        getattr(passes, "Anotate")  # noqa: B009


def test_every_pass_of_the_default_pipelines_is_there():
    options = passes.QuantizeOptions(
        smooth=0.5, equalize=True, absorb_bias=True, equalize_activations=0.1, observer="lapq"
    )
    for rounding, correction in (("hessian", None), ("reconstruct", None), ("nearest", "sequential")):
        chosen = passes.QuantizeOptions(
            **{**vars(options), "rounding": rounding, "bias_correction": correction}
        )
        for step in passes.default_pipeline("w4a4", None, [], options=chosen):
            assert step.info.name.removeprefix("tvmq.") in passes.__all__


def test_importing_them_loads_nothing():
    code = "import sys, tvmq, tvmq.passes; print([name for name in ('tvm', 'numpy', 'onnx') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout == "[]\n"
