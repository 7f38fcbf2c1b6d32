"""A quantized network learns to give what its float model gives: all parameters at once, through the whole network.

    teacher(x)  <-->  student(x; weights, scales, biases, steps)         no labels are needed, and they help

``Reconstruct`` goes section by section; here errors of all sections meet in the loss, so each layer learns for the
result. What the samples held out say is worse than the start is not taken. (Hinton et al., 2015; Finkelstein et
al., "QFT", 2022: all degrees of freedom of post-training quantization at once.)
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import tvm
from tvm import IRModule

from ...errors import TvmqError
from ..annotate.learning import BATCH_NORMS, FineTuneOptions
from ..calibrate.on_samples import ReadsSamples
from ..calibrate.sample_check import Sample
from ..hub.annotation import scheme_of
from ..hub.compressed import compressed
from ..hub.conditions import CALIBRATED, LEARNABLE
from ..hub.contract import module_pass
from ..hub.fingerprint import fingerprint
from ..hub.graph import bindings_of, input_specs, results_of, shape_of
from ..hub.pairs import edit, weight_pairs
from ..hub.schemes import Scheme
from ..improve.lanes import within_lanes
from .augment import AUGMENTATIONS, MIRROR, Augment
from .batches import Data
from .checkpoint import Checkpoint
from .kernels.steps import Slopes
from .loop import Found, Loop
from .network import Compile, network, scores_of
from .norms import Norm, norms_of
from .parameter import BIASES, CONSTANTS, ENTRIES, OFFSETS, PLACES, STEPS, WEIGHT_SCALES, Parameter
from .put_back import put_into
from .weight_forms import form_of

logger = logging.getLogger(__name__)

FROZEN, MOVING = BATCH_NORMS

_KINDS = {
    "weights": (PLACES, ENTRIES),
    "scales": (WEIGHT_SCALES,),
    "biases": (BIASES,),
    "steps": (STEPS,),
    "offsets": (OFFSETS,),
    "constants": (CONSTANTS,),
}
"""What users call the kinds of parameters."""


@dataclass
class Teacher:
    """Keeps the module of which the float form teaches: before anything is rounded."""

    mod: IRModule | None = None


@module_pass()
@dataclass(frozen=True)
class KeepTeacher:
    """Leave the module as it is, and keep it for ``FineTune``.

    Attributes
    ----------
    teacher : takes it.
    """

    teacher: Teacher

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        self.teacher.mod = mod
        return mod


@module_pass(requires=LEARNABLE, ensures=(CALIBRATED,))
@dataclass(frozen=True)
class FineTune(ReadsSamples):
    """Move the weights' integers, scales, biases and steps by gradients; requires calibrated activations.

    Of compressed weights it moves codes or the entries of codebooks.

    Attributes
    ----------
    compile_function : compiles what is trained; ``tvmq.search.host.function_on_host`` has this machine's kernels.
    options : how.
    teacher : what ``KeepTeacher`` kept; without it the float form of the module itself teaches, which is not the
        float model any more where biases have been corrected.
    labelled : samples with labels, instead of ``samples``; None learns from the teacher alone.
    """

    compile_function: Compile = field(kw_only=True)
    options: FineTuneOptions = FineTuneOptions()
    teacher: Teacher = field(default_factory=Teacher)
    labelled: Iterable[tuple[Sample, np.ndarray]] | None = None

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with what has been learned; as it was where samples held out say that this is worse.

        Raises
        ------
        TvmqError : too few samples, or one that does not fit the model's inputs; labels that are no classes of the
            model's; a loss that is no number whatever the rate; a checkpoint that cannot be read or written.
        """
        options, scheme = self.options, scheme_of(mod)
        with_labels = self.labelled is not None
        samples = self.labelled if with_labels else ((sample, None) for sample in self.samples)
        data = Data.of(
            samples,
            input_specs(mod),
            share=options.held_out,
            augment=_augment(options, with_labels),
            seed=options.seed,
            classes=_classes(mod) if with_labels else 0,
        )
        path = None if options.checkpoint is None else Path(options.checkpoint)
        checkpoint = Checkpoint(path, _key(mod, options, data))
        checkpoint.read()  # what is wrong with it is said before anything is compiled
        form = form_of(options.weight_form, options.rank, options.seed)
        teacher = self.teacher.mod or mod
        made = network(
            mod,
            teacher,
            self.compile_function,
            batch=options.batch,
            with_labels=with_labels,
            drops=options.drop > 0.0,
            features=options.features,
            learns=_learns(options, scheme),
            samples=len(data.learned),
            form=form,
            norms=self._norms(mod, teacher, data) if options.batch_norm == MOVING else None,
            slopes=slopes_of(options),
        )
        found = Loop(made, data, options, checkpoint, self.progress).run()
        _say(found)
        return (
            mod if found.after >= found.before else _within_lanes(put_into(mod, found.values, form), scheme)
        )

    def _norms(self, mod: IRModule, teacher: IRModule, data: Data) -> dict[str, Norm]:
        """Return the norms whose statistics move; raises ``TvmqError`` where no convolution has any."""
        scheme = scheme_of(mod)
        learned = (data.spool[int(place)][0] for place in data.learned)
        found = {}
        if not (scheme is not None and scheme.power_of_two):
            # A teacher without pairs is from before equalization, and has other scales of channels.
            seen = teacher if weight_pairs(teacher) else mod
            found = norms_of(mod, seen, self.options.batch, learned, self.runner, self.progress)
        if not found:
            raise TvmqError(
                "batch_norm 'moving' is for convolutions of images whose weights have a scale of any size for each "
                "channel, and the quantized model has none"
            )
        return found


