"""Tables of text and figures at the widths of terminals and of pipes."""

from __future__ import annotations

import re
import sys

import pytest

from tvmq.tvmc.tables import print_table

COLUMNS = ("layer", ">SQNR, dB", ">cosine", "why")
ROWS = [("/a/rather/long/name/of/a/layer", 41.5, 0.99999, "no integer form of this operator")]


@pytest.fixture
def lines(capsys, monkeypatch):
    """Give ``print_table`` as a function that returns the lines, blanks squeezed; no width is a pipe."""

    def call(width, columns=COLUMNS, rows=ROWS):
        if width is not None:
            monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
            monkeypatch.setenv("COLUMNS", str(width))
        print_table("Title", columns, rows)
        shown = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).splitlines()
        table = [line for line in shown if "no room for" not in line]
        assert width is None or all(len(line) <= width for line in table)
        return [" ".join(line.split()) for line in shown]

    return call


def test_a_pipe_has_each_row_in_one_line(lines):
    long = "x" * 300
    shown = lines(None, rows=[(long, 41.5, 0.99999, "why")])
    assert shown[0] == "Title"
    assert shown[1] == "layer SQNR, dB cosine why"
    assert shown[3:] == [f"{long} 41.5 0.99999 why", ""]


def test_text_wraps_before_figures_give_way(lines):
    shown = lines(80)
    assert shown[1] == "layer SQNR, dB cosine why"
    assert shown[3] == "/a/rather/long/name/of/a/la 41.5 0.99999 no integer form of this"
    assert not any("no room for" in line for line in shown)


def test_the_last_figures_give_way_and_that_is_said(lines):
    shown = lines(64)
    assert shown[1] == "layer SQNR, dB why"
    assert "0.99999" not in " ".join(shown)
    assert shown[-2] == "no room for: cosine (a wider terminal has it, and a pipe)"


def test_a_figure_that_fits_behind_one_that_does_not_is_left_out_too(lines):
    shown = lines(60, (">" + "wide" * 15, ">small"), [(1, 2)])
    assert shown[-2] == f"no room for: {'wide' * 15}, small (a wider terminal has it, and a pipe)"


def test_a_table_of_text_alone_is_never_cut(lines):
    shown = lines(40, ("", ""), [("CPU features", "avx, " * 20)])
    assert shown[0] == "Title"
    assert " ".join(shown).count("avx") == 20
