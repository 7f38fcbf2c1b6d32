"""MetaSchedule's cost model, without its start-up cost.

``TuneContext`` imports ``tvm.s_tir.tensor_intrin``, which parses hundreds of intrinsics for 18 to 40 s. No kernel here
uses one of them, so while a context is made an empty module stands in its place.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType

import numpy as np
import tvm
from tvm.s_tir import meta_schedule
from tvm.s_tir.meta_schedule.arg_info import ArgInfo
from tvm.s_tir.meta_schedule.cost_model.xgb_model import XGBConfig, XGBModel
from tvm.s_tir.meta_schedule.runner import RunnerResult
from tvm.s_tir.meta_schedule.search_strategy import MeasureCandidate

from ..errors import TvmqError
from ..targets.row import TargetRow
from .candidates import Candidate
from .gpu_features import KernelFeatures

WARM_UP = 16
"""Measurements before the model predicts; until then the order is random."""

_INTRINSICS = "tvm.s_tir.tensor_intrin"


class CostModel:
    """Predicts which schedules are fast, from those that were measured, of all kernels together."""

    def __init__(self, target: tvm.target.Target, row: TargetRow) -> None:
        try:
            import xgboost  # noqa: F401
        except ImportError:
            raise TvmqError(
                'tuning needs xgboost, which is not installed: pip install "tvmq[tune]"'
            ) from None
        self._target = target
        # One thread: on so little data more of them wait for each other, a hundred times longer on a busy machine.
        self._model = XGBModel(
            config=XGBConfig(nthread=1),
            extractor="per-store-feature" if row.gpu is None else KernelFeatures(row.gpu),
            num_warmup_samples=WARM_UP,
            verbose_eval=0,
        )

    def context(self, workload: tvm.IRModule) -> meta_schedule.TuneContext:
        """Return the context of one kernel, which the other methods need."""
        with _without_stock_intrinsics():
            return meta_schedule.TuneContext(workload, target=self._target, num_threads=1)

    def predict(self, context: meta_schedule.TuneContext, candidates: Sequence[Candidate]) -> np.ndarray:
        """Return a score for each candidate, higher for a faster one."""
        return self._model.predict(context, [_measured(candidate) for candidate in candidates])

    def learn(
        self,
        context: meta_schedule.TuneContext,
        candidates: Sequence[Candidate],
        seconds: Sequence[float | None],
    ) -> None:
        """Take in measured times; None is a schedule that did not run."""
        results = [
            RunnerResult(None, "failed") if time is None else RunnerResult([time], None) for time in seconds
        ]
        self._model.update(context, [_measured(candidate) for candidate in candidates], results)


def _measured(candidate: Candidate) -> MeasureCandidate:
    return MeasureCandidate(candidate.seen, ArgInfo.from_prim_func(candidate.function))


@contextlib.contextmanager
def _without_stock_intrinsics() -> Iterator[None]:
    if _INTRINSICS in sys.modules:
        yield
        return
    sys.modules[_INTRINSICS] = ModuleType(_INTRINSICS)
    try:
        yield
    finally:
        del sys.modules[_INTRINSICS]
