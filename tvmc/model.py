"""What the Python functions of ``tvmc`` pass on: a model that was loaded, and a package that was compiled."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import TvmqError
from ..runtime import archive
from .files import replacing

if TYPE_CHECKING:
    import tvm

    from ..runtime.package import Package

_GRAPH = "model.json"
_RECORDS = "tuning_records"
_PACKAGE = "model_package.tar"


class TVMCModel:
    """A model as a Relax module, with a folder for what is made of it.

    Parameters
    ----------
    mod : the module; that of ``tvmq.quantize(...).mod`` too, whose operators are compiled to integers.
    params : arrays for parameters of ``main``, by name.
    model_path : a file that ``save`` wrote, in place of the two.

    Raises
    ------
    TvmqError : neither a module nor a path; or the file is none that ``save`` wrote.
    """

    def __init__(
        self,
        mod: tvm.IRModule | None = None,
        params: Mapping[str, Any] | None = None,
        model_path: str | os.PathLike[str] | None = None,
    ) -> None:
        if mod is None and model_path is None:
            raise TvmqError("a TVMCModel needs a module, or the path of a saved one")
        self._folder = tempfile.TemporaryDirectory(prefix="tvmq-model-")
        self.params: dict[str, Any] = dict(params or {})
        if model_path is not None:
            self.load(model_path)
        else:
            self.mod = _bound(mod, self.params)

    def save(self, model_path: str | os.PathLike[str]) -> None:
        """Write the model to one file, with the tuning records and the package that were made of it.

        Raises
        ------
        TvmqError : the file cannot be written.
        """
        import tvm

        records, package = Path(self.default_tuning_records_path()), Path(self.default_package_path())
        graph = tvm.ir.save_json(self.mod).encode()
        member = tarfile.TarInfo(_GRAPH)
        member.size = len(graph)
        with replacing(Path(model_path)) as temporary, tarfile.open(temporary, "w") as file:
            file.addfile(member, io.BytesIO(graph))
            if records.is_dir():
                file.add(records, _RECORDS)
            if package.is_file():
                file.add(package, _PACKAGE)

    def load(self, model_path: str | os.PathLike[str]) -> None:
        """Read what ``save`` wrote; raises ``TvmqError`` where it is something else."""
        import tvm

        from ..schedules.records import MANIFEST, RECORDS, WORKLOADS

        try:
            with archive.opened(model_path) as file:
                self.mod = tvm.ir.load_json(archive.content_of(file, _GRAPH).decode())
                kept = {_PACKAGE, *(f"{_RECORDS}/{name}" for name in (WORKLOADS, RECORDS, MANIFEST))}
                for name in file.getnames():
                    if name in kept:
                        path = Path(self._folder.name, name)
                        path.parent.mkdir(exist_ok=True)
                        path.write_bytes(archive.content_of(file, name))
        except OSError as error:
            raise TvmqError(f"cannot read {str(model_path)!r}: {error.strerror or error}") from error
        except (tarfile.TarError, AttributeError, KeyError, RuntimeError, ValueError) as error:
            raise TvmqError(f"{str(model_path)!r} is no saved TVMCModel") from error

    def summary(self, file: TextIO | None = None) -> None:
        """Print the module."""
        print(self.mod, file=file)

    def default_tuning_records_path(self) -> str:
        """Return the folder where ``tvmc.tune`` puts its records unless told another; ``save`` keeps them."""
        return str(Path(self._folder.name, _RECORDS))

    def default_package_path(self) -> str:
        """Return the file that ``tvmc.compile`` writes unless told another; ``save`` keeps it."""
        return str(Path(self._folder.name, _PACKAGE))


class TVMCPackage:
    """A compiled model, for any machine.

    Parameters
    ----------
    package_path : the file that ``tvmc.compile`` or ``tvmc compile`` wrote.

    Attributes
    ----------
    metadata : what it says of itself; see ``docs/package-format.md``.
    library : its code and weights, a shared library.

    Raises
    ------
    TvmqError : the file is missing, or no package.
    """

    def __init__(self, package_path: str | os.PathLike[str]) -> None:
        self.package_path = str(package_path)
        self.metadata, self.library = archive.read(package_path)

    @cached_property
    def loaded(self) -> Package:
        """The package as ``tvmq.load`` gives it; it must be for this machine to run."""
        from ..runtime.package import Package

        return Package(self.library, self.metadata, self.package_path)


def _bound(mod: tvm.IRModule, params: Mapping[str, Any]) -> tvm.IRModule:
    """Return the module with the arrays as constants in place of parameters."""
    if not params:
        return mod
    from tvm import relax

    return relax.transform.BindParams("main", dict(params))(mod)
