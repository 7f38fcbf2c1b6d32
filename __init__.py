"""tvmq: quantization, tuned kernels and the ``tvmc`` command line for Apache TVM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import (
        CLibrary as CLibrary,
    )
    from .api import (
        CompileOptions as CompileOptions,
    )
    from .api import (
        Package as Package,
    )
    from .api import (
        QuantizedModel as QuantizedModel,
    )
    from .api import (
        QuantizeOptions as QuantizeOptions,
    )
    from .api import (
        calibration_data as calibration_data,
    )
    from .api import (
        compile as compile,
    )
    from .api import (
        compile_c_library as compile_c_library,
    )
    from .api import (
        quantize as quantize,
    )
    from .api import (
        quantize_with_accuracy_control as quantize_with_accuracy_control,
    )
    from .api import (
        run_on_host as run_on_host,
    )
    from .config.config import read_config as read_config
    from .errors import TvmqError as TvmqError
    from .frontends.onnx.load import load_onnx as load_onnx
    from .frontends.samples.files import CalibrationFiles as CalibrationFiles
    from .frontends.tflite.load import load_tflite as load_tflite
    from .passes.annotate.learning import FineTuneOptions as FineTuneOptions
    from .ranges import Range as Range
    from .runtime.package import load as load
    from .search.options import SearchOptions as SearchOptions

__version__ = "0.1.0"

_LOCATIONS = {
    "CLibrary": "runtime.c_library.library",
    "CalibrationFiles": "frontends.samples.files",
    "CompileOptions": "schedules.options",
    "FineTuneOptions": "passes.annotate.learning",
    "Package": "runtime.package",
    "QuantizeOptions": "passes.annotate.options",
    "QuantizedModel": "api",
    "Range": "ranges",
    "SearchOptions": "search.options",
    "TvmqError": "errors",
    "calibration_data": "api",
    "compile": "api",
    "compile_c_library": "api",
    "load": "runtime.package",
    "load_onnx": "frontends.onnx.load",
    "load_tflite": "frontends.tflite.load",
    "quantize": "api",
    "quantize_with_accuracy_control": "api",
    "read_config": "config.config",
    "run_on_host": "api",
}
"""Where each public name lives. They load on first use: a program that only runs packages needs no compiler."""

__all__ = sorted([*_LOCATIONS, "__version__"])


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _LOCATIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LOCATIONS[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
