"""A hub and its teacher as compiled functions of batches.

    teacher(inputs)                                     -->   targets
    step(inputs, targets, parameters, finer, drops)     -->   losses, results, gradients

The teacher is the float model before anything was rounded. What is compared: each result, by classes where it has the
scores of classes, and what goes on from section to section, so that early layers hear of their errors without the noise
of all that follows.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ...errors import TvmqError
from ..hub.compressed import compressed
from ..hub.graph import activations, bindings_of, dtype_of, layer_name, op_name, results_of, shape_of
from ..hub.own_code import size_of
from ..hub.pairs import activation_pairs, float_form, weight_pairs
from ..hub.parameters import MAX_BITS
from ..improve.blocks import sections_of
from .apart import ALONE, draws_for, is_apart
from .batch import batch_of, batched
from .binary import float_weights
from .kernels.steps import STRAIGHT, Slopes
from .losses import classes, labels, squares
from .norms import Norm
from .objective import Term, images_last, objective
from .parameter import Parameter
from .student import Student, but_offsets
from .weight_forms import STRAIGHT_FORM, WeightForm

logger = logging.getLogger(__name__)

Function = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
"""Takes the arrays of ``main``'s parameters, which it may read where they lie, and returns those of its results."""
Compile = Callable[[IRModule], Function]
"""Compiles a float module in NHWC."""


def compile_in_place(mod: IRModule) -> Function:
    """Compile a function with TVM's default pipeline."""
    main = relax.VirtualMachine(tvm.compile(mod, target="llvm"), tvm.cpu())["main"]

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [value.numpy() for value in main(*map(tvm.runtime.tensor, arrays))]

    return run


LAYERS = 3
"""Weighted operators of a section, at least."""
FEATURES = 1.0
"""Weight of all features together, where each result has 1."""


@dataclass(frozen=True)
class Network:
    """What is trained.

    Attributes
    ----------
    student : its function, of ``batch`` times the samples.
    names : of the model's inputs.
    terms : of the loss; one of labels, where there is one, is the last.
    results : how many there are.
    scores : the first result, before its softmax, that has scores of classes, by its place among what the teacher
        gives; None where none has.
    fewest : bits of a tensor, at least.
    teacher, step : compiled.
    missing : operators without a gradient.
    """

    student: Student
    names: list[str]
    terms: list[Term]
    results: int
    scores: int | None
    fewest: int
    batch: int
    teacher: Function
    step: Function
    missing: tuple[str, ...]
    with_labels: bool
    drops: bool

    def targets(self, given: Sequence[np.ndarray], known: np.ndarray | None = None) -> list[np.ndarray]:
        """Return what each term compares with, of what the teacher gives, and of labels where there are such."""
        own = self.terms[:-1] if self.with_labels else self.terms
        targets = [given[term.result] for term in own]
        return targets if known is None or not self.with_labels else [*targets, known]

    def total(self, losses: np.ndarray) -> float:
        """Return the weighted sum of the losses."""
        return float(np.dot(losses, [term.weight for term in self.terms]))

    def taught(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return the teacher's results, and what is compared inside."""
        return self.teacher([inputs[name] for name in self.names])

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        targets: Sequence[np.ndarray],
        parameters: Sequence[np.ndarray],
        finer: float = 1.0,
        seed: int = 0,
        drop: float = 0.0,
        own_statistics: float = 0.0,
    ) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
        """Return losses ``[terms]``, the model's results, and the parameters' gradients, or what averages follow."""
        scalars = [np.array(finer, np.float32)]
        if self.student.statistics:
            scalars.append(np.array(own_statistics, np.float32))
        if self.drops:
            scalars += [np.array(seed, np.int32), np.array(round(drop * 2**24), np.int32)]
        found = self.step([*(inputs[name] for name in self.names), *targets, *parameters, *scalars])
        count = len(self.terms)
        losses = np.array([float(loss) for loss in found[:count]])
        return losses, found[count : count + self.results], found[count + self.results :]


def network(
    mod: IRModule,
    teacher: IRModule,
    compile_function: Compile,
    *,
    batch: int,
    with_labels: bool = False,
    drops: bool = False,
    features: float = FEATURES,
    learns: Callable[[Parameter], bool] = but_offsets,
    samples: float = math.inf,
    room: float | None = None,
    form: WeightForm = STRAIGHT_FORM,
    norms: Mapping[str, Norm] | None = None,
    slopes: Slopes = STRAIGHT,
) -> Network:
    """Return the compiled functions.

    Parameters
    ----------
    mod : a calibrated hub, whose weights are still float.
    teacher : the hub as it was when only its ranges were known.
    batch : samples at a time; one where the model's operators do not take several.
    with_labels : labels are a target too, of the first result with scores of classes.
    features : weight of what is compared inside; 0 for nothing.
    learns, form, norms : as for ``Student.of``.
    samples : that are learned from.
    slopes : as for ``steps.fold_steps``.
    room : bytes for what waits for the way back; where that is more, some of it is computed again. None is half of
        the memory that is free.

    Raises
    ------
    TvmqError : nothing to compare.
    """
    inside = _both_have(mod, teacher) if features > 0.0 else []
    count, given = _taught(mod, teacher, inside, fitting_batch(mod, batch), compile_function)
    own = batched(mod, count)
    watched = _watched(own, inside)
    student = Student.of(
        own,
        watched=watched,
        learns=learns,
        originals=float_weights(teacher),
        samples=samples / count,
        form=form,
        norms=norms,
    )
    results = results_of(own)
    terms, scores = _terms(results, watched, len(inside), features)
    if with_labels and scores is not None:
        terms.append(Term(scores, labels, 1.0))
    if not terms:
        raise TvmqError("fine-tuning has nothing to compare: no output of the model is float32")
    parts = _parts(student.mod, _free_memory() / 2 if room is None else room)
    if parts > 1:
        logger.info(
            "activations are computed again on the way back, in %d parts: all of them would not fit", parts
        )
    made = objective(student, terms, len(results), drops, parts, slopes)
    for missing in made.missing:
        logger.warning("no gradient of %s: layers before it learn from what is compared before it", missing)
    return Network(
        student,
        [param.name for param in mod["main"].params],
        terms,
        len(results),
        scores,
        _fewest_bits(mod),
        count,
        given,
        compile_function(made.mod),
        made.missing,
        with_labels,
        drops,
    )


