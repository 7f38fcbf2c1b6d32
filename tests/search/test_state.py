"""Measurements in a file: what has been measured once is not measured again."""

from __future__ import annotations

import json

import pytest

from tvmq.errors import TvmqError
from tvmq.search.state import SearchState


def _fail():
    raise AssertionError("measured again")


def test_a_search_goes_on_where_it_was(tmp_path):
    path = tmp_path / "search.json"
    state = SearchState(path, "model")
    assert state.measure("a", lambda: 1.5) == 1.5
    with pytest.raises(KeyboardInterrupt):
        state.measure("b", _interrupted)
    again = SearchState(path, "model")
    assert again.measure("a", _fail) == 1.5
    assert again.measure("b", lambda: 2) == 2.0
    assert json.loads(path.read_text())["measurements"] == {"a": 1.5, "b": 2.0}
    assert [file.name for file in tmp_path.iterdir()] == ["search.json"]


def _interrupted():
    raise KeyboardInterrupt


def test_without_a_file_it_remembers_too():
    state = SearchState(None, "model")
    state.measure("a", lambda: 1)
    assert state.measure("a", _fail) == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "is no search state of version 1"),
        ('{"format": "tvmq-search", "version": 2}', "is no search state of version 1"),
        ('{"format": "tvmq-search", "version": 1, "model": "other"}', "is of another model"),
        (
            '{"format": "tvmq-search", "version": 1, "model": "model", "measurements": {"a": "x"}}',
            "is damaged: its measurements must be numbers",
        ),
    ],
)
def test_files_that_cannot_be_read(tmp_path, text, message):
    path = tmp_path / "search.json"
    path.write_text(text)
    with pytest.raises(TvmqError, match=message):
        SearchState(path, "model")
    assert path.read_text() == text


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(TvmqError, match="cannot be written"):
        SearchState(tmp_path / "nowhere" / "search.json", "model").measure("a", lambda: 1)