def slopes_of(options: FineTuneOptions) -> Slopes:
    """Return how gradients pass steps."""
    return Slopes(options.activation_gradient == "pact", options.sign_gradient)


def _learns(options: FineTuneOptions, scheme: Scheme | None):
    kinds = {kind for name in options.learns for kind in _KINDS[name]}
    if scheme is not None and scheme.power_of_two:
        kinds -= {WEIGHT_SCALES, STEPS}
    if scheme is not None and scheme.symmetric_activations:
        kinds -= {OFFSETS}

    def learns(parameter: Parameter) -> bool:
        return parameter.kind in kinds

    return learns


def _augment(options: FineTuneOptions, with_labels: bool) -> Augment:
    if options.augment is not None:
        return Augment(tuple(options.augment))
    return Augment(tuple(kind for kind in AUGMENTATIONS if not (with_labels and kind == MIRROR)))


def _classes(mod: IRModule) -> int:
    """Return how many classes the first output with scores has; raises ``TvmqError`` where none has any."""
    place = scores_of(mod)
    if place is None:
        raise TvmqError("labels are for models with an output [batch, classes], and this one has none")
    return shape_of(results_of(mod)[place])[-1]


_FREE = ("checkpoint", "checkpoint_every", "budget")
"""Options that may be others where fine-tuning goes on."""


def _key(mod: IRModule, options: FineTuneOptions, data: Data) -> str:
    """Return what tells this fine-tuning from others."""
    said = {name: value for name, value in asdict(options).items() if name not in _FREE}
    digest = hashlib.sha256(json.dumps([fingerprint(mod), said, data.spool.count], default=str).encode())
    for pair in weight_pairs(mod):
        digest.update(pair.integers.tobytes() + pair.scales.tobytes())
    for codes in compressed(mod).values():
        digest.update(codes.codes.tobytes() + codes.table.tobytes())
    return digest.hexdigest()[:32]


def _within_lanes(mod: IRModule, scheme: Scheme | None) -> IRModule:
    """Return the module with scales that have grown until what meets in a lane keeps the scheme's limit."""
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    limited = {
        pair.name: (pair, within_lanes(pair, values[pair.readers[0]], scheme))
        for pair in weight_pairs(mod)
        if pair.readers
    }
    return edit(
        mod,
        weights={
            name: new for name, (pair, new) in limited.items() if not np.array_equal(new.scales, pair.scales)
        },
    )


def _say(found: Found) -> None:
    same = ""
    if found.agreement is not None:
        same = ", of the classes {:.1f} % -> {:.1f} % agree".format(
            *(100 * share for share in found.agreement)
        )
    if found.after < found.before:
        logger.warning(
            "fine-tuned in %d steps: error on the samples held out %.4f -> %.4f%s",
            *(found.steps, found.before, found.after, same),
        )
    else:
        logger.warning(
            "fine-tuning made nothing better in %d steps on the samples held out, so the model stays as it was",
            found.steps,
        )
