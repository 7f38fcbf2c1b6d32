"""The models that are measured: one row each."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import onnx

from ..errors import TvmqError, unknown
from . import cache, datasets, encoders, synthetic
from .datasets import Split


@dataclass(frozen=True)
class Model:
    """A model and the data it is measured on.

    Attributes
    ----------
    name : what users type.
    source : ONNX file, relative to the data folder; or the function that makes the model, where only speed matters, or
        takes the part of one that has one float32 input.
    input : name of the model's one input, float32 ``[1, ...]``.
    load : ``(data folder, how many samples to evaluate at most) -> Split``.
    """

    name: str
    source: str | Callable[[], onnx.ModelProto]
    input: str
    load: Callable[[Path, int], Split]


def _minilm() -> onnx.ModelProto:
    return encoders.minilm(data_root() / "transformer" / "minilm_l6_v2.onnx")


MODELS: dict[str, Model] = {
    row.name: row
    for row in (
        Model("mobilenetv2", "models/mobilenetv2_fp32.onnx", "input", datasets.imagenet),
        Model("resnet20", "cifar10/resnet20_cifar10_fp32.onnx", "input", datasets.cifar10_normalized),
        Model("resnet8", "mlperf_tiny/ic_resnet8_fp32.onnx", "input", datasets.cifar10_raw),
        Model("kws", "mlperf_tiny/kws_dscnn_fp32.onnx", "input", datasets.keywords),
        Model("mnist", "models/mnist_cnn_fp32.onnx", "Input3", datasets.mnist),
        Model("resnet18", synthetic.resnet18, "input", datasets.random_images),
        Model("resnet50", synthetic.resnet50, "input", datasets.random_images),
        Model("squeezenet", synthetic.squeezenet, "input", datasets.random_images),
        Model("bert", synthetic.bert, "input", datasets.random_tokens),
        Model("minilm", _minilm, encoders.EMBEDDED, datasets.random_embeddings),
    )
}


SUFFIX = ".onnx"
"""End of a name that is a file's."""
NAMES = f"{', '.join(MODELS)}, or ONNX files, which run on random data"
"""What a command's help says of names."""


@dataclass(frozen=True)
class Subject:
    """A model that is on disk, with its data loaded.

    Attributes
    ----------
    model : its row.
    path : the ONNX file.
    data : what it is calibrated and evaluated on.
    """

    model: Model
    path: Path
    data: Split

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input at batch 1."""
        return (1, *self.data.samples.shape[1:])

    @cached_property
    def digest(self) -> str:
        """Hash of the file and of every sample, in hexadecimal."""
        digest = hashlib.sha256(self.path.read_bytes())
        for array in (self.data.calibration, self.data.samples):
            digest.update(array.tobytes())
        return digest.hexdigest()


def data_root() -> Path:
    """Return the folder of models and data: ``TVMQ_DATA``, or ``../shared/data`` beside the repository.

    Raises
    ------
    TvmqError : there is no such folder.
    """
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("TVMQ_DATA", default))
    if not root.is_dir():
        raise TvmqError(
            f"no data folder at {root}; set TVMQ_DATA to the folder that has the models and datasets"
        )
    return root


def check_models(names: Iterable[str]) -> None:
    """Raise ``TvmqError`` for a name that is neither a row's nor that of an ONNX file that is there."""
    for name in names:
        if name.endswith(SUFFIX):
            if not Path(name).is_file():
                raise TvmqError(f"no file {name}")
        elif name not in MODELS:
            raise unknown("model", name, MODELS)


def load_subject(name: str, limit: int) -> Subject:
    """Return the model of that name with its data, at most ``limit`` samples to evaluate on.

    Parameters
    ----------
    name : of a row; or the path of an ONNX file, ``*.onnx``, of one float32 input with static shapes, which gets random
        samples.

    Raises
    ------
    TvmqError : no model has that name, its file is missing, or has other inputs.
    """
    check_models([name])
    if name.endswith(SUFFIX):
        return _from_file(Path(name), limit)
    model = MODELS[name]
    if not isinstance(model.source, str):
        return Subject(model, _made(model.name, model.source), model.load(Path(), limit))
    root = data_root()
    path = root / model.source
    if not path.is_file():
        raise TvmqError(f"model {name!r}: no file {path}")
    return Subject(model, path, model.load(root, limit))


def _from_file(path: Path, limit: int) -> Subject:
    """Return an ONNX file as a subject: good for speed, and for the distance to its float outputs."""
    graph = onnx.load(path, load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    shapes = [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inputs]
    if (
        len(inputs) != 1
        or inputs[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT
        or 0 in shapes[0]
        or shapes[0][:1] != [1]
    ):
        raise TvmqError(f"{path}: expected one float32 input [1, ...] of static shape, found {shapes}")
    model = Model(
        path.stem, str(path), inputs[0].name, lambda _root, limit: datasets.random(shapes[0][1:], limit)
    )
    return Subject(model, path, model.load(Path(), limit))


def _made(name: str, make: Callable[[], onnx.ModelProto]) -> Path:
    """Return the file that has the model, made if the cache has none by the present code."""
    code = hashlib.sha256(Path(inspect.getfile(make)).read_bytes()).hexdigest()[:16]
    return cache.kept(cache.cache_root() / f"{name}-{code}.onnx", lambda aside: onnx.save(make(), aside))
