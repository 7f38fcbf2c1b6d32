"""What a model compiles to, as hashes: proof that a change of structure changes no kernel and no integer.

    python -m tvmq.bench.kernel_hashes --save before.json       # then move code
    python -m tvmq.bench.kernel_hashes --compare before.json    # names each kernel that is not the same

Nothing is run but the float model, for its ranges: kernels of every target are scheduled, not compiled.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import tvm_ffi
from tvm import relax, tirx

from .. import api
from ..errors import TvmqError, unknown
from ..frontends.onnx.load import load_onnx
from ..passes.hub.graph import is_constant, to_numpy
from ..passes.prepare.prepare import Prepare
from ..passes.realize.layout import Layout
from ..passes.realize.realize import Realize
from ..schedules.pipeline import to_scheduled_kernels
from ..targets.features import row_of
from ..targets.parse import parse_target
from .engines import calibration_feeds
from .subjects import MODELS, Subject, load_subject

TARGETS = (
    "llvm -mcpu=znver4",
    "llvm -mcpu=alderlake",
    "llvm -mcpu=skylake-avx512",
    "llvm -mcpu=znver3 -num-cores=2",
    "llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a76",
)
"""One of each row, one of them with two threads."""
SCHEMES = ("float", "int8", "w4a8", "weight-only")
SAMPLES = 2
"""How many samples calibrate: the hashes are of these ranges."""

Hashes = dict[str, dict[str, str]]
"""``"model, scheme, target"`` -> name of a kernel, or ``"constants"`` -> its hash."""


def hashes_of(subject: Subject, scheme: str, target_text: str) -> dict[str, str]:
    """Return the hash of each scheduled kernel of a model, and that of all its constants."""
    target = parse_target(target_text)
    row = row_of(target)
    shapes = {subject.model.input: subject.input_shape}
    if scheme == "float":
        mod = Prepare()(load_onnx(str(subject.path), shapes))
    else:
        feeds = [feed for feed, _ in zip(calibration_feeds(subject), range(SAMPLES), strict=False)]
        mod = api.quantize(str(subject.path), scheme, target, feeds, input_shapes=shapes).mod
    mod, _ = to_scheduled_kernels(Realize(row)(Layout()(mod)), target, row)
    found = {
        var.name_hint: f"{tvm_ffi.structural_hash(func):x}"
        for var, func in mod.functions.items()
        if isinstance(func, tirx.PrimFunc)
    }
    return found | {"constants": _constants(mod["main"])}


def _constants(main: relax.Function) -> str:
    digest = hashlib.sha256()

    def visit(expr: relax.Expr) -> None:
        if is_constant(expr):
            digest.update(to_numpy(expr).tobytes())

    relax.analysis.post_order_visit(main, visit)
    return digest.hexdigest()[:16]


def differences(before: Hashes, after: Hashes) -> list[str]:
    """Return a line for each kernel that is not the same in both, or in one of them alone."""
    lines = []
    for case in sorted(before.keys() & after.keys()):
        old, new = before[case], after[case]
        lines += [f"{case}: {name} is gone" for name in sorted(old.keys() - new.keys())]
        lines += [f"{case}: {name} is new" for name in sorted(new.keys() - old.keys())]
        lines += [
            f"{case}: {name} is another" for name in sorted(old.keys() & new.keys()) if old[name] != new[name]
        ]
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Save the hashes, or compare them with saved ones: 1 where something differs, 2 where nothing can be compared."""
    parser = argparse.ArgumentParser(
        prog="python -m tvmq.bench.kernel_hashes", description=__doc__.splitlines()[0]
    )
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--save", type=Path, metavar="FILE", help="write the hashes there")
    way.add_argument("--compare", type=Path, metavar="FILE", help="compare with the hashes saved there")
    for what, names in (("models", MODELS), ("schemes", SCHEMES)):
        parser.add_argument(
            f"--{what}", default=",".join(names), help="comma-separated (default: %(default)s)"
        )
    options = parser.parse_args(arguments)
    try:
        before: Hashes = json.loads(options.compare.read_text()) if options.compare else {}
        after: Hashes = {}
        for name in options.models.split(","):
            if name not in MODELS:
                raise unknown("model", name, MODELS)
            subject = load_subject(name, 1)
            for scheme in options.schemes.split(","):
                for target in TARGETS:
                    case = f"{name}, {scheme}, {target}"
                    after[case] = hashes_of(subject, scheme, target)
                    print(f"{case}: {len(after[case])} hashes", flush=True)
    except (TvmqError, OSError, json.JSONDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.save:
        options.save.write_text(json.dumps(after, indent=1))
        return 0
    lines = differences(before, after)
    print(*lines, sep="\n")
    compared = before.keys() & after.keys()
    print(f"{len(compared)} of {len(after)} cases compared: {len(lines)} differences")
    return 1 if lines or len(compared) < len(after) else 0


if __name__ == "__main__":
    sys.exit(main())
