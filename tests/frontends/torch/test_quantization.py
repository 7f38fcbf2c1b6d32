"""Programs that come quantized: the forms of PT2E and torchao, on integer kernels, beside torch's own evaluation.

torch adds up products in float32 and has float biases; here sums are exact, and biases are rounded to the accumulator's
step, which is 0.03 * 0.006 in this file: by a quarter of it on average. So of values in steps of 0.02 one of 400 lands
in the next one.
"""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from tvm import relax

torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install .[torch])")
pytest.importorskip("torchao", reason="torchao is not installed")
importlib.import_module("torchao.quantization.pt2e")  # it defines torch.ops.quantized_decomposed

import tvmq  # noqa: E402
from tests.frontends.torch.programs import TARGET  # noqa: E402
from tvmq.errors import TvmqError  # noqa: E402
from tvmq.frontends.torch.converters.quantization import quantize_per_tensor  # noqa: E402
from tvmq.frontends.torch.load import load_exported_program  # noqa: E402
from tvmq.frontends.torch.scope import Scope  # noqa: E402
from tvmq.passes.hub.graph import bindings_of, op_name, to_numpy  # noqa: E402

nn, qd = torch.nn, torch.ops.quantized_decomposed
TIES = 1e-2
"""Share of values that may be a step off."""


def _calls(mod, name):
    return [binding.value for binding in bindings_of(mod) if op_name(binding.value) == f"relax.{name}"]


def _pair(x, scale, zero_point, low=0, high=255, dtype=torch.uint8):
    q = qd.quantize_per_tensor(x, scale, zero_point, low, high, dtype)
    return qd.dequantize_per_tensor(q, scale, zero_point, low, high, dtype)


class Conv(nn.Module):
    """A convolution with its quantizers written out."""

    def __init__(self, low: int = 0, high: int = 255, folded: bool = True):
        super().__init__()
        self.range = low, high
        weight = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(1)) / 4
        scales = weight.abs().amax((1, 2, 3)) / 127
        self.register_buffer("scales", scales)
        self.register_buffer("zeros", torch.zeros(8, dtype=torch.int64))
        args = (scales, self.zeros, 0, -127, 127, torch.int8)
        self.register_buffer("weight", qd.quantize_per_channel(weight, *args) if folded else weight)
        self.bias = nn.Parameter(torch.linspace(-1, 1, 8))

    def forward(self, x):
        x = _pair(x, 0.03, 128)
        weight, args = self.weight, (self.scales, self.zeros, 0, -127, 127, torch.int8)
        if weight.dtype != torch.int8:
            weight = qd.quantize_per_channel(weight, *args)
        y = torch.relu(
            nn.functional.conv2d(x, qd.dequantize_per_channel(weight, *args), self.bias, padding=1)
        )
        return _pair(y, 0.02, 0, *self.range)


def _compare(module, *inputs, scale):
    """Return the layers' statuses, having compared the integers with torch's."""
    program = torch.export.export(module.eval(), inputs)
    package = tvmq.compile(program, TARGET)
    names = [each["name"] for each in package.metadata["inputs"]]
    (given,) = package.run(dict(zip(names, map(torch.Tensor.numpy, inputs), strict=True))).values()
    with torch.no_grad():
        steps = np.abs(given - module(*inputs).numpy()) / scale
    assert steps.max() < 1.001
    assert (steps > 0.001).mean() <= TIES
    return {layer["name"]: layer["status"] for layer in package.metadata["layers"]}


X = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("folded", [True, False])
def test_a_convolution_runs_on_integers(folded):
    assert _compare(Conv(folded=folded), X, scale=0.02)["conv2d"] == "int8"


def test_weights_are_the_integers_of_torch():
    program = torch.export.export(Conv(folded=False), (X,))
    (call,) = (call for call in _calls(load_exported_program(program), "dequantize") if call.attrs.axis == 0)
    np.testing.assert_array_equal(to_numpy(call.args[0]), Conv(folded=True).weight.numpy())
    assert to_numpy(call.args[0]).min() == -127


def test_a_narrower_range_stays_a_clip():
    module = Conv(high=100)  # 100 steps of 0.02 are 2, and the convolution gives more
    program = torch.export.export(module, (X,))
    assert len(_calls(load_exported_program(program), "clip")) == 1
    assert module(X).max() == pytest.approx(2.0)
    assert _compare(module, X, scale=0.02)["conv2d"] == "int8"
    assert not _calls(load_exported_program(torch.export.export(Conv(), (X,))), "clip")


