"""An exported program of torch to a Relax module, in the form in which ONNX files come in (``frontends.onnx.load``).

The parameters of ``main`` have the names of ``forward``'s arguments, the layers those of the user's modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tvm import IRModule

from ...errors import TvmqError
from ...passes.hub.tvm_messages import plain
from ...passes.hub.unify import over_sizes
from ..shapes import Given
from .decompose import decomposed
from .dimensions import shapes_of_program
from .importer import Importer
from .names import Names
from .signature import check_weights, signature_of

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def load_exported_program(program: ExportedProgram, input_shapes: Given | None = None) -> IRModule:
    """Return the Relax module of an exported program. Its weights are not copied: the module reads torch's memory.

    Parameters
    ----------
    input_shapes : the shape of each input that was exported with dynamic dimensions, by input name, or the extent of a
        dimension by its symbol, such as ``s0``. An extent may be a range, and stays open.

    Raises
    ------
    TvmqError : an operator cannot be imported; a shape is dynamic, or contradicts the program; it keeps state; a weight
        is no plain tensor.
    """
    check_weights(program)
    try:
        simple = decomposed(program)
    except Exception as error:  # whatever torch raises for what it cannot trace
        raise TvmqError(f"torch cannot decompose the exported program: {plain(error)}") from error
    signature = signature_of(program, simple)
    names = Names(program.graph)
    shapes = shapes_of_program(simple, signature, input_shapes)

    def imported(sizes: Mapping[str, int]) -> IRModule:
        return Importer(signature, simple.graph, names, shapes.at(sizes)).import_graph()

    return over_sizes(imported, shapes.ranges) if shapes.ranges else imported({})
