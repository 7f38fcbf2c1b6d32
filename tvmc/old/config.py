"""A JSON file of the old ``tvmc --config`` --> the flags that it stands for.

    {"targets": [{"kind": "llvm", "mcpu": "a"}], "trials": 2}    --target=llvm --target-llvm-mcpu=a --trials=2
    {"executor": {"kind": "aot", "interface-api": "c"}}          --executor=aot --executor-aot-interface-api=c
    {"pass-config": {"tir.disable_vectorize": 1}}                --pass-config=tir.disable_vectorize=1

The file's flags come first, so that those of the command line win.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import TvmqError

_FLAG = "--config"


def behind_command(words: Sequence[str]) -> list[str]:
    """Return a command line with a ``--config`` that stands before the subcommand put behind it."""
    before: list[str] = []
    config: list[str] = []
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == _FLAG and rest:
            config = [_FLAG, rest.pop(0)]
        elif word.startswith(f"{_FLAG}="):
            config = [word]
        else:
            before.append(word)
    return [*before, *rest[:1], *config, *rest[1:]]


def expand_config(words: Sequence[str], known: Collection[str]) -> list[str]:
    """Return a subcommand's words with the flags of a JSON file in place of ``--config FILE.json``, before all others.

    Parameters
    ----------
    known : the subcommand's flags; a file may serve several subcommands, and what is not among them is left out.

    Raises
    ------
    TvmqError : the file cannot be read, or holds no JSON object.
    """
    rest: list[str] = []
    flags: list[str] = []
    words = list(words)
    while words:
        word = words.pop(0)
        value = word.removeprefix(f"{_FLAG}=") if word.startswith(f"{_FLAG}=") else None
        if word == _FLAG and words:
            value = words[0]
        if value is None or not value.endswith(".json"):
            rest.append(word)
            continue
        if word == _FLAG:
            words.pop(0)
        flags += [flag for flag in _flags(_read(Path(value))) if _is_known(flag, known)]
    return [*flags, *rest]


def _is_known(flag: str, known: Collection[str]) -> bool:
    name = flag.partition("=")[0]
    return name in known or (name.startswith("--target-") and "--target" in known)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(path.read_text())
    except OSError as error:
        raise TvmqError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    except ValueError as error:
        raise TvmqError(f"{str(path)!r} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise TvmqError(f"{str(path)!r} must hold an object: flags and their values")
    return config


def _flags(config: Mapping[str, Any]) -> list[str]:
    flags: list[str] = []
    for name, value in config.items():
        if name == "targets":
            flags.append(f"--target={', '.join(_kind(target, 'a target') for target in value)}")
            for target in value:
                flags += _of_kind("target", target)
        elif name in ("executor", "runtime") and isinstance(value, dict):
            flags += [f"--{name}={_kind(value, name)}", *_of_kind(name, value)]
        elif isinstance(value, dict):
            flags += [f"--{name}={key}={entry}" for key, entry in value.items()]
        elif isinstance(value, bool):
            flags += [f"--{name}"] * value
        else:
            flags.append(f"--{name}={value}")
    return flags


def _kind(entry: Any, what: str) -> str:
    if not isinstance(entry, dict) or not isinstance(entry.get("kind"), str):
        raise TvmqError(f"{what} without its kind in --config: {json.dumps(entry)}")
    return entry["kind"]


def _of_kind(name: str, entry: Mapping[str, Any]) -> list[str]:
    return [f"--{name}-{entry['kind']}-{key}={value}" for key, value in entry.items() if key != "kind"]
