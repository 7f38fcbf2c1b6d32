"""A line for each kind of flag that was given; refusals."""

from __future__ import annotations

import argparse

import pytest

from tvmq.errors import TvmqError
from tvmq.tvmc.old.flags import OldFlag, add_old_flags, say

FLAGS = (
    OldFlag("--engine", "there is one", same=("v8",), refused={"steam": "no coal"}),
    OldFlag("--wheels", "as many as it has", {"type": int}, keyword="wheel_count"),
    OldFlag("--spare-wheels", "as many as it has", {"nargs": "+"}),
    OldFlag("--horn", refused={"*": "too loud"}),
    OldFlag("--roof", "open", {"action": "store_true"}),
)


@pytest.fixture
def parse():
    parser = argparse.ArgumentParser()
    add_old_flags(parser, FLAGS)
    return lambda *words: vars(parser.parse_args(words))


def test_nothing_given_nothing_said(parse, caplog):
    say(FLAGS, parse())
    say(FLAGS, {"engine": "", "roof": False, "spare_wheels": [], "wheels": None})
    assert caplog.messages == []


def test_a_line_for_each_kind(parse, caplog):
    say(FLAGS, parse("--engine", "v6", "--wheels", "4", "--spare-wheels", "1", "2", "--roof"))
    assert caplog.messages == [
        "--engine v6: there is one",
        "--wheels 4, --spare-wheels 1 2: as many as it has",
        "--roof: open",
    ]


def test_what_happens_anyway_is_not_said(parse, caplog):
    say(FLAGS, parse("--engine", "v8"))
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--engine", "steam"], "--engine steam: no coal"), (["--horn", "1"], "--horn 1: too loud")],
)
def test_refusals(parse, words, message):
    with pytest.raises(TvmqError, match=f"^{message}$"):
        say(FLAGS, parse(*words))


def test_keywords(caplog):
    say(FLAGS, {"engine": "v6", "wheel_count": 4, "wheels": 5}, keywords=True)
    assert caplog.messages == ["engine: there is one", "wheel_count: as many as it has"]
