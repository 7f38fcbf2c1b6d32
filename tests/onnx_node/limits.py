"""The node tests that do not pass, with the reason and the message that shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """What some of the cases run into.

    Attributes
    ----------
    reason : why they do not pass.
    message : part of the error that they end in.
    names : the cases.
    """

    reason: str
    message: str
    names: tuple[str, ...]


_LIMITS: tuple[Limit, ...] = (
    Limit(
        "relax.dequantize and relax.quantize know no 8-bit floats",
        "values cannot be quantized to float8",
        (
            "test_quantizelinear_e4m3fn",
            "test_quantizelinear_e5m2",
        ),
    ),
    Limit(
        "floats of 8 bits and fewer cannot be fed",
        "float, integer and bool ones can be fed",
        (
            "test_dequantizelinear_e4m3fn",
            "test_dequantizelinear_e4m3fn_float16",
            "test_dequantizelinear_e4m3fn_zero_point",
            "test_dequantizelinear_e5m2",
            "test_dequantizelinear_float4e2m1",
        ),
    ),
    Limit(
        "relax.quantize knows no 4-bit floats",
        "values cannot be quantized to float4",
        ("test_quantizelinear_float4e2m1",),
    ),
    Limit(
        "a tensor without elements: an extent of 0 in a file is taken for an unknown one",
        "shapes must be static",
        (
            "test_reduce_l1_empty_set",
            "test_reduce_l1_empty_set_expanded",
            "test_reduce_l2_empty_set",
            "test_reduce_l2_empty_set_expanded",
            "test_reduce_log_sum_empty_set",
            "test_reduce_log_sum_empty_set_expanded",
            "test_reduce_max_empty_set",
            "test_reduce_max_empty_set_bool",
            "test_reduce_min_empty_set",
            "test_reduce_sum_empty_set",
            "test_reduce_sum_empty_set_non_reduced_axis_zero",
            "test_reduce_sum_square_empty_set",
            "test_reduce_sum_square_empty_set_expanded",
            "test_reshape_allowzero_reordered",
            "test_split_zero_size_splits_opset13",
            "test_split_zero_size_splits_opset18",
        ),
    ),
    Limit(
        "Scan of operator set 8 has a batch axis of its own",
        "Scan of operator sets before 9",
        ("test_scan_sum",),
    ),
    Limit(
        "training: statistics of the batch",
        "training_mode",
        ("test_batchnorm_epsilon_training_mode", "test_batchnorm_example_training_mode"),
    ),
    Limit(
        "training: Dropout is compiled for inference, where it passes its input on",
        "Not equal to tolerance",
        (
            "test_training_dropout",
            "test_training_dropout_default",
            "test_training_dropout_default_mask",
            "test_training_dropout_mask",
        ),
    ),
    Limit(
        "sums of float16 in another order",
        "Not equal to tolerance",
        (
            "test_attention_4d_causal_fp16",
            "test_attention_4d_fp16",
            "test_attention_4d_gqa_with_past_and_present_fp16",
            "test_causal_conv_with_state_silu_fp16",
        ),
    ),
    Limit(
        "zeros that ONNX's own transform misses by its last bits, more than the tolerance beside 0",
        "Not equal to tolerance",
        ("test_dft_inverse", "test_dft_inverse_opset19"),
    ),
)

LIMITS: dict[str, Limit] = {name: limit for limit in _LIMITS for name in limit.names}
"""Case to its limit."""
