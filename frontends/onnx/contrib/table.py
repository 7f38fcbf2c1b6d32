"""onnxruntime's operators, as its optimiser and quantizer leave them, and QONNX's, in terms of ONNX's own.

ONNX's rotary embedding is among them too: its own body has eight kernels, this one has one.

    QuickGelu(x)  -->  Mul(x, Sigmoid(Mul(alpha, x)))

Each function of this folder writes the body of one operator: it takes the names of the operator's inputs in order,
``""`` for one that is left out, its attributes by name, and returns the names of its outputs. Definitions:
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from .attention import attention, multi_head_attention
from .body import Body, Input, Write, attributes_of, written
from .few_bits import matmul_nbits
from .grouped_attention import group_query_attention
from .norms import (
    embed_layer_normalization,
    group_norm,
    simplified_layer_normalization,
    skip_group_norm,
    skip_layer_normalization,
    skip_simplified_layer_normalization,
)
from .pointwise import bias_add, bias_gelu, bias_softmax, fast_gelu, quick_gelu
from .products import (
    dynamic_quantize_matmul,
    fused_conv,
    fused_gemm,
    fused_matmul,
    matmul_integer_to_float,
)
from .qonnx import bipolar_quant, multi_threshold, quant, trunc
from .quantized import (
    dequantize_linear,
    nhwc_max_pool,
    q_attention,
    q_embed_layer_normalization,
    q_gemm,
    q_linear_add,
    q_linear_average_pool,
    q_linear_concat,
    q_linear_conv,
    q_linear_global_average_pool,
    q_linear_leaky_relu,
    q_linear_mul,
    q_linear_reduce_mean,
    q_linear_sigmoid,
    q_linear_softmax,
    q_linear_where,
    quantize_linear,
)
from .recurrent import dynamic_quantize_lstm
from .rotary import rotary_embedding, standard_rotary_embedding

QONNX: dict[str, Write] = {
    "BipolarQuant": bipolar_quant,
    "MultiThreshold": multi_threshold,
    "Quant": quant,
    "Trunc": trunc,
}

CONTRIB: dict[str, dict[str, Write]] = {
    "": {
        "RotaryEmbedding": standard_rotary_embedding,
        "SimplifiedLayerNormalization": simplified_layer_normalization,
    },
    **dict.fromkeys(("finn.custom_op.general", "onnx.brevitas", "qonnx.custom_op.general"), QONNX),
    "com.microsoft": {
        "Attention": attention,
        "BiasAdd": bias_add,
        "BiasGelu": bias_gelu,
        "BiasSoftmax": bias_softmax,
        "DequantizeLinear": dequantize_linear,
        "DynamicQuantizeLSTM": dynamic_quantize_lstm,
        "DynamicQuantizeMatMul": dynamic_quantize_matmul,
        "EmbedLayerNormalization": embed_layer_normalization,
        "FastGelu": fast_gelu,
        "FusedConv": fused_conv,
        "FusedGemm": fused_gemm,
        "FusedMatMul": fused_matmul,
        "GroupNorm": group_norm,
        "GroupQueryAttention": group_query_attention,
        "MatMulIntegerToFloat": matmul_integer_to_float,
        "MatMulNBits": matmul_nbits,
        "MultiHeadAttention": multi_head_attention,
        "NhwcMaxPool": nhwc_max_pool,
        "QAttention": q_attention,
        "QEmbedLayerNormalization": q_embed_layer_normalization,
        "QGemm": q_gemm,
        "QLinearAdd": q_linear_add,
        "QLinearAveragePool": q_linear_average_pool,
        "QLinearConcat": q_linear_concat,
        "QLinearConv": q_linear_conv,
        "QLinearGlobalAveragePool": q_linear_global_average_pool,
        "QLinearLeakyRelu": q_linear_leaky_relu,
        "QLinearMul": q_linear_mul,
        "QLinearReduceMean": q_linear_reduce_mean,
        "QLinearSigmoid": q_linear_sigmoid,
        "QLinearSoftmax": q_linear_softmax,
        "QLinearWhere": q_linear_where,
        "QuantizeLinear": quantize_linear,
        "QuickGelu": quick_gelu,
        "RotaryEmbedding": rotary_embedding,
        "SkipGroupNorm": skip_group_norm,
        "SkipLayerNormalization": skip_layer_normalization,
        "SkipSimplifiedLayerNormalization": skip_simplified_layer_normalization,
        "TransposeMatMul": fused_matmul,
    },
}
"""Operator to what writes its body, by domain."""


def contrib_body(node: onnx.NodeProto, inputs: Mapping[str, Input]) -> list[onnx.NodeProto]:
    """Return nodes that compute what the node does, from its inputs to its outputs.

    Parameters
    ----------
    inputs : what is known of each, by name.

    Raises
    ------
    ValueError : inputs or attributes that the operator does not have, or an output that is not computed.
    """
    return written(Body(inputs), CONTRIB[node.domain][node.op_type], node, attributes_of(node))
