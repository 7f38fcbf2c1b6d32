"""Models of PyTorch are told by the names of their classes: none of this needs torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tvmq
from tvmq.errors import TvmqError
from tvmq.frontends.torch.recognise import is_exported_program, refuse_others
from tvmq.given import Given, imported


def _object(module: str, name: str, base: type = object):
    return type(name, (base,), {"__module__": module})()


def test_an_exported_program():
    assert is_exported_program(_object("torch.export.exported_program", "ExportedProgram"))
    assert not is_exported_program(_object("my.export", "ExportedProgram"))
    assert not is_exported_program("model.onnx")


@pytest.mark.parametrize(
    ("module", "name", "remedy"),
    [
        ("torch.nn.modules.module", "Module", "export it: torch.export.export"),
        ("torch.jit._script", "ScriptModule", "export the original module"),
        ("torch.jit._script", "ScriptFunction", "export a module"),
        ("torch.onnx._internal.exporter._onnx_program", "ONNXProgram", "pass its model_proto"),
    ],
)
def test_what_else_there_is_says_what_to_do(module, name, remedy):
    with pytest.raises(
        TvmqError, match=f"taken as a torch.export.ExportedProgram, and this is a {name}: {remedy}"
    ):
        tvmq.quantize(_object(module, name))


def test_a_network_of_the_users_own_is_a_module():
    base = type("Module", (), {"__module__": "torch.nn.modules.module"})
    with pytest.raises(TvmqError, match="this is a Module: export it"):
        tvmq.compile(_object("my.networks", "Network", base))


def test_others_pass():
    refuse_others("model.onnx")
    refuse_others(_object("numpy", "ndarray"))


def test_a_saved_program_is_not_unpickled():
    with pytest.raises(TvmqError, match=r"'m\.pt2' .* may run code when it is read; if you trust it"):
        tvmq.compile("m.pt2")


@pytest.mark.parametrize("given", [Given(bind={"x": 1}), Given(outputs=["y"])])
def test_what_is_for_onnx_alone(given):
    program = _object("torch.export.exported_program", "ExportedProgram")
    with pytest.raises(
        TvmqError,
        match="bind, input_dtypes and outputs are for ONNX models and have no effect on an exported",
    ):
        imported(program, given)


def test_nothing_else_needs_torch():
    code = "import sys; sys.modules['torch'] = None; import tvmq.given"  # whoever imports torch gets an ImportError
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