def test_parameters_that_are_tensors():
    class Tensors(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("scale", torch.tensor([0.05]))
            self.register_buffer("zero", torch.tensor([3]))

        def forward(self, x):
            q = qd.quantize_per_tensor.tensor(x, self.scale, self.zero, -128, 127, torch.int8)
            return qd.dequantize_per_tensor.tensor(q, self.scale, self.zero, -128, 127, torch.int8)

    _compare(Tensors(), X, scale=0.05)


def test_torchao_affine():
    from torchao.quantization.quant_primitives import dequantize_affine, quantize_affine

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            weight = torch.randn(6, 12, generator=torch.Generator().manual_seed(3))
            self.register_buffer("scale", weight.abs().amax(1) / 127)
            self.register_buffer("none", torch.zeros(6, dtype=torch.int32))
            self.register_buffer(
                "weight", quantize_affine(weight, (1, 12), self.scale, self.none, torch.int8)
            )
            self.register_buffer("one", torch.tensor(0.05))
            self.register_buffer("zero", torch.tensor(2, dtype=torch.int32))

        def forward(self, x):
            args = (tuple(x.shape), self.one, self.zero, torch.int8)
            x = dequantize_affine(quantize_affine(x, *args), *args)
            return x @ dequantize_affine(self.weight, (1, 12), self.scale, self.none, torch.int8).t()

    x = torch.randn(8, 12, generator=torch.Generator().manual_seed(4))
    module = Linear()
    package = tvmq.compile(torch.export.export(module, (x,)), TARGET)
    assert {layer["name"]: layer["status"] for layer in package.metadata["layers"]}["matmul"] == "int8"
    (given,) = package.run({"x": x.numpy()}).values()
    np.testing.assert_allclose(given, module(x).numpy(), rtol=1e-5, atol=1e-5)


def _quantizer(which):
    if which == "x86":
        module = importlib.import_module("torchao.quantization.pt2e.quantizer.x86_inductor_quantizer")
        return module.X86InductorQuantizer().set_global(module.get_default_x86_inductor_quantization_config())
    module = pytest.importorskip("torchao.testing.pt2e._xnnpack_quantizer")
    return module.XNNPACKQuantizer().set_global(module.get_symmetric_quantization_config(is_per_channel=True))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        y = torch.relu(self.norm(self.conv1(x)))
        return self.head(self.pool(torch.relu(self.conv2(y) + y)).flatten(1))


# The quantizer of x86 gives this sum none, so what follows is float in its own graph.
@pytest.mark.parametrize(
    ("which", "floats"), [("x86", {"add", "relu_1", "pool", "flatten"}), ("xnnpack", set())]
)
def test_pt2e(which, floats):
    pt2e = importlib.import_module("torchao.quantization.pt2e.quantize_pt2e")
    torch.manual_seed(0)
    prepared = pt2e.prepare_pt2e(
        torch.export.export(Residual().eval(), (X,), strict=True).module(), _quantizer(which)
    )
    prepared(X)
    converted = pt2e.convert_pt2e(prepared)
    package = tvmq.compile(torch.export.export(converted, (X,)), TARGET)
    statuses = {layer["name"]: layer["status"] for layer in package.metadata["layers"]}
    assert [statuses[name] for name in ("conv1", "conv2", "head")] == ["int8"] * 3
    assert {name for name, status in statuses.items() if status == "float"} == floats
    (given,) = package.run({package.metadata["inputs"][0]["name"]: X.numpy()}).values()
    wanted = converted(X).detach().numpy()
    # The head reads means, which may be a step off: a step of the output, where it is quantized, or 1 of 255.
    assert np.abs(given - wanted).max() <= 0.01 * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.1, 300, 0, 255, torch.uint8), "a zero point of 300 is none of uint8"),
        ((0.1, 0, 0, 255, torch.int64), "values cannot be quantized to int64; valid: int8, uint8"),
    ],
)
def test_refused(arguments, message):
    x = relax.Var("x", relax.TensorType((3,), "float32"))
    with pytest.raises(ValueError, match=message):
        quantize_per_tensor(Scope(relax.BlockBuilder()), x, *arguments)


def test_blocks_of_weights_are_refused():
    from torchao.quantization.quant_primitives import dequantize_affine

    class Blocks(nn.Module):
        def forward(self, q):
            return dequantize_affine(
                q, (1, 4), torch.ones(3, 2), torch.zeros(3, 2, dtype=torch.int32), torch.int8
            )

    program = torch.export.export(Blocks(), (torch.ones(3, 8, dtype=torch.int8),))
    with pytest.raises(TvmqError, match=r"blocks of \[1, 4\] in \[3, 8\] have several scales a channel"):
        load_exported_program(program)
