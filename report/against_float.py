"""The compiled integers beside the float model, on a few samples: whether a package does what it should.

    cosine = sum x x' / sqrt(sum x^2 sum x'^2)    x: an output of the float model, x' of the package; mean over samples

It is the package that runs and not the simulation, so that a wrong kernel shows. Where this machine cannot run it, the
same integers are compiled for this one: every target gives the same results, and the other's kernels are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import numpy as np
from tvm import IRModule

from ..passes.calibrate.kept_outputs import SAMPLES, KeptOutputs
from ..passes.calibrate.nearness import is_float, nearness
from ..passes.calibrate.sample_check import Sample, check_sample
from ..passes.calibrate.watch import Runner
from ..passes.hub.graph import input_specs, tupled
from ..runtime.package import Package
from .compiled import runs_here
from .nearness import AgainstFloat, OutputNearness


def float_outputs(mod: IRModule, samples: Iterable[Sample], runner: Runner) -> KeptOutputs:
    """Run a float module on the first few samples.

    Raises
    ------
    TvmqError : a sample that does not fit the model's inputs.
    """
    kept = KeptOutputs()
    specs = input_specs(mod)
    few = list(islice(samples, SAMPLES))
    run = runner(tupled(mod)) if few else None
    for index, sample in enumerate(few):
        check_sample(sample, index, specs)
        kept.update(sample, run(dict(sample)))
    return kept


def against_float(
    package: Package | None,
    pairs: Sequence[tuple[Sample, Sequence[np.ndarray]]],
    compile_here: Callable[[], Package],
) -> AgainstFloat:
    """Run a package on samples and compare it with what the float model gives.

    Parameters
    ----------
    package : what to run; None where there is only something that is no package.
    pairs : at least one sample, each with the float model's outputs in their order.
    compile_here : gives a package of the same integers for this machine, for where it cannot run the other.
    """
    is_package = package is not None and runs_here(package)
    package = package if is_package else compile_here()
    names = [tensor["name"] for tensor in package.metadata["outputs"]]
    exact = [outputs for _, outputs in pairs]
    found = [package.run(sample) for sample, _ in pairs]
    outputs = []
    for place, name in enumerate(names):
        reference, given = [arrays[place] for arrays in exact], [arrays[name] for arrays in found]
        near = nearness([[array] for array in reference], [[array] for array in given])
        if is_float(reference[0]):
            outputs.append(OutputNearness(name, near, _same_class(reference, given)))
        else:
            outputs.append(OutputNearness(name, None, near))
    return AgainstFloat(len(pairs), dict(package.metadata["target"]), is_package, tuple(outputs))


def _same_class(exact: Sequence[np.ndarray], given: Sequence[np.ndarray]) -> float | None:
    """Return the share of rows with the same largest element; None for what is no ``[rows, classes]``."""
    shape = exact[0].shape
    while shape[2:] and shape[-1] == 1:  # scores that come as an image of one pixel
        shape = shape[:-1]
    if len(shape) not in (1, 2) or shape[-1] < 2:
        return None
    places = [[array.reshape(shape).argmax(-1) for array in arrays] for arrays in (exact, given)]
    return float(np.mean(np.equal(places[0], places[1])))
