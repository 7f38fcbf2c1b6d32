"""The flags of the old ``tvmc`` that TVM 0.27 or tvmq has nothing for: a row each, a table a subcommand."""

from __future__ import annotations

from .flags import OldFlag
from .formats import READS

SWITCH = {"action": "store_true"}
NUMBER = {"type": int}
LIST = {"nargs": "+"}
REPEATED = {"action": "append"}

NO_MICRO = "TVM 0.27 has no microTVM; for a C library without TVM see docs/c-static.md"

_LAYOUT = "kernels compute in NHWC; the model's inputs and outputs keep their layout"
_PRECISION = "float layers compute in float32; --quantize makes a model smaller and faster"
_EXECUTOR = "the virtual machine runs it"
_LIBRARY = "a package is a shared library that TVM's C++ runtime loads"
_POOLS = "memory between kernels is planned ahead, in one pool"
_HARDWARE = "--target says what the hardware has, as its mcpu and num-cores"
_SEARCH = "there is one search, for all kernels; it needs no templates"

_FALSE = ("0", "False", "false")
_LAYOUTS = ("NHWC", "NHWC:HWIO", "NHWC:default")

_MODEL = (
    OldFlag(
        "--model-format",
        shape={"metavar": "FORMAT"},
        same=("onnx", "tflite"),
        refused={"*": READS},
    ),
    OldFlag("--desired-layout", _LAYOUT, LIST, same=_LAYOUTS),
    OldFlag("--desired-layout-ops", _LAYOUT, LIST),
    OldFlag("--mixed-precision", _PRECISION, SWITCH),
    OldFlag("--mixed-precision-ops", _PRECISION, LIST),
    OldFlag("--mixed-precision-calculation-type", _PRECISION, same=("float32",)),
    OldFlag("--mixed-precision-acc-type", _PRECISION, same=("float32",)),
    OldFlag(
        "--target-host",
        "the code around the kernels is for the same machine as they are; a GPU's host stands in --target",
    ),
)

COMPILE = (
    *_MODEL,
    OldFlag(
        "--dump-offloads",
        "nothing is offloaded: tvmc inspect says what runs as what",
    ),
    OldFlag("--executor", _EXECUTOR, {"choices": ("graph", "aot")}),
    OldFlag("--executor-graph-link-params", "weights are always in the package's library"),
    OldFlag("--executor-aot-link-params", "weights are always in the package's library"),
    OldFlag("--executor-aot-interface-api", _EXECUTOR),
    OldFlag("--executor-aot-unpacked-api", _EXECUTOR),
    OldFlag("--executor-aot-workspace-byte-alignment", _EXECUTOR, NUMBER),
    OldFlag("--executor-aot-constant-byte-alignment", _EXECUTOR, NUMBER),
    OldFlag("--runtime", _LIBRARY, {"choices": ("cpp", "crt")}, same=("cpp",), refused={"crt": NO_MICRO}),
    OldFlag("--runtime-cpp-system-lib", _LIBRARY, same=_FALSE),
    OldFlag("--runtime-crt-system-lib", refused={"*": NO_MICRO}),
    OldFlag("--workspace-pools", _POOLS),
    OldFlag("--workspace-pools-targets", _POOLS, REPEATED),
    OldFlag("--workspace-pools-size-hint-bytes", _POOLS, REPEATED),
    OldFlag("--workspace-pools-clock-frequency-hz", _POOLS, REPEATED),
    OldFlag("--workspace-pools-read-bandwidth-bytes-per-cycle", _POOLS, REPEATED),
    OldFlag("--workspace-pools-write-bandwidth-bytes-per-cycle", _POOLS, REPEATED),
    OldFlag("--workspace-pools-read-latency-cycles", _POOLS, REPEATED),
    OldFlag("--workspace-pools-write-latency-cycles", _POOLS, REPEATED),
    OldFlag("--workspace-pools-target-burst-bytes", _POOLS, REPEATED),
)

COMPILED = (
    OldFlag("--output-format", _LIBRARY, same=("so", "c-static", "bundle"), refused={"mlf": NO_MICRO}),
    OldFlag(
        "--module-name",
        "a package is told from others by its file",
        same=("default",),
        keyword="mod_name",
    ),
)
"""Flags of ``compile`` with values that have nothing to act on; ``tvmc/output_flags.py`` adds them."""

TUNE = (
    *_MODEL,
    OldFlag(
        "--tuner",
        "a cost model learned from what was measured, by XGBoost, guides the search",
        {
            "choices": (
                *("ga", "gridsearch", "random", "xgb", "xgb_knob", "xgb_itervar", "xgb_curve", "xgb_rank"),
                *("xgb_rank_knob", "xgb_rank_itervar", "xgb_rank_curve", "xgb_rank_binary"),
                *("xgb_rank_binary_knob", "xgb_rank_binary_itervar", "xgb_rank_binary_curve"),
            )
        },
        same=("xgb",),
    ),
    OldFlag("--enable-autoscheduler", _SEARCH, SWITCH),
    OldFlag("--include-simple-tasks", "kernels without multiply-adds have nothing to choose", SWITCH),
    OldFlag("--log-estimated-latency", "the table at the end has the time of all kernels", SWITCH),
    OldFlag("--num-cores", _HARDWARE, NUMBER),
    OldFlag("--vector-unit-bytes", _HARDWARE, NUMBER),
    OldFlag("--cache-line-bytes", _HARDWARE, NUMBER),
    OldFlag("--max-shared-memory-per-block", _HARDWARE, NUMBER),
    OldFlag("--max-local-memory-per-block", _HARDWARE, NUMBER),
    OldFlag("--max-threads-per-block", _HARDWARE, NUMBER),
    OldFlag("--max-vthread-extent", _HARDWARE, NUMBER),
    OldFlag("--warp-size", _HARDWARE, NUMBER),
)

HARDWARE_PARAMS = OldFlag("hardware_params", _HARDWARE)
"""What those of the hardware were in Python."""

RUN = (
    OldFlag("--project-option", shape=LIST, refused={"*": NO_MICRO}),
    OldFlag("--list-options", shape=SWITCH, refused={"*": NO_MICRO}),
)
