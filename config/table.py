"""Every option of quantization: one row each, from which come the flags, the keys of the file and their documentation.

An option of a later method is a field of ``QuantizeOptions`` and a row here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import kinds
from .kinds import Kind

TOP, QUANTIZATION, CALIBRATION, IMAGE = "", "quantization", "calibration", "image"
SEARCH, ACCURACY, FINE_TUNE = "search", "accuracy", "fine_tune"

SECTIONS = {
    TOP: "Before the first section.",
    QUANTIZATION: "A file with this section quantizes, to int8 unless it says otherwise.",
    CALIBRATION: "What the ranges of the activations are taken from.",
    SEARCH: "How the scheme `mixed` finds the bits of each layer, within one budget ([search.md](search.md)).",
    FINE_TUNE: "Learning from the float model, by gradients through all of it ([fine-tuning.md](fine-tuning.md)).",
    ACCURACY: "What the quantized model keeps: layers go back to float until it does, or `mixed` finds bits that do.",
    IMAGE: "How an image becomes the model's input: resized, cropped in the centre, `(pixel * scale - mean) / std`.",
}
"""The tables of a file in the order of the documentation, and what is said of each there."""


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes
    ----------
    section, key : where it stands in a file. In the section ``quantization`` the key is a field of
        ``QuantizeOptions``, in ``search`` of ``SearchOptions``, in ``fine_tune`` of ``FineTuneOptions``, in ``image``
        of ``ImageOptions``; the rows that have
        names below are used by name.
    flag : of the command line; one that turns a switch on.
    kind : of its values.
    help : what it says, for ``--help`` and the documentation.
    default : what counts where it is absent, in words.
    off : the flag that turns a switch off, or another option to ``off_value``.
    """

    section: str
    key: str
    flag: str
    kind: Kind
    help: str
    default: str = ""
    off: str = ""
    off_value: Any = False

    @property
    def dest(self) -> str:
        """The flag's name in argparse's namespace."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def name(self) -> str:
        """The option as a user of the file knows it: ``quantization.observer``."""
        return f"{self.section}.{self.key}" if self.section else self.key


def _quantization(
    key: str, kind: Kind, help: str, default: str = "", flag: str = "", off: str = ""
) -> Option:
    flag = flag or "--" + key.replace("_", "-")
    if kind.is_switch:
        off = off or "--no-" + flag.removeprefix("--")
    return Option(QUANTIZATION, key, flag, kind, help, default, off)


def _search(key: str, kind: Kind, help: str, default: str = "", flag: str = "") -> Option:
    return Option(SEARCH, key, flag or f"--search-{key}", kind, help, default)


def _fine_tune(key: str, kind: Kind, help: str, default: str = "") -> Option:
    flag = f"--fine-tune-{key.replace('_', '-')}"
    off = flag.replace("--fine-tune-", "--no-fine-tune-") if kind.is_switch else ""
    return Option(FINE_TUNE, key, flag, kind, help, default, off)


def _image(key: str, kind: Kind, help: str, default: str) -> Option:
    flag = f"--image-{key.replace('_', '-')}"
    off = flag.replace("--image-", "--no-image-") if kind.is_switch else ""
    return Option(IMAGE, key, flag, kind, help, default, off)


TARGET = Option(
    TOP,
    "target",
    "--target",
    kinds.TEXT,
    "what to compile for: 'llvm -mcpu=znver3', JSON, a tag such as raspberry-pi/4b-aarch64, or a file that holds one "
    "of these",
    "llvm, this machine's CPU",
)
HARDWARE = Option(
    TOP,
    "hardware",
    "--hardware",
    kinds.PATH,
    "a file that describes an accelerator: what it cannot do stays in float",
)
SCHEME = _quantization(
    "scheme",
    kinds.TEXT,
    "quantize to this scheme: int8, int4 (or w4a8), w4a4, int2 (or w2a8), w2a2, ternary, binary, mixed, weight-only, "
    "dynamic",
    flag="--quantize",
)
CALIBRATION_PATH = Option(
    CALIBRATION,
    "path",
    "--calibration-data",
    kinds.PATH,
    "an .npz (one array an input, first axis the samples), a folder of .npy or .npz files, a folder of images, or a "
    ".txt that lists images",
)
CALIBRATION_SAMPLES = Option(
    CALIBRATION,
    "samples",
    "--calibration-samples",
    kinds.integer(1),
    "use the first N samples",
    "all",
)
CALIBRATION_CACHE = Option(
    CALIBRATION,
    "cache",
    "--calibration-cache",
    kinds.PATH,
    "a file of scales and zero points: the tensors that it names get those; where it does not exist, it is written",
)
CALIBRATION_TYPE = Option(
    CALIBRATION,
    "type",
    "--calibration-type",
    kinds.choice("arrays", "images"),
    "what a folder is read for: arrays or images",
    "arrays where it has any",
)

SEARCH_STATE = _search(
    "state", kinds.PATH, "a file for what has been measured: a search that was broken off goes on"
)
SEARCH_OUTPUT = _search("output", kinds.PATH, "write the bits that were found to this .toml, for --config")

FINE_TUNES = Option(
    FINE_TUNE,
    "on",
    "--fine-tune",
    kinds.SWITCH,
    "let all weights, scales and biases learn from the float model; the options below do so by themselves",
    "false",
    "--no-fine-tune",
)
FINE_TUNE_LABELS = _fine_tune(
    "labels",
    kinds.PATH,
    "learn from these and their labels too: a .txt with an image and its label a line, or an .npz with an array an "
    "input and one of labels; without, from the calibration data alone",
)
FINE_TUNE_CHECKPOINT = _fine_tune(
    "checkpoint",
    kinds.PATH,
    "a file for the state, written as it goes: fine-tuning that was broken off goes on from it",
)
FINE_TUNE_CHECKPOINT_EVERY = _fine_tune(
    "checkpoint_every", kinds.TIME, "time from one writing of that file to the next, such as 90s", "60s"
)

WRITTEN = (CALIBRATION_CACHE, SEARCH_STATE, SEARCH_OUTPUT, FINE_TUNE_CHECKPOINT)
"""Files that are written late."""

ACCURACY_DATA = Option(
    ACCURACY,
    "data",
    "--accuracy-data",
    kinds.PATH,
    "top-1 on these is to be kept: a .txt with an image and its label a line, or an .npz with an array an input and "
    "one of labels",
)
MAX_DROP = Option(
    ACCURACY, "max_drop", "--max-drop", kinds.NUMBER, "by how many points top-1 may be below float's", "0.5"
)
ACCURACY_OUTPUT = Option(
    ACCURACY,
    "output",
    "--accuracy-output",
    kinds.TEXT,
    "the output whose largest element is the class, of a model of several",
    "the first",
)

OPTIONS: tuple[Option, ...] = (
    TARGET,
    HARDWARE,
    SCHEME,
    _quantization(
        "weight_bits",
        kinds.integer(0, 16),
        "bits of the weights, 2 to 8, the first and the last layer's apart, which keep the scheme's; 0 mixes bits by "
        "layer. For weight-only: of all layers, 1 to 16",
        "the scheme's",
    ),
    _quantization(
        "group_size",
        kinds.integer(1),
        "for weight-only: so many input channels share a scale",
        "all of them",
    ),
    _quantization(
        "codebook",
        kinds.SWITCH,
        "for weight-only: a table of the best values for each layer instead of integers, found by k-means",
        "false",
    ),
    _quantization(
        "mixed_start_scale",
        kinds.NUMBER,
        "with mixed bits: how far rounding may move a layer's weights, as a share of them; more means fewer bits",
        "0.02",
    ),
    _quantization(
        "mixed_auto_tune",
        kinds.SWITCH,
        "with mixed bits: search the start scale at which the model's output keeps a cosine of 0.995",
        "false",
    ),
    _quantization(
        "activation_bits", kinds.integer(2, 8), "bits of the activations, likewise", "the scheme's"
    ),
    _quantization(
        "depthwise_bits",
        kinds.integer(2, 8),
        "bits of depthwise convolutions' weights and of what they read",
        "8",
    ),
    _quantization(
        "bits",
        kinds.BITS,
        "bits of single layers' weights, or of weights and activations, by name or pattern, or 1 for both; of several "
        "that match, the last counts",
        flag="--layer-bits",
    ),
    _quantization(
        "allow_wider",
        kinds.SWITCH,
        "weights of bits for which the target has no kernel get the next more for which it has one; else an error",
        "false",
    ),
    _quantization(
        "observer",
        kinds.TEXT,
        "what chooses activations' ranges: minmax, moving-average, average-max, percentile, outliers, mse, kl, emd, "
        "lapq (by the model's output)",
        "the scheme's, or percentile",
    ),
    _quantization(
        "weight_observer",
        kinds.TEXT,
        "how ranges of weights are chosen: minmax, percentile, mse, emd",
        "the scheme's, or minmax",
    ),
    _quantization(
        "rounding",
        kinds.choice("nearest", "hessian", "reconstruct"),
        "how weights become integers: each to the nearest; all for the layer's result, with scales and biases; or so "
        "and then, with the steps of activations, for the result of several blocks",
        "the scheme's",
    ),
    _quantization("power_of_two", kinds.SWITCH, "round every scale up to a power of two", "false"),
    _quantization(
        "per_channel",
        kinds.SWITCH,
        "one weight scale an output channel; else one a tensor",
        "the scheme's",
        off="--per-tensor",
    ),
    _quantization(
        "activations",
        kinds.TEXT,
        "integers of activations: asymmetric, with a zero point where their range needs it, or symmetric",
        "the scheme's",
    ),
    _quantization("min_weight_size", kinds.integer(0), "layers with fewer weights stay in float", "0"),
    _quantization(
        "min_weight_channels", kinds.integer(0), "layers with fewer output channels stay in float", "0"
    ),
    _quantization("skip_layers", kinds.NAMES, "ONNX nodes that stay in float, by name or pattern"),
    _quantization("skip_ops", kinds.NAMES, "ONNX operators that stay in float"),
    _quantization(
        "quantize_only", kinds.NAMES, "quantize these ONNX nodes and no others, by name or pattern"
    ),
    Option(
        QUANTIZATION,
        "bias_correction",
        "--bias-correction",
        kinds.choice("none", "empirical", "sequential", "analytic"),
        "take the mean error that rounding the weights makes off the biases: by what samples show, layer by layer with "
        "the errors before it, or without samples",
        "empirical; analytic for weight-only without samples; none where the rounding chooses the biases",
        "--no-bias-correction",
        "none",
    ),
    _quantization(
        "equalize",
        kinds.SWITCH,
        "first make the ranges of neighbouring layers' weights alike, by a factor a channel",
        "false",
    ),
    _quantization(
        "absorb_bias",
        kinds.SWITCH,
        "first move biases that keep a channel above 0 to the next layer",
        "false",
    ),
    _quantization(
        "equalize_activations",
        kinds.SHARE,
        "first make the channels of activations alike, by means and a factor a channel that their readers' biases and "
        "weights take back: 0 not at all, 1 wholly; depthwise readers take all of it",
        "0; 0.05 for w4a4",
    ),
    _quantization(
        "smooth",
        kinds.SHARE,
        "first move ranges that differ by channel from the inputs of matrix products into their weights (SmoothQuant): "
        "0 a little, 1 wholly",
        "not at all",
    ),
    _quantization(
        "activation_scales",
        kinds.choice("auto", "static", "dynamic"),
        "what matrix products with weights read has one scale for all values, from samples (static); one for each row, "
        "found while the model runs (dynamic); or, in networks with layer norms, what samples show to be better for "
        "each layer (auto)",
        "auto for int8",
    ),
    _quantization(
        "float_below",
        kinds.NUMBER,
        "small layers whose input's rounding alone leaves a signal-to-noise ratio below this, in dB, stay in float; "
        "0 for none",
        "20; 0 for schemes of fewer bits",
    ),
    _quantization(
        "pair_safe_weights",
        kinds.SWITCH,
        "on CPUs whose fast multiply could saturate, give up a little of some weights' precision so that it cannot; "
        "else take a slower multiply",
        "true",
    ),
    _quantization("quantize_first", kinds.SWITCH, "quantize the first weighted layer too", "true"),
    _quantization("quantize_last", kinds.SWITCH, "quantize the last weighted layer too", "true"),
    CALIBRATION_PATH,
    CALIBRATION_SAMPLES,
    CALIBRATION_TYPE,
    CALIBRATION_CACHE,
    _search(
        "bit_budget",
        kinds.TEXT,
        "size of the weights, such as 4.0bits a weight or 1.9MB",
        flag="--bit-budget",
    ),
    _search(
        "latency_budget",
        kinds.TEXT,
        "time of a run on this machine, such as 2.5ms; layers for which there is time stay in float",
        flag="--latency-budget",
    ),
    _search(
        "min_cosine",
        kinds.NUMBER,
        "cosine of the outputs to the float model's that the smallest weights keep",
        "0.995, where there is no other budget",
        flag="--min-cosine",
    ),
    _search(
        "candidates",
        kinds.COUNTS,
        "bits that a layer may get",
        "2, 3, 4, 5, 6, 8; 8 alone with a latency",
    ),
    _search("samples", kinds.integer(1), "each error is measured on the first N calibration samples", "32"),
    _search("trials", kinds.integer(0), "mixtures that are measured after the single layers", "40"),
    SEARCH_STATE,
    SEARCH_OUTPUT,
    FINE_TUNES,
    _fine_tune("steps", kinds.integer(1), "steps of the optimizer", "1000"),
    _fine_tune(
        "budget", kinds.TIME, "fewer steps, where they would take longer than this: 90s, 20min, 1h", "none"
    ),
    _fine_tune("batch", kinds.integer(1), "samples a step", "8"),
    _fine_tune(
        "rate",
        kinds.NUMBER,
        "rate of learning at first, in steps of 4 bits; it falls to zero along a cosine",
        "0.001",
    ),
    _fine_tune("optimizer", kinds.choice("adamw", "adam", "sgd"), "what moves the parameters", "adamw"),
    _fine_tune("decay", kinds.NUMBER, "of weights towards zero each step, as a share of the rate", "0"),
    _fine_tune(
        "learns",
        kinds.NAMES,
        "what moves: weights, scales (theirs), biases, steps and offsets (of activations), constants (of norms, ...)",
        "all but offsets",
    ),
    _fine_tune(
        "weight_form",
        kinds.choice("straight", "dorefa", "low-rank"),
        "weights themselves learn; bent by a hyperbolic tangent; or a product of narrow matrices that is added to them",
        "straight",
    ),
    _fine_tune("rank", kinds.integer(1), "width of the narrow matrices of low-rank", "8"),
    _fine_tune(
        "activation_gradient",
        kinds.choice("lsq", "pact"),
        "steps of activations learn from all values (LSQ), or from those beyond their limits alone (PACT)",
        "lsq",
    ),
    _fine_tune(
        "batch_norm",
        kinds.choice("frozen", "moving"),
        "statistics of folded norms: as they are, or those of large batches first and their moving averages then",
        "frozen",
    ),
    _fine_tune(
        "sign_gradient",
        kinds.choice("straight", "bi-real"),
        "of activations of two values: 1 around the threshold (XNOR-Net), or falling to both sides of it (Bi-Real Net)",
        "straight",
    ),
    _fine_tune(
        "features", kinds.NUMBER, "weight of what sections of the network give, beside 1 for its outputs", "1"
    ),
    _fine_tune(
        "drop", kinds.SHARE, "activations of fewer than 8 bits that stay float in the first step (QDrop)", "0"
    ),
    _fine_tune(
        "progressive",
        kinds.COUNTS,
        "bits to begin with, for an equal share of the steps each, such as 8,6",
        "none",
    ),
    _fine_tune(
        "freeze",
        kinds.SHARE,
        "weights whose integers go to and fro in this share of the steps stay as they are",
        "none",
    ),
    _fine_tune("stochastic", kinds.SWITCH, "round weights up or down at random while learning", "false"),
    _fine_tune(
        "augment", kinds.NAMES, "how images are seen: crop, mirror, mix, paste", "all; no mirror with labels"
    ),
    _fine_tune("held_out", kinds.SHARE, "samples not learned from, which say what state is the best", "0.15"),
    _fine_tune(
        "seed", kinds.integer(0), "of all that is random: the same seed and steps, the same bits", "0"
    ),
    FINE_TUNE_LABELS,
    FINE_TUNE_CHECKPOINT,
    FINE_TUNE_CHECKPOINT_EVERY,
    ACCURACY_DATA,
    MAX_DROP,
    ACCURACY_OUTPUT,
    _image("size", kinds.SIZE, "resize: N is the short side, H,W exactly so", "as the model's input covers"),
    _image("resize", kinds.TEXT, "method: linear, nearest or cubic", "linear"),
    _image(
        "center_crop",
        kinds.SWITCH,
        "cut the model's height and width out of the centre; else the picture is resized to them, whatever its aspect",
        "true",
    ),
    _image(
        "views",
        kinds.integer(1),
        "calibrate on each picture so often: as it is, mirrored, and from the third time on on parts of it, resized",
        "1",
    ),
    _image("scale", kinds.NUMBER, "factor on the 8-bit pixels", "1/255; 1 for uint8 inputs"),
    _image("mean", kinds.NUMBERS, "subtracted from the scaled pixels, one value or one a channel", "0"),
    _image("std", kinds.NUMBERS, "divides what is left, one value or one a channel", "1"),
    _image("layout", kinds.UPPER, "NCHW or NHWC", "told by the model's input"),
    _image("color", kinds.LOWER, "rgb or bgr", "rgb"),
)
