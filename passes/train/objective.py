"""A student's function --> one that gives losses and the gradients of its parameters.

    main(inputs, parameters, finer) -> (results, watched)
        -->    main(inputs, targets, parameters, finer, drops) -> (losses, results, gradients)

Each term compares one of the results, or of what is watched, with a target of its own. Both ways are one function in
NHWC. Moving averages have what they follow, the statistics of the batch, in place of gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import IRModule, relax

from ..hub.graph import bindings_of, main_function, number, op_name, rebuild, results_of, shape_of
from ..hub.row_pairs import row_pairs
from ..realize.layout import TO_NCHW, Layout
from .gradient import Tape
from .kernels.steps import DROPS, STRAIGHT, Slopes
from .losses import Loss
from .steps import fold_steps
from .student import Student


@dataclass(frozen=True)
class Term:
    """A part of what is minimized.

    Attributes
    ----------
    result : the place, among the function's results and what is watched, of what is compared.
    loss : with what is given for it.
    weight : its factor.
    """

    result: int
    loss: Loss
    weight: float


def channels_last(mod: IRModule) -> tuple[IRModule, list[relax.Expr]]:
    """Return the module in NHWC, and its results: images as they are before they would become NCHW again."""
    laid = Layout()(mod)
    values = {binding.var: binding.value for binding in bindings_of(laid)}

    def before(result: relax.Expr) -> relax.Expr:
        value = values.get(result) if isinstance(result, relax.Var) else None
        if op_name(value) == "relax.permute_dims" and tuple(map(int, value.attrs.axes)) == TO_NCHW:
            return value.args[0]
        return result

    return laid, [before(result) for result in results_of(laid)]


def images_last(mod: IRModule) -> IRModule:
    """Return the module, whose results are a tuple, in NHWC, with images among the results so too."""
    laid, results = channels_last(mod)
    return relax.transform.DeadCodeElimination()(
        rebuild(laid, lambda builder, var, value: value, result=relax.Tuple(results))
    )


@dataclass(frozen=True)
class Objective:
    """The function.

    Attributes
    ----------
    mod : in NHWC, ready to be compiled.
    missing : what stopped gradients: operators that have none, with their layers.
    """

    mod: IRModule
    missing: tuple[str, ...]


def objective(
    student: Student,
    terms: Sequence[Term],
    results: int,
    drops: bool = False,
    parts: int = 1,
    slopes: Slopes = STRAIGHT,
) -> Objective:
    """Return the function that trains a student.

    Parameters
    ----------
    results : how many of the student's results are given, from the first.
    drops : whether activations of fewer than 8 bits may stay float: adds the parameters ``kernels.steps.DROPS``.
    parts : as for ``Tape.gradients``.
    slopes : as for ``fold_steps``.
    """
    names = [relax.Var(name, relax.TensorType((), "int32")) for name in DROPS] if drops else []
    mod = fold_steps(images_last(student.mod), tuple(names), slopes)
    compared = results_of(mod)
    params = list(mod["main"].params)
    # Scalars come last.
    inputs = len(params) - len(student.parameters) - (2 if student.statistics else 1)
    learned = slice(inputs, inputs + len(student.parameters))
    targets = [
        relax.Var(f"target:{place}", relax.TensorType(shape_of(compared[term.result]), "float32"))
        for place, term in enumerate(terms)
    ]
    new = {param: relax.Var(param.name, param.ty) for param in params}
    order = [*map(new.get, params[:inputs]), *targets, *map(new.get, params[inputs:]), *names]
    kernels = {var: func for var, func in mod.functions.items() if var.name_hint != "main"}
    builder = relax.BlockBuilder(IRModule(kernels))
    with main_function(builder, order):
        with builder.dataflow():
            tape = Tape.of(builder, bindings_of(mod), {**new, **{name: name for name in names}})
            for var, pair in row_pairs(mod).items():  # rounded, and nothing of them is clipped
                tape.straight[tape.env[var]] = tape.env[pair.source]
            found = [tape.env.get(result, result) for result in compared]
            losses, seeds = _losses(builder, terms, found, targets)
            shown = dict(zip(student.statistics, found[len(found) - len(student.statistics) :], strict=True))
            names_of = {new[param]: param.name for param in params[learned]}
            wanted = [var for var, name in names_of.items() if name not in shown]
            gradients = tape.gradients(seeds, wanted, parts)
            each = [
                shown.get(name, gradients.get(var, relax.op.zeros(shape_of(var), "float32")))
                for var, name in names_of.items()
            ]
            whole = relax.Tuple([*losses, *found[:results], *each])
            output = builder.emit_output(builder.normalize(whole))
        builder.emit_func_output(output)
    return Objective(relax.transform.DeadCodeElimination()(builder.get()), tuple(tape.missing))


def _losses(
    builder: relax.BlockBuilder,
    terms: Sequence[Term],
    found: Sequence[relax.Expr],
    targets: Sequence[relax.Expr],
) -> tuple[list[relax.Expr], dict[relax.Var, relax.Expr]]:
    """Return each term's loss, and the gradients of what they compare."""
    losses: list[relax.Expr] = []
    seeds: dict[relax.Var, relax.Expr] = {}
    for term, target in zip(terms, targets, strict=True):
        value, gradient = term.loss(builder, found[term.result], target)
        losses.append(value)
        share = builder.emit(relax.op.multiply(gradient, number(term.weight)))
        earlier = seeds.get(found[term.result])
        seeds[found[term.result]] = share if earlier is None else builder.emit(relax.op.add(earlier, share))
    return losses, seeds
