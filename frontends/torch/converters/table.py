"""Every operator of torch that can be imported, by its full name.

What has a row is not decomposed (``decompose``): torch has functions of others, such as ``linear`` and ``layer_norm``,
of which the passes know the whole. What has none is decomposed by torch to what has one, or refused.

Converters ask those of ONNX files (``Scope.onnx``) where ONNX has the operator: those are compared with ONNX's
reference on every dtype, and a model comes to the same kernels whichever way it comes in. TVM's own frontend for
exported programs is not asked: it passes over arguments (``alpha`` of ``add``, ``scale`` of attention), and gives
other numbers silently.
"""

from __future__ import annotations

from collections.abc import Callable

from tvm import relax

from ....passes.hub.graph import shape_of
from . import (
    indexing,
    moves,
    norms,
    pointwise,
    pooling,
    products,
    quantization,
    recurrent,
    reductions,
    resize,
)

_onnx, _relax, _two = pointwise.of_onnx, pointwise.of_relax, pointwise.of_two

_FUNCTIONS = {
    "abs": "Abs",
    "acos": "Acos",
    "acosh": "Acosh",
    "asin": "Asin",
    "asinh": "Asinh",
    "atan": "Atan",
    "atanh": "Atanh",
    "ceil": "Ceil",
    "cos": "Cos",
    "cosh": "Cosh",
    "erf": "Erf",
    "exp": "Exp",
    "floor": "Floor",
    "hardswish": "HardSwish",
    "isinf": "IsInf",
    "isnan": "IsNaN",
    "log": "Log",
    "neg": "Neg",
    "reciprocal": "Reciprocal",
    "relu": "Relu",
    "round": "Round",
    "sigmoid": "Sigmoid",
    "sign": "Sign",
    "sin": "Sin",
    "sinh": "Sinh",
    "sqrt": "Sqrt",
    "tan": "Tan",
    "tanh": "Tanh",
}
"""Functions of one tensor that ONNX has too."""

_COMPARISONS = {
    "eq": ("Equal", False),
    "ne": ("Equal", True),
    "gt": ("Greater", False),
    "ge": ("GreaterOrEqual", False),
    "lt": ("Less", False),
    "le": ("LessOrEqual", False),
}

_BITS = {
    "and": (relax.op.bitwise_and, relax.op.logical_and),
    "or": (relax.op.bitwise_or, relax.op.logical_or),
    "xor": (relax.op.bitwise_xor, relax.op.logical_xor),
}

_ALIKE: dict[str, tuple[Callable, tuple[str, ...]]] = {
    **{name: (pointwise.compare(*how), ("Tensor", "Scalar")) for name, how in _COMPARISONS.items()},
    **{f"bitwise_{name}": (pointwise.bitwise(*how), ("Tensor", "Scalar")) for name, how in _BITS.items()},
    "add": (pointwise.sum_of(relax.op.add), ("Tensor", "Scalar")),
    "sub": (pointwise.sum_of(relax.op.subtract), ("Tensor", "Scalar")),
    "mul": (pointwise.multiply, ("Tensor", "Scalar")),
    "div": (pointwise.divide, ("Tensor", "Scalar", "Tensor_mode", "Scalar_mode")),
    "fmod": (pointwise.fmod, ("Tensor", "Scalar")),
    "remainder": (pointwise.remainder, ("Tensor", "Scalar")),
    "pow": (pointwise.power, ("Tensor_Tensor", "Tensor_Scalar", "Scalar")),
    "squeeze": (moves.squeeze, ("default", "dim", "dims")),
    "any": (reductions.any_, ("default", "dim", "dims")),
    "index_put": (indexing.index_put, ("default",)),
    "scatter": (indexing.scatter, ("src", "value", "reduce", "value_reduce")),
    "sort": (reductions.sort, ("default",)),
}
"""Operators whose overloads differ in what is a tensor and what a number alone."""

