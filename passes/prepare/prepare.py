"""The rewrites that give every later pass one form of each thing, whether a model is quantized or not.

What they leave: ``conv2d`` in NCHW and ``matmul`` with a constant ``[K, N]``, a bias as one addition of a
constant behind them, ``relu`` and ``clip``, GELU, SiLU and normalizations of rows as one operator each, explicit
padding, one constant for equal weights, no constant subgraphs.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import tvm
from tvm import IRModule, relax

from ..hub.conditions import PREPARED, PREPARED_ATTRIBUTE
from ..hub.contract import module_pass
from ..hub.graph import bindings_of, layer_name
from ..hub.layers import get_layers, with_layers
from .attention_order import AttentionOrder
from .drop_identities import DropIdentities
from .dynamic_products import DynamicProducts
from .flatten_volumes import FlattenVolumes
from .fold_affine import FoldAffine
from .fold_affine_forward import FoldAffineForward
from .fold_constants import FoldConstants
from .fold_pad import FoldPad
from .imported_bits import ImportedBits
from .in_float32 import InFloat32
from .lay_down import LayDown
from .powers import Powers
from .share_weights import ShareWeights
from .spelled_activations import SpelledActivations
from .spelled_norms import SpelledNorms
from .split_batch_norm import SplitBatchNorm
from .transposed_convolution import TransposedConvolution
from .trim_taps import TrimTaps
from .widen_1d import Widen1d


@module_pass(ensures=(PREPARED,))
@dataclass(frozen=True)
class Prepare:
    """Run the rewrites in order, and record which of the user's nodes were folded into others.

    Attributes
    ----------
    in_float32 : compute in float32 what the model does in another float: for what is to be quantized.
    """

    in_float32: bool = False

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module in the form that the docstring of this file describes."""
        phases = (
            *((InFloat32(),) if self.in_float32 else ()),
            FoldConstants(),
            DynamicProducts(),
            DropIdentities(),
            Powers(),
            SpelledActivations(),
            SpelledNorms(),
            AttentionOrder(),
            SplitBatchNorm(),
            Widen1d(),
            FlattenVolumes(),
            TransposedConvolution(),
            FoldPad(),
            LayDown(),
            TrimTaps(),
            FoldAffineForward(),
            FoldAffine(),
            ShareWeights(),
            relax.transform.DeadCodeElimination(),
            ImportedBits(),
        )
        prepared = mark_folded(tvm.transform.Sequential(phases)(mod))
        return prepared.with_attr(PREPARED_ATTRIBUTE, True)


def mark_folded(mod: IRModule) -> IRModule:
    """Return the module with the status ``"folded"`` on each layer of which no operator is left."""
    present = {layer_name(binding.value) for binding in bindings_of(mod)}
    layers = [
        layer if layer.name in present else dataclasses.replace(layer, status="folded")
        for layer in get_layers(mod)
    ]
    return with_layers(mod, layers)
