"""What a user types for a target --> ``tvm.target.Target``.

TVM 0.27 takes only a dict or a tag; the forms that the old ``tvmc`` took are translated here, and checked:
where TVM does not know ``-mcpu`` it compiles for a generic CPU, and only logs it.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tvm.target import Target, TargetKind, _ffi_api, codegen

from ..errors import TvmqError, unknown
from . import host
from .cuda.archs import arch_here, check_arch
from .features import describe, unsupported_arch, unsupported_kind
from .host import arch_of_triple
from .rows import ROWS

Config = dict[str, Any]

_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}


def parse_target(spec: str | Path | Mapping[str, Any] | Target, **overrides: Any) -> Target:
    """Return the target that ``spec`` means, checked.

    Parameters
    ----------
    spec : one of
        - the old string form, ``"llvm -mcpu=znver3 -mattr=+avx2,+fma -num-cores=2"``, or for a GPU
          ``"cuda -arch=sm_86 -host='llvm -mcpu=znver3'"``;
        - a dict such as ``{"kind": "llvm", "mcpu": "znver3"}``, or the same as JSON;
        - a tag of TVM's, such as ``"raspberry-pi/4b-aarch64"`` or ``"nvidia/geforce-rtx-3090"``;
        - the path of a file that holds one of these;
        - a ``Target``.
    overrides : single attributes that replace those of ``spec``: ``mcpu="znver3"``, ``num_cores=2``; of a GPU's target
        those of a CPU replace its host's.

    ``-mcpu=native`` is this machine's CPU, without the features that a virtual machine hides. So is plain
    ``llvm``, with neither CPU, features nor triple: whoever names nothing wants a package that is fast here.
    A triple that ends in ``eabihf`` says how floats are passed, so ``-mfloat-abi=hard`` comes with it.

    Plain ``cuda`` is this machine's GPU. The host of a GPU that names none is this machine.

    Raises
    ------
    TvmqError : an unknown kind, tag, attribute, CPU, GPU architecture or feature, with the close matches; a kind or an
        architecture without kernels; a value of the wrong type; a file that cannot be read.
    """
    config = _config_of(spec)
    changes = {name.replace("_", "-"): value for name, value in overrides.items() if value is not None}
    if "kind" not in config:
        raise TvmqError(f"the target {json.dumps(config, default=str)} lacks its kind, such as llvm")
    kind = config["kind"]
    if kind not in Target.list_kinds():
        raise unknown("target kind", kind, Target.list_kinds())
    if kind == "cuda":
        return _gpu_target(config, changes)
    if "arch" in changes:
        raise TvmqError(f"a GPU's architecture (arch) has no effect on the target {kind!r}, only on 'cuda'")
    config |= changes
    if kind != "llvm":
        # TVM's tags of boards with a GPU name its CPU as the host.
        raise unsupported_kind(kind, describe(parse_target(config["host"])) if "host" in config else "")
    config.pop("host", None)  # some tags name the CPU itself once more
    config = _typed(config)
    _check_cpu(config)
    return Target(config)


def _gpu_target(config: Config, changes: Config) -> Target:
    """Return the target of a GPU and its host, checked; ``changes`` are the overrides of ``parse_target``."""
    named = config.pop("host", None) or "llvm"
    of_gpu = {name: value for name, value in changes.items() if name == "arch"}
    try:
        host_config = _config_of(named)
    except TvmqError as error:
        raise TvmqError(f"host of the target: {error}") from error
    if host_config.get("kind") != "llvm":
        raise TvmqError(f"the host of a GPU must be a CPU, of kind llvm; got {host_config.get('kind')!r}")
    of_host = {name.replace("-", "_"): value for name, value in changes.items() if name not in of_gpu}
    cpu = parse_target(host_config, **of_host)
    misplaced = sorted(config.keys() & {"mcpu", "mattr", "mtriple", "num-cores"})
    if misplaced:
        raise TvmqError(
            f"attribute {misplaced[0]!r} is of the GPU's host: say \"-host='llvm -{misplaced[0]}=...'\""
        )
    config = _typed(config | of_gpu)
    arch = config.setdefault("arch", "") or arch_here()
    check_arch(arch)
    return Target(config | {"arch": arch}, host=cpu)


def _config_of(spec: str | Path | Mapping[str, Any] | Target, from_file: str = "") -> Config:
    """Return the target's dict, with the values as the user gave them.

    ``from_file`` is the name of the file that ``spec`` was read from: it must not name another.
    """
    if isinstance(spec, Target):
        return _exported(spec)
    if isinstance(spec, Mapping):
        return _of_dict(dict(spec))
    text = str(spec).strip()
    if not text:
        raise TvmqError(f"{from_file} holds no target" if from_file else "the target is empty")
    if text.startswith("{"):
        return _of_json(text)
    words = _split(text)
    if words[0] in Target.list_kinds():
        return _of_words(words)
    tags = _ffi_api.TargetTagListTags()
    if text in tags:
        return _exported(tags[text])
    if not from_file and Path(text).is_file():
        try:
            return _config_of(Path(text).read_text(), from_file=text)
        except (OSError, UnicodeDecodeError) as error:
            raise TvmqError(f"cannot read the target from {text!r}: {error}") from error
    if len(words) > 1:
        raise unknown("target kind", words[0], Target.list_kinds())
    if text.endswith(".json"):
        raise TvmqError(f"target file {text!r} does not exist")
    raise unknown("target kind, tag or file", text, [*Target.list_kinds(), *map(str, tags)])


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise TvmqError(f"target {text!r} is malformed: {error}") from error


def _of_words(words: list[str]) -> Config:
    """Return the dict of the old string form: ``-name=value``, ``-name value``, or ``-name`` for true."""
    config: Config = {"kind": words[0]}
    rest = words[1:]
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            raise TvmqError(f"target attribute {word!r} must have the form -name=value")
        name, equals, value = word.lstrip("-").partition("=")
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("-") else "true"
        config[name] = value
    return config


def _of_json(text: str) -> Config:
    try:
        config = json.loads(text)
    except ValueError as error:
        raise TvmqError(f"target {text!r} is not JSON: {error}") from error
    return _of_dict(config)


def _of_dict(config: Config) -> Config:
    """Return the dict with its tag, where it has one, replaced by what the tag stands for."""
    tag = config.pop("tag", "")
    if not tag:
        return config
    tags = _ffi_api.TargetTagListTags()
    if tag not in tags:
        raise unknown("target tag", tag, map(str, tags))
    return _exported(tags[tag]) | config


def _exported(target: Target) -> Config:
    """Return the target's dict without what TVM derives from the rest."""
    return _without_derived(target.export())