ATEN: dict[str, Callable] = {
    **{f"{name}.default": _onnx(op_type) for name, op_type in _FUNCTIONS.items()},
    **{
        f"{name}.{overload}": convert
        for name, (convert, overloads) in _ALIKE.items()
        for overload in overloads
    },
    # Pointwise.
    "_to_copy.default": pointwise.to_copy,
    "alias.default": pointwise.same,
    "atan2.default": lambda s, a, b: relax.op.atan2(*s.alike(a, b, dtype=s.dtype)),
    "bitwise_not.default": pointwise.bitwise_not,
    "clamp.Tensor": pointwise.clamp_by_tensors,
    "clamp.default": pointwise.clamp,
    "clone.default": pointwise.same,
    "contiguous.default": pointwise.same,
    "copy.default": moves.copy,
    "elu.default": pointwise.elu,
    "expm1.default": pointwise.expm1,
    "gelu.default": pointwise.gelu,
    "hardsigmoid.default": _onnx("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hardtanh.default": pointwise.hardtanh,
    "leaky_relu.default": pointwise.leaky_relu,
    "lift_fresh_copy.default": pointwise.same,
    "log10.default": pointwise.log_by(10),
    "log1p.default": pointwise.log1p,
    "log2.default": pointwise.log_by(2),
    "logical_and.default": pointwise.logical(relax.op.logical_and),
    "logical_not.default": pointwise.logical_not,
    "logical_or.default": pointwise.logical(relax.op.logical_or),
    "logical_xor.default": pointwise.logical(relax.op.logical_xor),
    "maximum.default": _two(relax.op.maximum),
    "minimum.default": _two(relax.op.minimum),
    "_prelu_kernel.default": pointwise.prelu,
    "relu6.default": pointwise.relu6,
    "rsqrt.default": _relax(relax.op.rsqrt),
    "silu.default": _relax(relax.op.nn.silu),
    "softplus.default": pointwise.softplus,
    "trunc.default": _relax(relax.op.trunc),
    "where.self": pointwise.where,
    # Products.
    "addmm.default": products.addmm,
    "baddbmm.default": products.addmm,
    "bmm.default": products.matmul,
    "convolution.default": products.convolution,
    "einsum.default": products.einsum,
    "linear.default": products.linear,
    "matmul.default": products.matmul,
    "mm.default": products.matmul,
    "scaled_dot_product_attention.default": products.attention,
    "gru.input": recurrent.recurrent("GRU"),
    "lstm.input": recurrent.recurrent("LSTM"),
    "rnn_relu.input": recurrent.recurrent("RNN", "Relu"),
    "rnn_tanh.input": recurrent.recurrent("RNN", "Tanh"),
    # Normalizations.
    "_log_softmax.default": norms.log_softmax,
    "_native_batch_norm_legit.no_stats": norms.batch_norm_of_itself,
    "_native_batch_norm_legit_no_training.default": norms.batch_norm,
    "_softmax.default": norms.softmax,
    "native_group_norm.default": norms.group_norm,
    "native_layer_norm.default": norms.layer_norm,
    # Pooling and images.
    "_adaptive_avg_pool2d.default": pooling.adaptive_pool(2, "AveragePool"),
    "_adaptive_avg_pool3d.default": pooling.adaptive_pool(3, "AveragePool"),
    "_upsample_bilinear2d_aa.default": resize.upsample("linear", antialias=True),
    "_upsample_bicubic2d_aa.default": resize.upsample("cubic", antialias=True),
    **{f"adaptive_avg_pool{rank}d.default": pooling.adaptive_pool(rank, "AveragePool") for rank in (1, 2, 3)},
    "adaptive_max_pool2d.default": pooling.adaptive_pool(2, "MaxPool"),
    "adaptive_max_pool3d.default": pooling.adaptive_pool(3, "MaxPool"),
    "avg_pool1d.default": pooling.avg_pool(1),
    "avg_pool2d.default": pooling.avg_pool(2),
    "avg_pool3d.default": pooling.avg_pool(3),
    "grid_sampler_2d.default": resize.grid_sampler,
    "max_pool1d.default": pooling.max_pool(1),
    "max_pool2d.default": pooling.max_pool(2),
    "max_pool2d_with_indices.default": pooling.max_pool(2, indices=True),
    "max_pool3d.default": pooling.max_pool(3),
    "max_pool3d_with_indices.default": pooling.max_pool(3, indices=True),
    "pixel_shuffle.default": moves.pixel_shuffle,
    "pixel_unshuffle.default": moves.pixel_unshuffle,
    **{
        f"upsample_{name}.{overload}": resize.upsample(mode)
        for name, mode in (
            ("linear1d", "linear"),
            ("bilinear2d", "linear"),
            ("trilinear3d", "linear"),
            ("bicubic2d", "cubic"),
        )
        for overload in ("default", "vec")
    },
    **{
        f"{prefix}{rank}d.{overload}": resize.nearest(exact)
        for prefix, exact in (("upsample_nearest", False), ("_upsample_nearest_exact", True))
        for rank in (1, 2, 3)
        for overload in ("default", "vec")
    },
    # Moves.
    "_reshape_alias.default": moves.view,
    "_unsafe_view.default": moves.view,
    "cat.default": moves.cat,
    "constant_pad_nd.default": moves.pad("constant"),
    "diagonal.default": moves.diagonal,
    "expand.default": moves.expand,
    "fill.Scalar": moves.fill,
    "fill.Tensor": moves.fill,
    "flip.default": moves.flip,
    "full_like.default": moves.full_like,
    "empty_like.default": moves.filled_like(0),
    "new_empty.default": moves.new_filled(0),
    "new_full.default": moves.new_full,
    "new_ones.default": moves.new_filled(1),
    "new_zeros.default": moves.new_filled(0),
    "ones_like.default": moves.filled_like(1),
    "permute.default": moves.permute,
    **{f"reflection_pad{rank}d.default": moves.pad("reflect") for rank in (1, 2, 3)},
    **{f"replication_pad{rank}d.default": moves.pad("edge") for rank in (1, 2, 3)},
    "repeat.default": moves.repeat,
    "roll.default": moves.roll,
    "select.int": moves.select,
    "slice.Tensor": moves.slice_,
    "split.Tensor": moves.split,
    "split_with_sizes.default": moves.split_with_sizes,
    "stack.default": moves.stack,
    "transpose.int": moves.transpose,
    "tril.default": moves.triangle(relax.op.tril),
    "triu.default": moves.triangle(relax.op.triu),
    "unbind.int": moves.unbind,
    "unsqueeze.default": moves.unsqueeze,
    "view.default": moves.view,
    "zeros_like.default": moves.filled_like(0),
    # Reductions.
    "amax.default": reductions.reduction("ReduceMax"),
    "amin.default": reductions.reduction("ReduceMin"),
    "argmax.default": reductions.position("ArgMax"),
    "argmin.default": reductions.position("ArgMin"),
    "cumprod.default": reductions.cumulated("CumProd"),
    "cumsum.default": reductions.cumulated("CumSum"),
    "max.default": reductions.over_all("ReduceMax"),
    "max.dim": reductions.extreme("ReduceMax", "ArgMax"),
    "mean.default": reductions.over_all("ReduceMean"),
    "mean.dim": reductions.reduction("ReduceMean"),
    "min.default": reductions.over_all("ReduceMin"),
    "min.dim": reductions.extreme("ReduceMin", "ArgMin"),
    "prod.default": reductions.over_all("ReduceProd"),
    "prod.dim_int": reductions.reduction("ReduceProd"),
    "sum.default": reductions.over_all("ReduceSum"),
    "sum.dim_IntList": reductions.reduction("ReduceSum"),
    "topk.default": reductions.topk,
    "var.correction": reductions.variance,
    "var_mean.correction": reductions.variance_and_mean,
    # Places.
    "_unsafe_index.Tensor": indexing.index,
    "_unsafe_index_put.default": indexing.index_put,
    "embedding.default": indexing.embedding,
    "gather.default": indexing.gather,
    "index.Tensor": indexing.index,
    "index_select.default": indexing.index_select,
    "scatter_add.default": indexing.scatter_add,
    "select_scatter.default": indexing.select_scatter,
    "slice_scatter.default": indexing.slice_scatter,
    # Shapes.
    "sym_size.int": lambda s, x, axis: shape_of(x)[axis],
}

CONVERTERS: dict[str, Callable] = {
    **{f"aten.{name}": convert for name, convert in ATEN.items()},
    "quantized_decomposed.dequantize_per_channel.default": quantization.dequantize_per_channel,
    **{
        f"quantized_decomposed.{name}.{overload}": convert
        for name, convert in (
            ("quantize_per_tensor", quantization.quantize_per_tensor),
            ("dequantize_per_tensor", quantization.dequantize_per_tensor),
        )
        for overload in ("default", "tensor", "tensor2")
    },
    "quantized_decomposed.quantize_per_channel.default": quantization.quantize_per_channel,
    "torchao.dequantize_affine.default": quantization.dequantize_affine,
    "torchao.quantize_affine.default": quantization.quantize_affine,
}
"""``converter(scope, *arguments)``: see ``scope``."""

NOT_COMPUTED = frozenset(name for name in CONVERTERS if ".dequantize_" in name)
"""What stays where torch could compute it: the integers behind it are quantized weights."""

NOTHING = frozenset(
    {
        "aten._assert_async.default",
        "aten._assert_async.msg",
        "aten._assert_scalar.default",
        "aten._assert_tensor_metadata.default",
        "aten.sym_constrain_range.default",
        "aten.sym_constrain_range_for_size.default",
    }
)
"""What only checks, and gives nothing."""
