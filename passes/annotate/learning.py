"""What a user may say about fine-tuning (``passes.train``)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ...errors import TvmqError, unknown

AUGMENTATIONS = ("crop", "mirror", "mix", "paste")
OPTIMIZERS = ("adamw", "adam", "sgd")
LEARNED = ("weights", "scales", "biases", "steps", "offsets", "constants")
"""What of a model can move: weights, their scales, biases, steps and zero points of activations, other constants."""
USUALLY = tuple(name for name in LEARNED if name != "offsets")
WEIGHT_FORMS = ("straight", "dorefa", "low-rank")
ACTIVATION_GRADIENTS = ("lsq", "pact")
BATCH_NORMS = ("frozen", "moving")
SIGN_GRADIENTS = ("straight", "bi-real")


@dataclass(frozen=True)
class FineTuneOptions:
    """Choices of fine-tuning.

    Attributes
    ----------
    steps : of the optimizer.
    budget : seconds that it may take; fewer steps are taken where they would take longer. None is no limit.
    batch : samples a step.
    rate : of learning, the first; it falls to zero along a cosine. In steps of 4 bits for weights.
    optimizer : one of ``OPTIMIZERS``.
    decay : of weights towards zero, each step, as a share of the rate; of ``"adamw"`` and ``"sgd"``.
    learns : of ``LEARNED``.
    weight_form : one of ``WEIGHT_FORMS``: weights themselves are learned; bent by a hyperbolic tangent (DoReFa); or as
        they are, with a product of narrow matrices added (LoRA), whose ``rank`` is their width.
    activation_gradient : one of ``ACTIVATION_GRADIENTS``: steps of activations learn from what rounding and limits do
        to all values (LSQ; LSQ+ where ``"offsets"`` learn too), or from those beyond the limits alone (PACT).
    batch_norm : one of ``BATCH_NORMS``: statistics of folded norms stay, or are those of batches at first, and moving
        averages of them from ``passes.train.norms.FROZEN_FROM`` of the steps on. Batches should be large for that.
    sign_gradient : one of ``SIGN_GRADIENTS``: activations of two values pass gradients near their threshold as they are
        (XNOR-Net), or the more the nearer (Bi-Real Net).
    features : weight of what sections of the network give, beside 1 for its results; 0 compares results alone.
    drop : share of the activations of fewer than 8 bits that stay float in the first step; it falls to zero.
    progressive : bits that weights and activations of fewer begin with, such as ``(8, 6)``, for an equal share of the
        steps each; empty begins with their own.
    freeze : share of the last steps in which a weight's integer goes to and fro, from which on it stays as it is; None
        freezes none.
    stochastic : round weights up or down at random, with chances that are right on average, while learning.
    augment : of ``AUGMENTATIONS``, for images; None takes all, without mirror images where there are labels.
    held_out : share of the samples that is not learned from: the best state is what is best on these.
    labels : samples with their labels, to learn from both: each ``(sample, int64 labels)``, or
        ``frontends.samples.labelled.LabelledFiles``; None learns from the calibration samples and the float model.
    seed : of all that is random; with the same one and the same ``steps`` the result has the same bits.
    checkpoint : a file for the state; where it exists, fine-tuning goes on from it.
    checkpoint_every : seconds from one writing of that file to the next, at least.
    """

    steps: int = 1000
    budget: float | None = None
    batch: int = 8
    rate: float = 0.001
    optimizer: str = "adamw"
    decay: float = 0.0
    learns: tuple[str, ...] = USUALLY
    weight_form: str = "straight"
    rank: int = 8
    activation_gradient: str = "lsq"
    batch_norm: str = "frozen"
    sign_gradient: str = "straight"
    features: float = 1.0
    drop: float = 0.0
    progressive: tuple[int, ...] = ()
    freeze: float | None = None
    stochastic: bool = False
    augment: tuple[str, ...] | None = None
    held_out: float = 0.15
    labels: Any = None
    seed: int = 0
    checkpoint: str | os.PathLike[str] | None = None
    checkpoint_every: float = 60.0

    def __post_init__(self) -> None:
        for which in ("steps", "batch", "rank"):
            if getattr(self, which) < 1:
                raise TvmqError(f"{which} of fine-tuning must be at least 1, got {getattr(self, which)}")
        if self.budget is not None and not self.budget > 0.0:
            raise TvmqError(f"the budget of fine-tuning must be a time, got {self.budget} seconds")
        if not self.checkpoint_every > 0.0:
            raise TvmqError(
                f"checkpoint_every of fine-tuning must be a time, got {self.checkpoint_every} seconds"
            )
        for which in ("rate", "decay", "features"):
            if not 0.0 <= getattr(self, which) < float("inf"):
                raise TvmqError(f"{which} of fine-tuning must be at least 0, got {getattr(self, which)}")
        if not 0.0 <= self.drop <= 1.0:
            raise TvmqError(f"drop of fine-tuning must be from 0 to 1, got {self.drop}")
        if not 0.0 < self.held_out <= 0.5:
            raise TvmqError(
                f"held_out of fine-tuning must be above 0 and at most 0.5, got {self.held_out}: what is held out says "
                "whether anything has become better"
            )
        if self.optimizer not in OPTIMIZERS:
            raise unknown("optimizer", self.optimizer, OPTIMIZERS)
        if self.weight_form not in WEIGHT_FORMS:
            raise unknown("form of weights", self.weight_form, WEIGHT_FORMS)
        if self.activation_gradient not in ACTIVATION_GRADIENTS:
            raise unknown("gradient of activations", self.activation_gradient, ACTIVATION_GRADIENTS)
        if self.batch_norm not in BATCH_NORMS:
            raise unknown("kind of statistics of batch norms", self.batch_norm, BATCH_NORMS)
        if self.sign_gradient not in SIGN_GRADIENTS:
            raise unknown("gradient of signs", self.sign_gradient, SIGN_GRADIENTS)
        for which, known in (("learns", LEARNED), ("augment", AUGMENTATIONS)):
            for name in getattr(self, which) or ():
                if name not in known:
                    raise unknown(f"word for what fine-tuning {_VERBS[which]}", name, known)
        if not all(3 <= bits <= 8 for bits in self.progressive):
            raise TvmqError(f"progressive bits must be from 3 to 8, got {list(self.progressive)}")
        if self.freeze is not None and not 0.0 < self.freeze < 1.0:
            raise TvmqError(f"freeze of fine-tuning must be between 0 and 1, got {self.freeze}")


_VERBS = {"learns": "learns", "augment": "sees"}
