"""An encoder without its embeddings computes what the whole one does behind them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from tvmq.bench.encoders import EMBEDDED, EMBEDDINGS, minilm
from tvmq.errors import TvmqError


def test_the_same_behind_the_embeddings(data_dir):
    path = data_dir / "transformer" / "minilm_l6_v2.onnx"
    if not path.is_file():
        pytest.skip("no MiniLM")
    whole = onnx.load(path)
    whole.graph.output.append(helper.make_tensor_value_info(EMBEDDED, TensorProto.FLOAT, None))
    tokens = EMBEDDINGS[0]
    words = np.random.default_rng(0).integers(0, 1000, (1, tokens))
    feeds = {"input_ids": words, "attention_mask": np.ones((1, tokens), np.int64)}
    sentence, embedded = ReferenceEvaluator(whole).run(None, feeds)
    (found,) = ReferenceEvaluator(minilm(path)).run(None, {EMBEDDED: embedded})
    np.testing.assert_allclose(found, sentence, atol=1e-5)


def test_a_missing_file(tmp_path):
    with pytest.raises(TvmqError, match="no file"):
        minilm(tmp_path / "none.onnx")
