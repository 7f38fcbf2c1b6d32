"""A configuration file --> the values of options --> what ``tvmq.quantize`` takes.

A file has a key for each row of ``config.table``, in that row's section; flags win over it. Paths in it are relative to
its own folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import TvmqError, unknown
from . import kinds
from .table import (
    ACCURACY_DATA,
    ACCURACY_OUTPUT,
    CALIBRATION_CACHE,
    CALIBRATION_PATH,
    CALIBRATION_SAMPLES,
    CALIBRATION_TYPE,
    FINE_TUNE,
    FINE_TUNE_CHECKPOINT,
    FINE_TUNE_CHECKPOINT_EVERY,
    FINE_TUNE_LABELS,
    FINE_TUNES,
    HARDWARE,
    IMAGE,
    MAX_DROP,
    OPTIONS,
    QUANTIZATION,
    SCHEME,
    SEARCH,
    SECTIONS,
    TARGET,
    TOP,
    WRITTEN,
    Option,
)
from .toml_file import TomlFile, read_toml

if TYPE_CHECKING:
    from ..frontends.samples.files import CalibrationFiles
    from ..frontends.samples.images import ImageOptions
    from ..frontends.samples.labelled import LabelledFiles
    from ..passes.annotate.learning import FineTuneOptions
    from ..passes.annotate.options import QuantizeOptions
    from ..search.options import SearchOptions

Values: TypeAlias = dict[Option, Any]
"""What was said of options; one that is absent was not mentioned."""

DEFAULT_SCHEME = "int8"
DEFAULT_MAX_DROP = 0.5
"""Points of top-1."""


@dataclass(frozen=True)
class Config:
    """What a configuration says; the first fields are named as the arguments of ``tvmq.quantize``.

    Attributes
    ----------
    scheme : None where nothing is to be quantized.
    target : what to compile for; None takes the default.
    options : the choices of quantization.
    calibration : the files to calibrate with; None where none are named.
    search : how bits are searched for; None where nothing is said of it.
    accuracy : labelled files on which the accuracy is to be kept; None where none are named.
    max_drop : points of top-1 by which it may drop.
    accuracy_output : the output that has a score a class; None takes the first.
    """

    scheme: str | None
    target: str | None
    options: QuantizeOptions
    calibration: CalibrationFiles | None
    search: SearchOptions | None = None
    accuracy: LabelledFiles | None = None
    max_drop: float = DEFAULT_MAX_DROP
    accuracy_output: str | None = None

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of ``tvmq.quantize`` that are said; the scheme is int8 where nothing is."""
        named = {
            "scheme": self.scheme,
            "target": self.target,
            "calibration": self.calibration,
            "search": self.search,
        }
        said = {name: value for name, value in named.items() if value is not None}
        return {"options": self.options, **said}


def read_config(path: str | Path) -> Config:
    """Return the configuration in a TOML file.

    Raises
    ------
    TvmqError : the file cannot be read; a key or a section that there is not, with the line and the near matches; a
        value of another type than expected, or one that an option does not take.
    """
    return make_config(read_values(path))


def read_values(path: str | Path) -> Values:
    """Return the values of options in a TOML file; raises ``TvmqError`` as ``read_config`` does."""
    file = read_toml(path, "configuration")
    values: Values = {}
    for name, value in file.values.items():
        if name in SECTIONS and name != TOP:
            if not isinstance(value, dict):
                raise TvmqError(f"{file.place(TOP, name)}: {name!r} is a section, [{name}], not a value")
            for key, inner in value.items():
                _add(values, file, name, key, inner)
        else:
            _add(values, file, TOP, name, value)
    if SCHEME not in values and QUANTIZATION in file.values:
        values[SCHEME] = DEFAULT_SCHEME
    return values


def make_config(values: Mapping[Option, Any]) -> Config:
    """Return what the values of options amount to.

    Raises
    ------
    TvmqError : a value that an option does not take; one that has no effect because another is absent.
    """
    from ..frontends.samples.files import CalibrationFiles
    from ..frontends.samples.images import ImageOptions
    from ..frontends.samples.labelled import LabelledFiles
    from ..passes.annotate.options import QuantizeOptions
    from ..passes.hub.schemes import get_scheme
    from ..search.options import SearchOptions, check_drop
    from .hardware_file import read_hardware

    _check_effect(values)
    _check_folders(values)
    scheme = values.get(SCHEME)
    if scheme is not None:
        get_scheme(scheme)
    fields = _fields(values, QUANTIZATION)
    if CALIBRATION_CACHE in values:
        fields["calibration_cache"] = values[CALIBRATION_CACHE]
    if HARDWARE in values:
        fields["hardware"] = read_hardware(values[HARDWARE])
    images = _fields(values, IMAGE)
    image_options = ImageOptions(**images) if images else None
    options = QuantizeOptions(**fields, fine_tune=_fine_tuning(values, image_options))
    calibration = None
    if CALIBRATION_PATH in values:
        calibration = CalibrationFiles(
            values[CALIBRATION_PATH],
            image_options,
            values.get(CALIBRATION_SAMPLES),
            values.get(CALIBRATION_TYPE),
        )
    search = _fields(values, SEARCH)
    max_drop = values.get(MAX_DROP, DEFAULT_MAX_DROP)
    check_drop(max_drop)
    return Config(
        scheme,
        values.get(TARGET),
        options,
        calibration,
        SearchOptions(**search) if search else None,
        LabelledFiles(values[ACCURACY_DATA], image_options) if ACCURACY_DATA in values else None,
        max_drop,
        values.get(ACCURACY_OUTPUT),
    )


