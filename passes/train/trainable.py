"""A quantized model for a training loop of one's own: parameters in NumPy, a loss, its gradients, and back.

    outputs = y(x; parameters)      loss, dy = f(outputs)      gradients = (dy / d parameters)^T dy

The loss is the caller's: any function of the outputs that gives its value and its gradients. Samples go through in
batches of one size, the last one filled up with samples whose gradient is zero.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from tvm import IRModule

from ...errors import TvmqError, unknown
from ..hub.graph import dtype_of, input_specs, output_names, results_of
from ..realize.layout import TO_NHWC
from .apart import ALONE, draws_for, is_apart
from .batch import batch_of, batched
from .kernels.steps import STRAIGHT, Slopes
from .losses import linear
from .network import Compile, fitting_batch
from .objective import Term, channels_last, objective
from .optimizers import Optimizer
from .put_back import put_into
from .student import Student
from .vector import Vector

logger = logging.getLogger(__name__)

Arrays = Mapping[str, np.ndarray]
Loss = Callable[[dict[str, np.ndarray]], tuple[float, Arrays]]
"""``outputs by name -> (value, gradients of float outputs by name)``; one that is not named has none."""

_ONE, _FINE = np.array(1.0, np.float32), np.array(4096.0, np.float32)


class TrainableModel:
    """The functions of a hub whose weights are still float, compiled.

    Attributes
    ----------
    mod : the hub.
    batch : how many samples go through at a time.
    missing : operators without a gradient: parameters before them get none from what is behind.
    """

    def __init__(
        self,
        mod: IRModule,
        compile_function: Compile,
        batch: int,
        originals: Mapping[str, np.ndarray] | None = None,
        slopes: Slopes = STRAIGHT,
    ):
        """``originals`` is as for ``Student.of``, ``slopes`` as for ``fold_steps``."""
        self.mod = mod
        self._names, self._inputs = output_names(mod), input_specs(mod)
        student = self._forwards(compile_function, fitting_batch(mod, batch), originals)
        if self.batch > 1 and not is_apart(self._nearly_float, draws_for(mod, self.batch), self.batch):
            logger.info(ALONE)
            student = self._forwards(compile_function, 1, originals)
        made = objective(student, [Term(place, linear, 1.0) for place in self._floats], 0, slopes=slopes)
        self.missing = made.missing
        self._backward = compile_function(made.mod)
        units = self._vector.units
        self._optimizer = Optimizer.of("adam", units, np.zeros_like(units))

    def _forwards(
        self, compile_function: Compile, batch: int, originals: Mapping[str, np.ndarray] | None
    ) -> Student:
        """Compile the way forwards for so many samples; return the function that it is of."""
        self.batch, self._rows = batch, batch * (batch_of(self.mod) or 1)
        student = Student.of(batched(self.mod, batch) if batch > 1 else self.mod, originals=originals)
        results = results_of(student.mod)
        self._floats = [place for place, result in enumerate(results) if dtype_of(result) == "float32"]
        laid, before = channels_last(student.mod)
        self._is_moved = [not one.same_as(other) for one, other in zip(before, results_of(laid), strict=True)]
        self._forward = compile_function(laid)
        self._vector = Vector(student.parameters)
        return student

    def _nearly_float(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return what the model gives with fine steps, which hide less than its own."""
        return self._forward([*arrays, *self._vector.views(self._vector.values), _FINE])

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """Copies of the parameters, by name: ``places:conv1`` has the weights of layer ``conv1`` in their steps."""
        return {name: view.copy() for name, view in self._vector.named().items()}

    def update(self, values: Arrays) -> None:
        """Take new values of parameters, by name; those that are not named stay.

        Raises
        ------
        TvmqError : there is no parameter of a name, or it has another shape.
        """
        own = self._vector.named()
        for name, array in values.items():
            if name not in own:
                raise unknown("parameter", name, own)
            if np.shape(array) != own[name].shape:
                raise TvmqError(f"parameter {name!r} has the shape {own[name].shape}, got {np.shape(array)}")
        self._vector.put(values)

    def step(self, gradients: Arrays, rate: float) -> None:
        """Move the parameters along gradients of all of them by Adam, at a rate in their units."""
        gradient = self._vector.empty(self._vector.values.size)
        for name, view in self._vector.named(gradient).items():
            view[...] = gradients[name]
        self._optimizer.step(self._vector.values, gradient, rate)

    def outputs(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return what the quantized model gives, in float, for inputs of any number of samples, by name."""
        total = self._check(inputs)
        parameters = self._vector.views(self._vector.values)
        found = [self._forward([*arrays, *parameters, _ONE]) for arrays, _ in self._batches(inputs, total)]
        joined = (np.concatenate(arrays)[:total] for arrays in zip(*found, strict=True))
        return dict(zip(self._names, joined, strict=True))

    def loss_and_gradients(self, inputs: Arrays, loss: Loss) -> tuple[float, dict[str, np.ndarray]]:
        """Return the loss of what the model gives for these inputs, and its gradients by the parameters' names.

        Raises
        ------
        TvmqError : inputs that do not fit the model's; a gradient of no output's name and shape.
        """
        outputs = self.outputs(inputs)
        value, given = loss(outputs)
        for name, gradient in given.items():
            if name not in outputs or np.shape(gradient) != outputs[name].shape:
                raise TvmqError(f"the loss gives a gradient {name!r} that is of no output's name and shape")
        seeds = [self._seed(place, given, outputs) for place in self._floats]
        vector = self._vector.empty(self._vector.values.size)
        parameters, sums = self._vector.views(self._vector.values), self._vector.views(vector)
        for arrays, part in self._batches(inputs, len(seeds[0])):
            own = [_filled(seed[part], self._rows) for seed in seeds]
            found = self._backward([*arrays, *own, *parameters, _ONE])[len(seeds) :]
            for view, gradient in zip(sums, found, strict=True):
                view += gradient
        return float(value), self._vector.named(vector)

    def learned(self) -> IRModule:
        """Return the hub with the parameters as they are now."""
        return put_into(self.mod, self._vector.named())

    def _seed(self, place: int, given: Arrays, outputs: Arrays) -> np.ndarray:
        name = self._names[place]
        gradient = np.asarray(given.get(name, np.zeros_like(outputs[name])), np.float32)
        return np.ascontiguousarray(gradient.transpose(TO_NHWC)) if self._is_moved[place] else gradient

    def _check(self, inputs: Arrays) -> int:
        """Return how many rows the inputs have."""
        if set(inputs) != set(self._inputs):
            raise TvmqError(f"the model's inputs are {sorted(self._inputs)}, got {sorted(inputs)}")
        counts = set()
        for name, (shape, dtype) in self._inputs.items():
            array = inputs[name]
            if array.dtype != dtype or array.shape[1:] != tuple(shape[1:]):
                raise TvmqError(
                    f"input {name!r} takes {dtype} {['any', *shape[1:]]}, got {array.dtype} {list(array.shape)}"
                )
            counts.add(len(array))
        if len(counts) != 1 or 0 in counts:
            raise TvmqError(f"the inputs must have one number of samples, got {sorted(counts)}")
        return counts.pop()

    def _batches(self, inputs: Arrays, total: int) -> Iterator[tuple[list[np.ndarray], slice]]:
        for first in range(0, total, self._rows):
            part = slice(first, first + self._rows)
            yield [_filled(inputs[name][part], self._rows) for name in self._inputs], part


def _filled(array: np.ndarray, rows: int) -> np.ndarray:
    """Return an array with so many rows: zeros behind its own."""
    if len(array) == rows:
        return np.ascontiguousarray(array)
    return np.concatenate([array, np.zeros((rows - len(array), *array.shape[1:]), array.dtype)])
