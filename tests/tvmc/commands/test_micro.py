"""``tvmc micro`` is refused."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "words",
    ["", "create project model.tar zephyr --project-option project_type=host_driven", "build project zephyr"],
)
def test_it_is_refused(tvmc, words):
    result = tvmc("micro", *words.split())
    assert result == (
        1,
        "",
        "tvmc: error: tvmc micro: TVM 0.27 has no microTVM; for a C library without TVM see docs/c-static.md\n",
    )


def test_it_is_not_offered(tvmc):
    assert "micro" not in tvmc("--help").out