def _fine_tuning(values: Mapping[Option, Any], images: ImageOptions | None) -> FineTuneOptions | None:
    """Return what is said of fine-tuning; None where nothing is, or it is off."""
    from ..frontends.samples.labelled import LabelledFiles
    from ..passes.annotate.learning import FineTuneOptions

    fields = _fields(values, FINE_TUNE)
    is_on = fields.pop(FINE_TUNES.key, bool(fields))
    if not is_on:
        return None
    if FINE_TUNE_LABELS in values:
        fields["labels"] = LabelledFiles(values[FINE_TUNE_LABELS], images)
    return FineTuneOptions(**fields)


def _fields(values: Mapping[Option, Any], section: str) -> dict[str, Any]:
    """Return the options of a section that are fields of its dataclass."""
    return {
        option.key: value
        for option, value in values.items()
        if option.section == section and option is not SCHEME
    }


def _check_effect(values: Mapping[Option, Any]) -> None:
    """Raise for an option that has no effect because the one that it goes with is absent."""
    for option in values:
        needs: Option | None = None
        if option.section == IMAGE or option in (CALIBRATION_SAMPLES, CALIBRATION_TYPE):
            needs = CALIBRATION_PATH
        if option in (MAX_DROP, ACCURACY_OUTPUT):
            needs = ACCURACY_DATA
        if option is FINE_TUNE_CHECKPOINT_EVERY:
            needs = FINE_TUNE_CHECKPOINT
        if SCHEME not in values and option not in (TARGET, SCHEME):
            needs = SCHEME
        if needs is not None and needs not in values:
            raise TvmqError(f"{option.flag} has no effect without {needs.flag}")


def _check_folders(values: Mapping[Option, Any]) -> None:
    """Raise for a file that could not be written when the work is done, for want of its folder."""
    for option in WRITTEN:
        folder = values[option].parent if option in values else None
        if folder is not None and not folder.is_dir():
            raise TvmqError(f"{option.flag} cannot be written: there is no folder {str(folder)!r}")


def _add(values: Values, file: TomlFile, section: str, key: str, value: Any) -> None:
    option = next((row for row in OPTIONS if (row.section, row.key) == (section, key)), None)
    if option is None:
        raise _unknown_key(file, section, key, value)
    try:
        values[option] = option.kind.convert(value)
    except ValueError as error:
        entry = _wrong_entry(option, value)
        if entry is not None:
            section, key, value = f"{section}.{key}", *entry
        raise TvmqError(
            f"{file.place(section, key)}: {key!r} is {_shown(value)}, expected {option.kind.expected}"
        ) from error
    if option.kind is kinds.PATH:
        values[option] = file.path.parent / values[option]


def _wrong_entry(option: Option, value: Any) -> tuple[str, Any] | None:
    """Return the first entry of a table that the option does not take; None where the value is no table."""
    for name, entry in value.items() if option.kind is kinds.BITS and isinstance(value, dict) else ():
        try:
            option.kind.convert({name: entry})
        except ValueError:
            return name, entry
    return None


def _unknown_key(file: TomlFile, section: str, key: str, value: Any) -> TvmqError:
    """Return the error for a key that no row has: with the near matches, also those of other sections."""
    if section == TOP and isinstance(value, dict):
        error = unknown("section", key, [name for name in SECTIONS if name])
        return TvmqError(f"{file.place(key)}: {error}")
    elsewhere = [row.section for row in OPTIONS if row.key == key]
    if elsewhere:
        where = " or ".join(f"[{name}]" if name else "the top of the file" for name in elsewhere)
        return TvmqError(f"{file.place(section, key)}: {key!r} belongs in {where}")
    error = unknown(f"key in [{section}]" if section else "key", key, _keys(section))
    return TvmqError(f"{file.place(section, key)}: {error}")


def _keys(section: str) -> list[str]:
    return [row.key for row in OPTIONS if row.section == section]


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a table"
    return str(value).lower() if isinstance(value, bool) else repr(value)
