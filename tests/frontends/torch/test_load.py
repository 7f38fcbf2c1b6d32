"""Exported programs: names, weights, dimensions, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install .[torch])")

import tvmq  # noqa: E402
from tests.frontends.torch.programs import TARGET, check, run  # noqa: E402
from tvmq.errors import TvmqError  # noqa: E402
from tvmq.frontends.torch.load import load_exported_program  # noqa: E402
from tvmq.passes.hub.graph import (  # noqa: E402
    bindings_of,
    input_specs,
    is_constant,
    layer_name,
    op_name,
    output_names,
)
from tvmq.passes.hub.layers import get_layers  # noqa: E402
from tvmq.ranges import Range  # noqa: E402

nn = torch.nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.act(self.norm(self.conv(x))) + x)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block())
        self.head = nn.Linear(3, 4)

    def forward(self, image, *, weight):
        y = self.blocks(image).mean((2, 3))
        return {"scores": self.head(y) * weight, "inner": {"features": y}}


def _exported(module, *args, **options):
    return torch.export.export(module.eval(), args, **options)


@pytest.fixture(scope="module")
def network():
    return _exported(Network(), torch.randn(2, 3, 8, 8), kwargs={"weight": torch.randn(4)})


def test_names(network):
    mod = load_exported_program(network)
    assert input_specs(mod) == {"image": ((2, 3, 8, 8), "float32"), "weight": ((4,), "float32")}
    assert output_names(mod) == ["scores", "inner.features"]
    layers = {layer.name: layer.op for layer in get_layers(mod)}
    assert layers == {
        "blocks.0.conv": "conv2d",
        "blocks.0.norm": "batch_norm",
        "blocks.0.act": "relu",
        "blocks.0": "add",
        "blocks.0.act_2": "relu",
        "blocks.1.conv": "conv2d",
        "blocks.1.norm": "batch_norm",
        "blocks.1.act": "relu",
        "blocks.1": "add",
        "blocks.1.act_2": "relu",
        "mean": "mean",
        "head": "linear",
        "mul": "mul",
    }
    calls = {layer_name(binding.value) for binding in bindings_of(mod) if op_name(binding.value)}
    assert calls == set(layers)


def test_a_program_is_quantized_and_compiled(network):
    samples = [
        {
            "image": np.random.default_rng(seed).normal(size=(2, 3, 8, 8)).astype("f"),
            "weight": np.ones(4, "f"),
        }
        for seed in range(4)
    ]
    quantized = tvmq.quantize(network, "int8", TARGET, samples)
    statuses = {layer.name: layer.status for layer in quantized.layers}
    package = tvmq.compile(quantized, TARGET)
    statuses = {layer["name"]: layer["status"] for layer in package.metadata["layers"]}
    assert statuses["blocks.0.conv"] == statuses["blocks.1"] == statuses["head"] == "int8"
    assert statuses["blocks.0.norm"] == "folded"
    integers = package.run(samples[0])["scores"].ravel()
    exact = (
        network.module()(torch.from_numpy(samples[0]["image"]), weight=torch.ones(4))["scores"]
        .detach()
        .numpy()
    )
    assert np.abs(integers - exact.ravel()).max() < 0.05 * np.abs(exact).max()


@pytest.mark.parametrize(
    ("give", "names"),
    [
        (lambda x: x + 1, ["add"]),
        (lambda x: (x + 1, x * 2), ["add", "mul"]),
        (lambda x: [x.exp(), {"b": x.neg()}], ["exp", "neg"]),
        (lambda x: (x, None), ["x"]),
    ],
)
def test_names_of_outputs(give, names):
    class Gives(nn.Module):
        def forward(self, x):
            return give(x)

    assert output_names(load_exported_program(_exported(Gives(), torch.ones(3)))) == names


def test_a_dataclass_is_returned():
    @dataclass
    class Result:
        logits: torch.Tensor
        hidden: torch.Tensor

    torch.export.register_dataclass(Result, serialized_type_name="tvmq.tests.Result")

    class Gives(nn.Module):
        def forward(self, x):
            return Result(x.exp(), x.neg())

    assert output_names(load_exported_program(_exported(Gives(), torch.ones(3)))) == ["logits", "hidden"]


def test_weights_are_read_where_they_are():
    conv = nn.Conv2d(16, 16, 3)
    mod = load_exported_program(_exported(conv, torch.ones(1, 16, 8, 8)))
    (call,) = (binding.value for binding in bindings_of(mod) if op_name(binding.value) == "relax.nn.conv2d")
    assert is_constant(call.args[1])
    assert np.from_dlpack(call.args[1].value).ctypes.data == conv.weight.data_ptr()


def test_weights_that_lie_badly_are_copied():
    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            whole = torch.arange(64.0)
            self.odd = nn.Parameter(whole[3:7])
            self.strided = nn.Parameter(whole[::4][:4])
            self.coarse = nn.Parameter(torch.ones(9, dtype=torch.bfloat16)[1:5])

        def forward(self, x):
            return x * self.odd + self.strided + self.coarse.float()

    check(Views().eval(), [torch.ones(4)])


def test_what_depends_on_no_input_is_computed():
    class Positions(nn.Module):
        def forward(self, x):
            at = torch.arange(x.shape[1])
            return x + torch.where(at[:, None] >= at, 0.0, float("-inf")).exp()[0]

    mod = check(Positions().eval(), [torch.ones(2, 5)])
    assert [op_name(binding.value) for binding in bindings_of(mod) if op_name(binding.value)] == ["relax.add"]


# Dimensions.


class Lengths(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x, y):
        n = x.shape[1]
        return self.layer(x).reshape(x.shape[0], n * 4) + y + torch.arange(n * 4) * n + y / n


@pytest.fixture(scope="module")
def lengths():
    n = torch.export.Dim("n", min=2, max=64)
    args = (torch.ones(1, 6, 4), torch.ones(1, 24))
    return _exported(Lengths(), *args, dynamic_shapes={"x": {1: n}, "y": {1: 4 * n}})


def _symbol(program):
    return str(next(iter(program.range_constraints)))


def test_dynamic_dimensions_are_asked_for(lengths):
    with pytest.raises(
        TvmqError, match=r"input 'x' has the shape .*such as input_shapes=\{'x': \[1,1,4\], 'y'"
    ):
        load_exported_program(lengths)


def test_dynamic_dimensions_are_fixed(lengths):
    given = {"x": (1, 5, 4), "y": (1, 20)}
    mod = load_exported_program(lengths, given)
    assert [shape for shape, _ in input_specs(mod).values()] == list(given.values())
    inputs = [torch.randn(*shape) for shape in given.values()]
    (result,) = run(mod, inputs).values()
    np.testing.assert_allclose(result, lengths.module()(*inputs).detach().numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"x": (1, 65, 4), "y": (1, 260)}, "is given 65; the model was exported for 2 to 64: export it with"),
        ({"x": (1, 5, 4), "y": (1, 24)}, "is given 24, and is 20"),
        ({"x": (1, (2, 8), 4), "y": (1, (8, 32))}, "is known by others"),
        ({"x": (2, 5, 4), "y": (1, 20)}, "the model fixes"),
        ({"z": (1, 5)}, "unknown input 'z'"),
    ],
)
def test_shapes_that_do_not_fit(lengths, given, message):
    with pytest.raises(TvmqError, match=message):
        load_exported_program(lengths, given)


def test_a_dimension_stays_open():
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 6)

        def forward(self, x):
            return self.layer(x).reshape(-1, 3).softmax(-1)

    rows = Rows().eval()
    program = _exported(rows, torch.ones(5, 4), dynamic_shapes=({0: torch.export.Dim("n", min=1, max=32)},))
    symbol = _symbol(program)
    mod = load_exported_program(program, {symbol: "1..16"})
    assert input_specs(mod)["x"][0] == (Range(1, 16, symbol), 4)
    package = tvmq.compile(program, TARGET, input_shapes={"x": ((1, 16), 4)})
    for count in (1, 3, 16):
        x = torch.randn(count, 4)
        (result,) = package.run({"x": x.numpy()}).values()
        np.testing.assert_allclose(result, rows(x).detach().numpy(), rtol=1e-5, atol=1e-6)
    with pytest.raises(TvmqError, match=r"is given 1\.\.64; the model was exported for"):
        load_exported_program(program, {symbol: "1..64"})


# What is refused.


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(3))

    def forward(self, x):
        self.count.add_(1)
        return x + self.count


class Changes(nn.Module):
    def forward(self, x):
        x.add_(1)
        return x * 2


class Noise(nn.Module):
    def forward(self, x):
        return x + torch.randn(3)


class Unknown(nn.Module):
    def forward(self, x):
        return x.cummax(0)[0], (2 * x).cummax(0)[0]


class Item(nn.Module):
    def forward(self, x):
        return x * x.sum().item()


class Selected(nn.Module):
    def forward(self, x):
        return x[x > 0]


class Branch(nn.Module):
    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y - 1, (x,))


class Number(nn.Module):
    def forward(self, x):
        return x, 3


class Complex(nn.Module):
    def forward(self, x):
        return torch.view_as_real(torch.fft.fft(x))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Counter(), "the model changes its buffer 'count' while it runs, and packages keep no state"),
        (Changes(), "the model changes its input 'x' while it runs"),
        (Noise(), r"layer 'randn' \(aten.randn.default\) cannot be imported: it gives random numbers"),
        (Unknown(), r"operators that cannot be imported: aten\.cummax\.default \(cummax, cummax_1\)"),
        (Item(), r"cannot be imported: aten\._local_scalar_dense\.default \(item\)"),
        (Selected(), "it selects by booleans, so its shape depends on its data"),
        (Branch(), r"operators that cannot be imported: cond \(cond\)"),
        (Number(), "output 1 is no tensor but a ConstantArgument"),
        (Complex(), "operators that cannot be imported: aten._fft_"),
        (
            nn.AdaptiveMaxPool1d(2),
            r"layer 'adaptive_max_pool1d' .*3\] positions cannot be shared evenly by .* 2\] windows",
        ),
    ],
)
def test_refused(module, message):
    x = torch.ones(1, 3) if isinstance(module, nn.AdaptiveMaxPool1d) else torch.ones(3)
    with pytest.raises(TvmqError, match=message):
        load_exported_program(_exported(module, x))


def test_training_is_refused():
    program = torch.export.export(nn.BatchNorm1d(3).train(), (torch.ones(4, 3),))
    with pytest.raises(
        TvmqError, match=r"changes its buffer '\w+' .* export it for inference: model.eval\(\)"
    ):
        load_exported_program(program)


def test_a_weight_that_is_no_plain_tensor_is_refused():
    module = nn.Linear(3, 3)
    program = _exported(module, torch.ones(1, 3))
    program.state_dict["weight"] = torch.nn.Parameter(module.weight.to("meta"))
    with pytest.raises(TvmqError, match="the weight 'weight' cannot be imported: it has no values"):
        load_exported_program(program)
    program.state_dict["weight"] = torch.ones(3, 3).to_sparse()
    with pytest.raises(
        TvmqError, match="the weight 'weight' .* no plain array; of quantized models those of PT2E"
    ):
        load_exported_program(program)


def test_what_else_torch_says_is_a_clear_error():
    class Empty(nn.Module):
        def forward(self):
            return torch.ones(3)

    with pytest.raises(TvmqError, match="the model has no inputs that are tensors"):
        load_exported_program(_exported(Empty()))
