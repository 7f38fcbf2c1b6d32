"""Each converter beside torch: many functions of the same inputs in one program, which is compiled once."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install .[torch])")

from tests.frontends.torch.programs import check, check_functions  # noqa: E402

aten, F = torch.ops.aten, torch.nn.functional


def _floats(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _integers(*shape: int, low: int = -9, high: int = 9) -> torch.Tensor:
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(5))


def test_functions_of_one_tensor():
    names = (
        "abs asinh atan ceil cos cosh erf exp expm1 floor neg relu round sigmoid sign sin sinh tan tanh trunc square"
    ).split()
    functions = {name: getattr(torch, name) for name in names}
    functions |= {
        name: getattr(F, name) for name in ("gelu", "silu", "hardswish", "hardsigmoid", "selu", "elu")
    }
    functions |= {name: getattr(F, name) for name in ("relu6", "softplus", "mish", "logsigmoid", "softsign")}
    check_functions(
        [torch.cat([3 * _floats(40), torch.tensor([0.0, 0.5, 1.5, -2.5, 1e-4, 15.0, -30.0])])],
        **functions,
        gelu_tanh=lambda x: F.gelu(x, approximate="tanh"),
        celu=lambda x: F.celu(x, 0.5),
        elu_alpha=lambda x: F.elu(x, 0.3),
        leaky=lambda x: F.leaky_relu(x, 0.2),
        beta=lambda x: F.softplus(x, beta=2),
        hardtanh=lambda x: F.hardtanh(x, -0.5, 2),
        clamp=lambda x: x.clamp(max=0.25),
        clamp_by=lambda x: x.clamp(x * 0.5, x * 0 + 1),
        prelu=lambda x: F.prelu(x, torch.tensor([0.2])),
        finite=lambda x: torch.isfinite(x / x),
        dropout=lambda x: F.dropout(x, 0.5, training=False),
        to_integers=lambda x: x.to(torch.int32),
        to_bool=lambda x: (x > 0).to(torch.bool) | x.to(torch.bool),
        ones=lambda x: torch.ones_like(x) + torch.full((47,), 2.0) + x.new_zeros(47) + torch.zeros_like(x),
    )


def test_functions_of_positive_numbers():
    names = "log log2 log10 log1p sqrt rsqrt reciprocal acosh".split()
    x = torch.cat([_floats(20).abs() + 1, torch.tensor([1.0, 1.0001, 250.0])])
    check_functions(
        [x], **{name: getattr(torch, name) for name in names}, small=lambda x: torch.log1p(x * 1e-6) * 1e6
    )
    check_functions([x.fmod(0.9)], acos=torch.acos, asin=torch.asin, atanh=torch.atanh, logit=torch.logit)


def test_functions_of_two_tensors():
    check_functions(
        [_floats(3, 4), _floats(4, seed=1) + 3],
        add=lambda a, b: torch.add(a, b, alpha=2),
        sub=lambda a, b: torch.sub(a, b, alpha=3) - 1,
        reverse=lambda a, b: 1 - a / b,
        mul=lambda a, b: a * b * 2,
        rsub=lambda a, b: torch.rsub(a, b, alpha=2),
        div=lambda a, b: (
            a / b,
            torch.div(a, b, rounding_mode="floor"),
            torch.div(a, 0.3, rounding_mode="trunc"),
        ),
        rest=lambda a, b: (torch.fmod(a, b), torch.remainder(a, -b), a % 0.7),
        power=lambda a, b: (a**2, b**a, 2**a, b.pow(0.5), a**3),
        extremes=lambda a, b: (torch.maximum(a, b), torch.minimum(a, b), a.clamp_min(0.1), a.clamp_max(0.1)),
        atan2=torch.atan2,
        compare=lambda a, b: (a > 0, a >= b, a < b, a <= 0, a == a, a != b),
        where=lambda a, b: (torch.where(a > 0, a, b), torch.where(a > 0, 1.0, a), a.masked_fill(a < 0, -1)),
        many=lambda a, b: (torch.addcmul(a, a, b, value=2), torch.lerp(a, b, 0.3)),
        # An array without axes changes no dtype.
        scalar=lambda a, b: a * torch.tensor(2.0, dtype=torch.float64),
    )


def test_integers_and_booleans():
    check_functions(
        [_integers(3, 4), _integers(4, low=1)],
        arithmetic=lambda a, b: (a + b, a - 2, a * b, a / b, a // b, a % b, torch.fmod(a, b)),
        trunc=lambda a, b: torch.div(a, b, rounding_mode="trunc"),
        mixed=lambda a, b: (a + 0.5, a * b.to(torch.int32), a.to(torch.uint8) + b.to(torch.uint8)),
        bits=lambda a, b: (a & b, a | b, a ^ 3, ~a, (a > 0) & (b > 3), (a > 0) ^ (b > 3), ~(a > 0)),
        logic=lambda a, b: (
            torch.logical_and(a, b),
            torch.logical_or(a, b),
            torch.logical_not(a),
            torch.logical_xor(a, b),
        ),
        sums=lambda a, b: (a.sum(), a.sum(1, keepdim=True), (a > 0).sum(0), a.max(), a.prod(0), a.cumsum(1)),
        floats=lambda a, b: (torch.exp(a.to(torch.float32) / 9), torch.sqrt(b), torch.sigmoid(a)),
        clamp=lambda a, b: (a.clamp(-2, 3), a.abs(), torch.sign(a), a == b, a.to(torch.bool) == (a > 2)),
    )


def test_reductions():
    check_functions(
        [_floats(3, 4, 5)],
        all_of_it=lambda x: (x.sum(), x.mean(), x.max(), x.min(), x.prod(), x.argmax(), x.std(), x.var()),
        axes=lambda x: (
            x.sum((0, 2)),
            x.mean(-1, keepdim=True),
            x.amax((1, 2)),
            x.amin(0),
            x.prod(1),
            x.sum(()),
        ),
        extremes=lambda x: (*x.max(1), *x.min(-1, keepdim=True), x.argmin(1), x.argmax(-1, keepdim=True)),
        spread=lambda x: (x.var(1, correction=0), x.std((0, 1)), *torch.var_mean(x, 2)),
        truth=lambda x: ((x > 1).any(), (x > 0).any(1), (x > -9).all(), (x > 0).all(0, keepdim=True)),
        cumulated=lambda x: (x.cumsum(1), x.cumprod(-1)),
        norms=lambda x: (x.norm(), torch.linalg.vector_norm(x, 2, dim=1), F.normalize(x, dim=1)),
        exponents=lambda x: (x.softmax(1), x.log_softmax(-1), x.logsumexp(0)),
        order=lambda x: (*x.topk(2, 1), *x.topk(3, -1, largest=False), *x.sort(1, descending=True)),
    )


def test_moves():
    check_functions(
        [_floats(2, 4, 6)],
        views=lambda x: (x.view(8, -1), x.flatten(1), x.reshape(2, 2, 2, 6), x.unflatten(1, (2, -1))),
        axes=lambda x: (x.permute(2, 0, 1), x.transpose(0, -1)),
        ones=lambda x: (x.unsqueeze(1), x.unsqueeze(-1).squeeze(), x[:1].squeeze(0), x.squeeze(1)),
        expand=lambda x: (x[:, :1].expand(2, 4, -1), x.expand(3, 2, 4, 6)),
        repeat=lambda x: (x.repeat(2, 1, 3), x.tile(2), x[0].repeat(2, 1, 1), x.repeat_interleave(2, 1)),
        slices=lambda x: (
            x[:, 1:3],
            x[..., ::2],
            x[:, -1],
            x[0, 1:, -3:-1],
            x.narrow(1, 1, 2),
            x[:, 4:].sum(),
        ),
        parts=lambda x: (*x.chunk(2, 1), *x.split(4, 2), *x.split([1, 3], 1), *x.unbind(0)),
        joined=lambda x: (
            torch.cat([x, x[:, :1]], 1),
            torch.stack([x, 2 * x], -1),
            torch.cat([torch.zeros(0), x]),
        ),
        turned=lambda x: (x.flip(1, 2), x.roll(1, 1), x.roll((1, -2), (0, 2)), x.roll(5), x.rot90(1, (1, 2))),
        triangles=lambda x: (x.tril(), x.triu(1), x.tril(-1)),
        diagonals=lambda x: (x.diagonal(dim1=1, dim2=2), x.diagonal(1, 1, 2), x.diagonal(-2, 0, 1)),
        embedded=lambda x: torch.diag_embed(x),
        pads=lambda x: (F.pad(x, (1, 2)), F.pad(x, (1, 0, 0, 2), value=3), F.pad(x, (0, -2))),
        modes=lambda x: [F.pad(x, (2, 1), mode) for mode in ("reflect", "replicate", "circular")],
    )


def test_places():
    def changed(x, places, value):
        x = x.clone()
        x[places] = value
        return x

    check_functions(
        [_floats(4, 5, 6), _integers(3, low=0, high=4), _integers(2, 3, low=-4, high=4)],
        taken=lambda x, i, j: (
            x[i],
            x[:, i],
            x.index_select(1, i),
            F.embedding(i, x[:, :, 0]),
            x[j],
            x[:, :, j],
        ),
        pairs=lambda x, i, j: (
            x[i, i],
            x[:, i, i],
            x[i, :, i],
            x[j, i],
            x[torch.tensor([0, -1]), torch.tensor([1, 2])],
        ),
        gather=lambda x, i, j: (x.gather(1, (x * 9).long() % 5), x.take_along_dim(x.argsort(2), 2)),
        scatter=lambda x, i, j: (
            torch.zeros(4, 5, 6).scatter(0, i.view(3, 1, 1).expand(3, 5, 6), x),
            x.scatter(1, (x > 0).long(), 2.0),
            x.scatter_add(1, (x > 0).long(), x),
            x.index_add(0, i, x[:3]),
            x.index_fill(1, i, 7.0),
        ),
        put=lambda x, i, j: (
            x.index_put((i[:1],), x[:1]),
            changed(x, (slice(None), i[:1], i[1:2]), 3.0),
            changed(x, (i[:1], slice(None), i[:1]), x[0, :, :1].T),
            changed(x, x > 1, -1.0),
            changed(x, (slice(1, 3), 2), x[0, 0]),
            x.index_put((i[:1], i[:1]), x[:1, 0] * 2, accumulate=True),
            torch.select_scatter(x, x[0], 0, 1),
        ),
        slices=lambda x, i, j: (
            torch.slice_scatter(x, x[:, :2], 1, 1, 3),
            torch.slice_scatter(x, x[:, :2], 1, 0, 4, 2),
        ),
        one_hot=lambda x, i, j: F.one_hot(i, 4),
    )


def test_products():
    check_functions(
        [_floats(2, 3, 4), _floats(2, 4, 5, seed=1), _floats(4, seed=2)],
        matmul=lambda a, b, v: (a @ b, a[0] @ b, a @ v, v @ b[0], v @ v),
        bmm=lambda a, b, v: (
            torch.bmm(a, b),
            torch.mm(a[0], b[1]),
            torch.mv(a[0], v),
            torch.dot(v, v),
            torch.outer(v, v),
        ),
        added=lambda a, b, v: (
            torch.addmm(b[0, :3], a[0], b[0], beta=0.5, alpha=2),
            torch.baddbmm(a[:, :, :1], a, b, alpha=3),
            torch.addmv(a[0, :, 0], a[0], v),
        ),
        einsum=lambda a, b, v: (torch.einsum("bij, bjk -> bik", a, b), torch.einsum("bij,j->bi", a, v)),
        integers=lambda a, b, v: a.long() @ b.long(),
    )


class _Layers(torch.nn.Module):
    """Layers side by side on one input."""

    def __init__(self, *layers: torch.nn.Module):
        super().__init__()
        self.layers = torch.nn.ModuleList(layers)

    def forward(self, x):
        return tuple(layer(x) for layer in self.layers)


def _with_statistics(layers: _Layers) -> _Layers:
    generator = torch.Generator().manual_seed(3)
    for name, value in [*layers.named_parameters(), *layers.named_buffers()]:
        if value.dtype == torch.float32:
            value.data.copy_(torch.rand(value.shape, generator=generator) + ("var" in name) * 0.5)
    return layers.eval()


def test_layers_of_images():
    nn = torch.nn
    layers = _Layers(
        nn.Conv2d(4, 6, 3, padding=1, stride=2),
        nn.Conv2d(4, 4, 3, groups=4, bias=False),
        nn.Conv2d(4, 2, 3, padding="same"),
        nn.Conv2d(4, 2, (1, 3), dilation=(1, 2), padding=(0, 2), padding_mode="reflect"),
        nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
        nn.ConvTranspose2d(4, 4, 2, groups=2, dilation=2),
        nn.BatchNorm2d(4),
        nn.BatchNorm2d(4, affine=False),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.GroupNorm(2, 4),
        nn.InstanceNorm2d(4, affine=True),
        nn.LayerNorm((4, 9, 8)),
        nn.LayerNorm(8, elementwise_affine=False),
        nn.LayerNorm(8, bias=False),
        nn.RMSNorm(8),
        nn.MaxPool2d(3, 2, 1),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.MaxPool2d(3, 2, 1, return_indices=True),
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True),
        nn.AdaptiveAvgPool2d(1),
        nn.AdaptiveAvgPool2d((3, 4)),
        nn.AdaptiveAvgPool2d((4, 3)),
        nn.AdaptiveMaxPool2d((1, 2)),
        nn.PReLU(4),
        nn.GLU(1),
        nn.PixelShuffle(2),
        nn.PixelUnshuffle(1),
        nn.ChannelShuffle(2),
        nn.Linear(8, 3),
        nn.Linear(8, 3, bias=False),
        nn.Softmax2d(),
    )
    check(_with_statistics(layers), [_floats(2, 4, 9, 8)], exact=4)


def test_signals_and_volumes():
    nn = torch.nn
    signals = _Layers(
        nn.Conv1d(4, 6, 3, padding=1), nn.ConvTranspose1d(4, 2, 3, stride=2), nn.MaxPool1d(2), nn.AvgPool1d(3, 1, 1),
        nn.BatchNorm1d(4), nn.AdaptiveAvgPool1d(1), nn.Upsample(scale_factor=2), nn.Upsample(13, mode="linear"),
    )  # fmt: skip
    check(_with_statistics(signals), [_floats(2, 4, 10)], exact=4)
    volumes = _Layers(
        nn.Conv3d(2, 3, 3, padding=1),
        nn.MaxPool3d(2),
        nn.AvgPool3d(2),
        nn.BatchNorm3d(2),
        nn.AdaptiveAvgPool3d(1),
    )
    check(_with_statistics(volumes), [_floats(1, 2, 4, 6, 4)], exact=4)
    alone = _Layers(nn.Conv2d(3, 2, 3), nn.MaxPool2d(2), nn.AvgPool2d(2))  # without an axis of batches
    check(_with_statistics(alone), [_floats(3, 6, 6)], exact=4)


def test_images_of_other_sizes():
    def resized(**how):
        return lambda x: F.interpolate(x, **how)

    check_functions(
        [_floats(1, 2, 5, 6)],
        nearest=resized(scale_factor=2),
        nearest_down=resized(size=(3, 4)),
        nearest_factor=resized(scale_factor=1.7),
        exact=resized(size=(7, 4), mode="nearest-exact"),
        bilinear=resized(scale_factor=2, mode="bilinear"),
        factor=resized(scale_factor=1.3, mode="bilinear"),
        again=resized(scale_factor=1.3, mode="bilinear", recompute_scale_factor=True),
        corners=resized(size=(9, 11), mode="bilinear", align_corners=True),
        antialias=resized(size=(3, 3), mode="bilinear", antialias=True),
        bicubic=resized(size=(8, 9), mode="bicubic"),
        grid=lambda x: F.grid_sample(x, torch.stack([x[:, 0], x[:, 1]], -1) / 3, align_corners=False),
        grid_border=lambda x: F.grid_sample(
            x, x[0, :1, :, :2].unsqueeze(0), padding_mode="border", align_corners=True
        ),
    )


def test_attention():
    mask = torch.ones(4, 5, dtype=torch.bool).tril()

    def attend(**how):
        return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **how)

    check_functions(
        [_floats(2, 4, 4, 8), _floats(2, 4, 5, 8, seed=1), _floats(2, 4, 5, 6, seed=2)],
        plain=attend(),
        scaled=attend(scale=0.3),
        causal=attend(is_causal=True),
        boolean=attend(attn_mask=mask),
        added=attend(attn_mask=torch.where(mask, 0.5, -3.0)),
        computed=lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=q[:, :, :, :5] > 0),
        shared=lambda q, k, v: F.scaled_dot_product_attention(q, k[:, :2], v[:, :2], enable_gqa=True),
        of_nothing=lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=q[:, :, :, :5] > 9),
        flat=lambda q, k, v: F.scaled_dot_product_attention(q[0], k[0], v[0]),
    )
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    check(layer, [_floats(2, 5, 8)], exact=4)


@pytest.mark.parametrize("batch_first", [True, False])
def test_recurrent_layers(batch_first):
    class Recurrent(torch.nn.Module):
        def __init__(self):
            super().__init__()
            how = {"batch_first": batch_first}
            self.lstm = torch.nn.LSTM(5, 6, num_layers=2, bidirectional=True, **how)
            self.gru = torch.nn.GRU(12, 4, bias=False, bidirectional=batch_first, **how)
            self.rnn = torch.nn.RNN(5, 3, nonlinearity="relu" if batch_first else "tanh", **how)

        def forward(self, x):
            y, (h, c) = self.lstm(x)
            z, g = self.gru(y)
            w, r = self.rnn(x, torch.ones(1, x.shape[0 if batch_first else 1], 3))
            return y, h, c, z, g, w, r

    mod = check(Recurrent().eval(), [_floats(3, 4, 5)], exact=4)
    assert len(mod.functions) > 3  # a kernel of each direction, and no steps written out
