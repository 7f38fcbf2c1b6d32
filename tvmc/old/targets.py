"""Targets as the old ``tvmc`` took them --> the one target that kernels are made for.

    mrvl, llvm -mcpu=neoverse-n2    llvm -mcpu=neoverse-n2    nothing is offloaded
    llvm, llvm                      llvm                      the second is the host
    cuda -arch=sm_86, llvm          cuda -arch=sm_86 -host=llvm
    llvm -link-params=1             llvm                      weights are always linked
    opencl, llvm                    opencl                    which is refused by its name

On the left what a user types, on the right what ``targets.parse`` gets, and why.
"""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from ...errors import TvmqError

logger = logging.getLogger(__name__)

KINDS = tuple(
    "aocl aocl_sw_emu c composite cuda example_target_hook ext_dev hexagon hybrid llvm metal nvptx opencl rocm sdaccel "
    "stackvm vulkan webgpu".split()
)
"""The kinds of target that code was made for."""

CODEGENS = tuple(
    "bnns ccompiler clml cmsis-nn compute-library cublas cudnn cutlass dnnl ethos-n ethos-u mrvl tensorrt uma "
    "vitis-ai".split()
)
"""What a part of the operators was offloaded to; the target behind it ran the rest."""

GONE = {
    "executor": "the virtual machine runs it",
    "interface-api": "the virtual machine runs it",
    "unpacked-api": "the virtual machine runs it",
    "link-params": "weights are always in the package's library",
    "runtime": "a package is a shared library that TVM's C++ runtime loads",
    "system-lib": "a package is a shared library that TVM's C++ runtime loads",
}
"""Attributes of llvm in TVM 0.8 that it has not any more, and what happens instead."""

_KNOWN_FLAGS = ("--target-cuda-arch",)
"""Those of other kinds that count: ``target_flags`` has them."""

_OTHERS = "|".join(sorted({*KINDS, *CODEGENS} - {"llvm"}, key=len, reverse=True))
_FLAG = re.compile(
    rf"--target-(?:(?P<kind>{_OTHERS})-[\w-]+|llvm-(?P<gone>{'|'.join(GONE)}))(?P<value>=.*)?", re.DOTALL
)


def split_flags(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words of a command line without flags of targets that have no table here, and the names of those.

    Each such flag takes a value.
    """
    rest: list[str] = []
    flags: list[str] = []
    words = list(words)
    while words:
        word = words.pop(0)
        match = _FLAG.fullmatch(word)
        if match is None or word.partition("=")[0] in _KNOWN_FLAGS:
            rest.append(word)
            continue
        flags.append(word.partition("=")[0])
        if match["value"] is None and words:
            words.pop(0)
    return rest, flags


def current_target(text: str | None, flags: Sequence[str] = ()) -> str | None:
    """Return the target that kernels are made for, as ``parse_target`` takes it.

    Parameters
    ----------
    text : what was given as ``--target``.
    flags : what ``split_flags`` found.

    Raises
    ------
    TvmqError : a flag is of a kind that the target does not name.
    """
    parts = _parts(text or "llvm")
    names = [part[0] for part in parts]
    for flag in flags:
        match = _FLAG.fullmatch(flag)
        if match["gone"]:
            logger.warning("%s: %s", flag, GONE[match["gone"]])
        elif match["kind"] not in names:
            raise TvmqError(f"{flag} has no effect without {match['kind']} in --target")
    offloaded = [name for name in names if name in CODEGENS]
    made_for = [part for part in parts if part[0] not in CODEGENS]
    if not made_for or (len(parts) == 1 and not _gone(parts[0])):
        return text
    target, hosts = made_for[0], made_for[1:]
    if offloaded and target[0] in ("llvm", "cuda"):
        kernels = target[0]
        logger.warning("%s: nothing is offloaded, %s's kernels run all of it", ", ".join(offloaded), kernels)
    if target[0] == "cuda":
        if hosts and not any(_attribute(word) == "host" for word in target[1:]):
            target = [*target, f"-host={shlex.join(hosts[0])}"]
        return shlex.join(target)
    if target[0] == "llvm":
        if hosts:
            logger.warning(
                "%s: the code around the kernels is for the same machine as they are",
                ", ".join(shlex.join(host) for host in hosts),
            )
        for word in _gone(target):
            logger.warning("%s: %s", word, GONE[_attribute(word)])
    return shlex.join(word for word in target if word not in _gone(target))


def _parts(text: str) -> list[list[str]]:
    """Return the words of each of the targets between the commas; those of a single one if any has no known name."""
    try:
        words = shlex.split(text)
    except ValueError:
        return [[text]]
    whole = [words or [text]]
    if text.lstrip().startswith("{") or Path(text).is_file():
        return whole
    parts: list[list[str]] = [[]]
    for word in words:
        # A comma within an attribute's value belongs to it.
        pieces = (
            [word.removesuffix(","), *([""] if word.endswith(",") else [])]
            if "=" in word
            else word.split(",")
        )
        for place, piece in enumerate(pieces):
            if place:
                parts.append([])
            if piece:
                parts[-1].append(piece)
    parts = [part for part in parts if part]
    return parts if all(part[0] in (*KINDS, *CODEGENS) for part in parts) and parts else whole


def _gone(words: Sequence[str]) -> list[str]:
    return [word for word in words if word.startswith("-") and _attribute(word) in GONE]


def _attribute(word: str) -> str:
    return word.lstrip("-").partition("=")[0]
