"""Powers are those of NumPy, and nothing is said about them."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax

from tvmq.passes.hub.power import legalize_power


@pytest.mark.parametrize("exponent", [3.0, [0.5, 2.0, -1.0]])
def test_power(exponent, capfd):
    exponent = np.array(exponent, np.float32)
    x = relax.Var("x", relax.TensorType((2, 3), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        builder.emit_func_output(builder.emit(relax.op.power(x, relax.const(exponent))))
    mod = relax.transform.LegalizeOps({"relax.power": legalize_power})(builder.get())
    main = relax.VirtualMachine(tvm.compile(mod, target="llvm"), tvm.cpu())["main"]
    values = np.array([[0.5, 2.0, 3.0], [1.0, 1.5, 0.25]], np.float32)
    # powf is good to an ulp or two.
    np.testing.assert_allclose(main(tvm.runtime.tensor(values)).numpy(), values**exponent, rtol=4 * 2.0**-24)
    assert capfd.readouterr() == ("", "")
