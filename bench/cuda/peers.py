"""What PyTorch does of the same: cuBLASLt's int8 products, float32 without TF32, and networks in float16.

Everything is optional: each function returns nothing, or raises, where PyTorch or the GPU lacks something.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Run = Callable[[], Any]


def torch_or_none() -> Any:
    """Return the module ``torch`` with exact float32, or None where it is missing or has no GPU."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    torch.set_grad_enabled(False)
    return torch


def int8_product(rows: int, channels: int, inner: int) -> Run:
    """Return ``torch._int_mm`` of int8 ``[rows, inner]`` and weights given transposed, which writes int32."""
    import torch

    rows, inner, channels = max(rows, 17), -(-inner // 8) * 8, -(-channels // 8) * 8  # what cuBLASLt takes
    data = torch.randint(-128, 128, (rows, inner), dtype=torch.int8, device="cuda")
    weight = torch.randint(-128, 128, (channels, inner), dtype=torch.int8, device="cuda")
    result = torch.empty((rows, channels), dtype=torch.int32, device="cuda")
    return lambda: torch._int_mm(data, weight.t(), out=result)


def float_product(rows: int, channels: int, inner: int, half: bool = False) -> Run:
    """Return the product in float32, or float16."""
    import torch

    dtype = torch.float16 if half else torch.float32
    data, weight = (
        torch.randn(shape, device="cuda", dtype=dtype) for shape in ((rows, inner), (channels, inner))
    )
    return lambda: data @ weight.t()


def float_convolution(
    half: bool, batch: int, size: int, into: int, out: int, kernel: int, stride: int
) -> Run:
    """Return the convolution over channels last, in float32 or float16."""
    import torch

    dtype = torch.float16 if half else torch.float32
    data = torch.randn((batch, into, size, size), device="cuda", dtype=dtype).to(
        memory_format=torch.channels_last
    )
    weight = torch.randn((out, into, kernel, kernel), device="cuda", dtype=dtype).to(
        memory_format=torch.channels_last
    )
    return lambda: torch.nn.functional.conv2d(data, weight, None, stride, kernel // 2)


def product_contenders(family: str, peer: Sequence[int]) -> dict[str, Callable[[], Run]]:
    """Return what makes each contender of a product or a convolution, by name."""
    if "convolution" in family:
        batch, size, into, out, kernel, stride = peer
        result = (size + 2 * (kernel // 2) - kernel) // stride + 1
        matrix = (batch * result**2, out, kernel**2 * into)
        return {
            "torch int8": lambda: int8_product(*matrix),
            "torch float32": partial(float_convolution, False, *peer),
            "torch float16": partial(float_convolution, True, *peer),
        }
    rows, channels, inner = peer
    found: dict[str, Callable[[], Run]] = {
        "torch float32": lambda: float_product(rows, channels, inner),
        "torch float16": lambda: float_product(rows, channels, inner, half=True),
    }
    return (
        found if "float" in family else {"torch int8": lambda: int8_product(rows, channels, inner), **found}
    )


def network(name: str, batch: int) -> torch.nn.Module:
    """Return ResNet-50 or MobileNetV2 with random weights and batch norm folded, in float16, channels last."""
    import torch
    from torch import nn

    def conv(
        into: int, out: int, kernel: int, stride: int = 1, groups: int = 1, act: Any = None
    ) -> list[Any]:
        layer = nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups)
        return [layer] if act is None else [layer, act(inplace=True)]

    class Residual(nn.Module):
        def __init__(self, branch: list[Any], shortcut: list[Any] | None, last: Any) -> None:
            super().__init__()
            self.branch, self.last = nn.Sequential(*branch), last
            self.shortcut = nn.Identity() if shortcut is None else nn.Sequential(*shortcut)

        def forward(self, data: torch.Tensor) -> torch.Tensor:
            return self.last(self.branch(data) + self.shortcut(data))

    if name == "resnet50":
        layers: list[Any] = [*conv(3, 64, 7, 2, act=nn.ReLU), nn.MaxPool2d(3, 2, 1)]
        channels = 64
        for stage, depth in enumerate((3, 4, 6, 3)):
            width, out = 64 << stage, 256 << stage
            for block in range(depth):
                stride = 2 if stage and not block else 1
                branch = [*conv(channels, width, 1, act=nn.ReLU), *conv(width, width, 3, stride, act=nn.ReLU)]
                shortcut = conv(channels, out, 1, stride) if channels != out else None
                layers.append(Residual([*branch, *conv(width, out, 1)], shortcut, nn.ReLU(inplace=True)))
                channels = out
    else:
        layers, channels = conv(3, 32, 3, 2, act=nn.ReLU6), 32
        rows = (
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        )
        for expand, out, depth, first in rows:
            for block in range(depth):
                wide, stride = channels * expand, first if not block else 1
                parts = [] if expand == 1 else conv(channels, wide, 1, act=nn.ReLU6)
                parts += [*conv(wide, wide, 3, stride, wide, nn.ReLU6), *conv(wide, out, 1)]
                same = stride == 1 and channels == out
                layers.append(Residual(parts, None, nn.Identity()) if same else nn.Sequential(*parts))
                channels = out
        layers += conv(320, 1280, 1, act=nn.ReLU6)
        channels = 1280
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000)]
    return nn.Sequential(*layers).eval().half().cuda().to(memory_format=torch.channels_last)


def network_runs(name: str, batch: int) -> dict[str, Callable[[], Run]]:
    """Return what makes the runs of a network: call by call, and as a CUDA graph."""

    def inputs() -> Any:
        import torch

        data = torch.randn((batch, 3, 224, 224), device="cuda", dtype=torch.float16)
        return data.to(memory_format=torch.channels_last)

    def plain() -> Run:
        model, data = network(name, batch), inputs()
        return lambda: model(data)

    def graph() -> Run:
        import torch

        model, data = network(name, batch), inputs()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                model(data)
        torch.cuda.current_stream().wait_stream(side)
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            model(data)
        return captured.replay

    return {"torch float16": plain, "torch float16, graph": graph}