def _without_derived(config: Mapping[Any, Any]) -> Config:
    return {
        str(name): _without_derived(value) if isinstance(value, Mapping) else value
        for name, value in config.items()
        if name != "tag" and not name.startswith("feature.")
    }


def _typed(config: Config) -> Config:
    """Return the dict with its values in the types that TVM declares for them."""
    target_kind = config["kind"]
    options = {str(name): str(kind) for name, kind in TargetKind.options_from_name(target_kind).items()}
    typed: Config = {}
    for name, value in config.items():
        if name not in options:
            raise unknown(f"attribute of target {target_kind}", name, options)
        typed[name] = _convert(name, value, options[name])
    return typed


def _convert(name: str, value: Any, kind: str) -> Any:
    """Return the value as the type that TVM calls ``kind``; others, such as a host, stay."""
    text = str(value).strip()
    if kind == "Array<str>" and isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    if kind == "Array<str>" and isinstance(value, Sequence):
        return [str(item) for item in value]
    if kind == "str" and text:
        return text
    if kind == "bool" and text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    if kind == "int" and text.lstrip("-").isdigit():
        return int(text)
    if kind in ("str", "bool", "int", "Array<str>"):
        raise TvmqError(f"target attribute {name!r} must be of type {kind}, got {str(value)!r}")
    return value


def _check_cpu(config: Config) -> None:
    """Check architecture, CPU and features, and put the host's CPU where ``config`` asks for it."""
    system_triple = codegen.llvm_get_system_triple()
    triple = config.get("mtriple", system_triple)
    arch = arch_of_triple(triple)
    if arch not in {row.arch for row in ROWS}:
        raise unsupported_arch(arch)
    if triple.endswith("eabihf"):
        config.setdefault("mfloat-abi", "hard")  # TVM takes soft, and a linker does not mix the two
    if triple.startswith("thumb"):
        config.setdefault("vector-width", 128)  # TVM knows it of "arm" alone
    plain = not config.keys() & {"mcpu", "mattr", "mtriple"}
    if plain or config.get("mcpu") == "native":
        if arch != arch_of_triple(system_triple):
            raise TvmqError(f"-mcpu=native is this machine's CPU, which cannot run {arch} code; name a CPU")
        config["mcpu"] = codegen.llvm_get_system_cpu()
        hidden = host.missing_features(arch, _features(triple, config["mcpu"]))
        if hidden:
            config["mattr"] = [*(f"-{name}" for name in hidden), *config.get("mattr", ())]
    cpu = config.get("mcpu", "generic")
    if not codegen.llvm_is_valid_cpu(cpu, triple):
        raise _unknown_cpu(cpu, triple, arch)
    for feature in config.get("mattr", ()):
        _check_feature(feature, triple, arch)


def _unknown_cpu(cpu: str, triple: str, arch: str) -> TvmqError:
    """Return the error for a CPU that LLVM does not know, or knows for another architecture."""
    for other in dict.fromkeys(row.arch for row in ROWS):
        if other != arch and codegen.llvm_is_valid_cpu(cpu, f"{other}-linux-gnu"):
            return TvmqError(
                f"CPU {cpu!r} is of {other}, and the target's triple is {triple!r}; "
                f"say -mtriple={other}-linux-gnu as well"
            )
    return unknown(f"CPU (-mcpu) of {arch}", cpu, _cpus(triple))


def _check_feature(feature: str, triple: str, arch: str) -> None:
    """Raise unless the feature is ``+name`` or ``-name`` with a name that LLVM knows."""
    if feature[:1] not in ("+", "-"):
        raise TvmqError(f"feature {feature!r} of -mattr must start with + or -")
    known = {name for cpu in _cpus(triple) for name in _features(triple, cpu)}
    if feature[1:] in known:
        return
    # LLVM has no list of its features: some are in no CPU, and show only when they are asked for.
    with _without_stderr():
        found = _features(triple, "generic", "+" + feature[1:])
    if feature[1:] not in found:
        raise unknown(f"feature (-mattr) of {arch}", feature[1:], known)


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Drop what LLVM writes to standard error, past Python."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _cpus(triple: str) -> list[str]:
    """Return the CPUs that LLVM knows for the triple."""
    return [str(cpu) for cpu in codegen.llvm_get_cpu_archlist(Target({"kind": "llvm", "mtriple": triple}))]


def _features(triple: str, cpu: str, *mattr: str) -> set[str]:
    """Return the LLVM features of a CPU."""
    target = Target({"kind": "llvm", "mtriple": triple, "mcpu": cpu, "mattr": list(mattr)})
    return {str(name) for name in codegen.llvm_get_cpu_features(target)}
