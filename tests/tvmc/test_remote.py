"""Packages that run on a device behind TVM's RPC, which is this machine."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
from tvm.error import RPCError

import tvmq
from tvmq.errors import TvmqError
from tvmq.runtime import archive
from tvmq.tvmc.remote import RemotePackage

DIGITS = Path(__file__).parents[2] / "examples" / "digits"
IMAGE = np.random.default_rng(0).random((1, 1, 8, 8), np.float32)


def remote(path, host, port, key="board"):
    return RemotePackage(*archive.read(path), str(path), host, port, key)


def test_outputs_are_those_of_this_process(digits_path, tracker):
    expected = tvmq.load(digits_path).run({"image": IMAGE})
    with remote(digits_path, *tracker) as package:
        for _ in range(2):
            outputs = package.run({"image": IMAGE})
            assert list(outputs) == ["scores"]
            np.testing.assert_array_equal(outputs["scores"], expected["scores"])
        times = package.time({"image": IMAGE}, number=2, repeat=3)
        assert len(times) == 3 and min(times) > 0
        with pytest.raises(TvmqError, match="input 'image' has shape"):
            package.run({"image": IMAGE[0]})


def test_several_outputs_and_integers(package_path, tracker):
    inputs = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "n:0": np.array([2])}
    expected = tvmq.load(package_path).run(inputs)
    with remote(package_path, *tracker) as package:
        outputs = package.run(inputs)
    assert list(outputs) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(outputs[name], array)


def test_compressed_weights(tmp_path, tracker):
    path = tmp_path / "packed.tar"
    model = tvmq.quantize(DIGITS / "digits.onnx", "weight-only")
    tvmq.compile(model).export(path)
    expected = tvmq.load(path).run({"image": IMAGE})["scores"]
    with remote(path, *tracker) as package:
        np.testing.assert_array_equal(package.run({"image": IMAGE})["scores"], expected)


def test_addresses_without_a_device(digits_path, tracker):
    with pytest.raises(TvmqError, match="has no device 'other'; it has board"):
        remote(digits_path, *tracker, "other")
    with pytest.raises(TvmqError, match="no RPC server answers at .*; a tracker needs --rpc-key") as error:
        remote(digits_path, *tracker, None)
    assert "Check failed" not in str(error.value)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(TvmqError, match=f"no RPC server answers at 127.0.0.1:{port}"):
            remote(digits_path, "127.0.0.1", port, None)
        with pytest.raises(TvmqError, match=f"no RPC tracker answers at 127.0.0.1:{port}"):
            remote(digits_path, "127.0.0.1", port)


def test_a_package_for_another_machine(digits_path, tracker):
    metadata, library = archive.read(digits_path)
    message = f"is {metadata['arch']}, and the target is riscv64"
    with pytest.raises(TvmqError, match=message):
        RemotePackage({**metadata, "arch": "riscv64"}, library, "a.tar", *tracker, "board")


def test_a_device_that_fails(digits_path, tracker):
    with remote(digits_path, *tracker) as package:

        def fail(*_):
            raise RPCError("Traceback\nits program died")

        def lose(*_):
            raise RuntimeError("kShutdown")

        package._set = fail
        with pytest.raises(TvmqError, match="^the device at 127.0.0.1:.* failed: its program died$"):
            package.run({"image": IMAGE})
        package._set = lose
        with pytest.raises(TvmqError, match="^the connection to the device at 127.0.0.1:.* was lost$"):
            package.time({"image": IMAGE})


def test_a_package_that_the_device_cannot_load(tmp_path, digits_path, tracker):
    metadata, _ = archive.read(digits_path)
    with pytest.raises(TvmqError, match="cannot load a.tar, which is for .* with .*"):
        RemotePackage({**metadata, "cpu_features": ["avx10"]}, b"no library", "a.tar", *tracker, "board")
