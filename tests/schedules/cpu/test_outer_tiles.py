"""How sums of outer products are cut."""

from __future__ import annotations

import pytest
from tvm import tirx
from tvm.sym import Analyzer

from tvmq.schedules.cpu.outer_tiles import Vectors, tile_of


@pytest.mark.parametrize("width", [1, 3, 7, 8, 9, 10, 24, 31, 33])
def test_vectors_cover_every_column_and_pass_no_end(width):
    vectors = Vectors.of(width, 8)
    seen: dict[int, int] = {}
    for vector in range(vectors.count):
        first = vectors.first_column(vector)
        assert 0 <= first <= width - vectors.lanes
        # Of a column that two vectors have, the last counts.
        seen |= {first + lane: vector * vectors.lanes + lane for lane in range(vectors.lanes)}
    assert sorted(seen) == list(range(width))
    for column in range(width):
        place = int(Analyzer().simplify(vectors.place_of(tirx.const(column, "int32"))))
        assert 0 <= place < vectors.stored
        assert vectors.first_column(place // vectors.lanes) + place % vectors.lanes == column


@pytest.mark.parametrize("width", [3, 10, 24, 33, 96])
@pytest.mark.parametrize("together", [1, 2, 3])
def test_groups_of_vectors_repeat_no_lane(width, together):
    vectors = Vectors.of(width, 8)
    whole, left = vectors.groups(together)
    assert [*range(whole * together), *left] == list(range(vectors.count))
    assert whole * together * vectors.lanes <= width
    assert len(left) <= together


@pytest.mark.parametrize(
    ("extent", "vectors", "registers", "tile"),
    [(96, 12, 16, (6, 2)), (32, 3, 16, (4, 3)), (320, 160, 32, (14, 2)), (1, 1, 16, (1, 1))],
)
def test_tiles_fill_the_registers(extent, vectors, registers, tile):
    found = tile_of(extent, vectors, registers)
    assert found.rows * found.together + found.together + 1 <= registers
    assert (found.rows, found.together) == tile