def _taught(
    mod: IRModule, teacher: IRModule, inside: Sequence[str], count: int, compile_function: Compile
) -> tuple[int, Function]:
    """Return how many samples go through at a time, and the compiled teacher of so many."""
    seen = batched(teacher, count)
    given = compile_function(images_last(_float_with(seen, _watched(seen, inside))))
    results = len(results_of(mod))
    if count == 1 or is_apart(lambda arrays: given(arrays)[:results], draws_for(mod, count), count):
        return count, given
    logger.info(ALONE)
    return _taught(mod, teacher, inside, 1, compile_function)


MOST_PARTS = 16


def _parts(mod: IRModule, room: float) -> int:
    """Return into how many parts the way forth is to be cut: one where all of its values fit, else twice as many."""
    total = 4 * size_of(mod)
    return 1 if total <= room else min(MOST_PARTS, 2 * math.ceil(total / max(room, 1.0)))


def _free_memory() -> int:
    """Return the bytes of memory that are free, as far as the system says."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 1 << 40


def _fewest_bits(mod: IRModule) -> int:
    rounded = (*activation_pairs(mod), *weight_pairs(mod), *compressed(mod).values())
    return min((each.bits for each in rounded), default=MAX_BITS)


def fitting_batch(mod: IRModule, wanted: int) -> int:
    """Return how many samples a module takes at a time, by its shapes: as many as are wanted, or one."""
    if wanted == 1 or batch_of(mod) is None:
        return 1
    try:
        grown = batched(mod, wanted)
    except Exception:  # noqa: BLE001 (whatever TVM raises of shapes that do not fit)
        return 1
    pairs = zip(results_of(grown), results_of(mod), strict=True)
    fits = all(shape_of(old) and shape_of(new)[0] == wanted * shape_of(old)[0] for new, old in pairs)
    return wanted if fits else 1


def _both_have(mod: IRModule, teacher: IRModule) -> list[str]:
    """Return what is compared inside, by the names of ``_named``."""
    if bool(activation_pairs(mod)) != bool(activation_pairs(teacher)):
        return []  # the teacher is from before equalization, and has other scales of channels
    known = _named(teacher)
    return [name for name in _inside(mod) if name in known]


def _inside(mod: IRModule) -> list[str]:
    """Return what goes on from each section, by the names of ``_named``."""
    named = {var: name for name, var in _named(mod).items()}
    onward = [
        section.onward
        for section in sections_of(mod, LAYERS, lambda block: True, anywhere=not activation_pairs(mod))
    ]
    inputs = set(mod["main"].params)
    single = [found[0] for found in onward if len(found) == 1 and found[0] not in inputs]
    return [named[var] for var in single if var in named]


def _named(mod: IRModule) -> dict[str, relax.Var]:
    """Return the values that a hub and its teacher both have: of pairs, or without any the last of each layer."""
    pairs = activation_pairs(mod)
    if pairs:
        return {pair.name: pair.source for pair in pairs}
    return {
        layer_name(binding.value): binding.var
        for binding in bindings_of(mod)
        if layer_name(binding.value) and activations(binding.value) and dtype_of(binding.var) == "float32"
    }


def _watched(mod: IRModule, inside: Sequence[str]) -> list[relax.Var]:
    """Return the values before each result's softmax, or the results themselves, and those of pairs."""
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    ends = [values[result].args[0] if _is_softmax(result, values) else result for result in results_of(mod)]
    named = _named(mod)
    return [*ends, *(named[name] for name in inside)]


def _is_softmax(result: relax.Expr, values: Mapping[relax.Var, relax.Expr]) -> bool:
    return isinstance(result, relax.Var) and op_name(values.get(result)) == "relax.nn.softmax"


def _terms(
    results: Sequence[relax.Expr], watched: Sequence[relax.Var], inside: int, features: float
) -> tuple[list[Term], int | None]:
    """Return what is compared, by its place among results and watched values, and the first scores of classes."""
    terms: list[Term] = []
    scores = None
    for place, end in enumerate(watched[: len(results)], start=len(results)):
        if dtype_of(end) != "float32":
            continue
        terms.append(Term(place, squares, 1.0))
        if _has_scores(end):
            terms.append(Term(place, classes(), 1.0))
            scores = place if scores is None else scores
    first = 2 * len(results)
    terms.extend(Term(first + place, squares, features / inside) for place in range(inside))
    return terms, scores


def scores_of(mod: IRModule) -> int | None:
    """Return the place of the first result that has scores of classes, ``[batch, classes]``; None where none has."""
    for place, result in enumerate(results_of(mod)):
        if _has_scores(result):
            return place
    return None


def _has_scores(value: relax.Expr) -> bool:
    shape = shape_of(value)
    return dtype_of(value) == "float32" and len(shape) == 2 and shape[1] > 1


def _float_with(mod: IRModule, watched: Sequence[relax.Var]) -> IRModule:
    """Return the float form with what is watched behind its results."""
    return float_form(mod, relax.Tuple([*results_of(mod), *watched]))
