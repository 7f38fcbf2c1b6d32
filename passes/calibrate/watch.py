"""Running a module on samples and showing chosen values of it to whoever watches them.

Every watched value is an output of one module, which runs once for each sample; memory does not grow with the
number of samples, and they may come from a generator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
import tvm
from tvm import IRModule, relax

from ...errors import TvmqError
from ..hub.graph import activations, bindings_of, input_specs, layer_name, op_name, results_of
from ..hub.operators import AVERAGE, BINARY, CONCAT, OPERATORS, PRODUCT, WEIGHTED
from ..hub.own_code import compiled
from ..hub.pairs import activation_pairs, float_form
from .kept_outputs import KeptOutputs
from .sample_check import Sample, Spec, check_sample

Run = Callable[[dict[str, np.ndarray]], Sequence[np.ndarray]]
Runner = Callable[[IRModule], Run]
"""Compiles a float module whose ``main`` returns a tuple; the result maps inputs by name to that tuple."""
Progress = Callable[[str, int | None], AbstractContextManager[Any]]
"""``(description, total) -> context of a bar with update(n)``."""


class Watcher(Protocol):
    """Takes in a value's array for each sample."""

    def update(self, array: np.ndarray) -> None: ...


def compile_for_host(mod: IRModule) -> Run:
    """Compile a float module with TVM's default pipeline."""
    names = [param.name for param in mod["main"].params]
    main = compiled(mod)["main"]

    def run(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [value.numpy() for value in main(*(tvm.runtime.tensor(inputs[name]) for name in names))]

    return run


def watched(mod: IRModule, values: Sequence[relax.Expr]) -> IRModule:
    """Return the float module whose result is the tuple of these values."""
    return float_form(mod, relax.Tuple(list(values)))


_RESCALE = {WEIGHTED, PRODUCT, BINARY, CONCAT, AVERAGE}


def _read(call: relax.Expr) -> list[relax.Expr]:
    """Return the activations that an operator with a scale of its own reads; none of any other."""
    row = OPERATORS.get(op_name(call))
    if row is None or row.kind not in _RESCALE:
        return []
    if row.kind == WEIGHTED:  # its weights may be a pair's already
        return activations(call.args[0])
    return [] if row.refuse(call) else activations(call)


def _with_all(mod: IRModule, values: Sequence[relax.Expr]) -> tuple[IRModule, list[int]]:
    """Return a float module that gives these values, and where each is in its result.

    It gives all that stands before pairs, all that operators with a scale of their own read, and all results
    beside them, in one order, so that it is the same module for most passes that watch one model, even where pairs have
    gone in the meantime: a runner may keep what it made of the last.
    """
    pairs = activation_pairs(mod)
    given = {pair.dequantize: pair.source for pair in pairs}

    def bare(value: relax.Expr) -> relax.Expr:
        while value in given:
            value = given[value]
        return value

    sources = [pair.source for pair in pairs]
    read = [value for binding in bindings_of(mod) for value in _read(binding.value)]
    wanted = dict.fromkeys(map(bare, [*sources, *read, *results_of(mod), *values]))
    places = {binding.var: index for index, binding in enumerate(bindings_of(mod))}
    everything = sorted(wanted, key=lambda value: places.get(value, -1))
    place = {value: index for index, value in enumerate(everything)}
    return watched(mod, everything), [place[bare(value)] for value in values]


def _results(
    run: Run, samples: Iterable[Sample], specs: Mapping[str, Spec]
) -> Iterator[tuple[Sample, Sequence[np.ndarray]]]:
    """Yield each sample with what it gives; the next one runs in the meantime."""
    with ThreadPoolExecutor(1) as pool:
        last: tuple[Sample, Future[Sequence[np.ndarray]]] | None = None
        for index, sample in enumerate(samples):
            check_sample(sample, index, specs)
            running = pool.submit(run, dict(sample))
            if last is not None:
                yield last[0], last[1].result()
            last = sample, running
        if last is not None:
            yield last[0], last[1].result()


def watch(
    mod: IRModule,
    watchers: Mapping[relax.Var, Sequence[Watcher]],
    samples: Iterable[Sample],
    runner: Runner,
    progress: Progress | None,
    description: str = "calibrate",
    outputs: KeptOutputs | None = None,
) -> None:
    """Run the float form of the module on each sample and show each value to its watchers.

    ``description`` is what the progress bar says; ``outputs`` takes in what the model gives, where it is there.

    Raises
    ------
    TvmqError : no samples; one that does not fit the model's inputs; a value with NaN or infinity.
    """
    names = {binding.var: layer_name(binding.value) for binding in bindings_of(mod)}
    specs = input_specs(mod)
    values: list[relax.Expr] = list(watchers)
    if outputs is not None:
        outputs.restart()
        values += results_of(mod)
    form, places = _with_all(mod, values)
    run = runner(form)
    total = len(samples) if isinstance(samples, Sized) else None
    count = 0
    with nullcontext() if progress is None else progress(description, total) as bar:
        for count, (sample, every) in enumerate(_results(run, samples, specs), start=1):
            given = [every[place] for place in places]
            if outputs is not None:
                outputs.update(sample, given[len(watchers) :])
            for (var, group), value in zip(watchers.items(), given, strict=False):
                # NaN spoils both, infinity is one of them.
                if value.size and not (np.isfinite(value.min()) and np.isfinite(value.max())):
                    raise TvmqError(
                        f"calibration sample {count - 1}: layer {names.get(var, var.name)!r} gives NaN or infinity"
                    )
                for watcher in group:
                    watcher.update(value)
            if bar is not None:
                bar.update(1)
    if not count:
        raise TvmqError(f"there are no calibration samples to {description}; at least one is needed")
