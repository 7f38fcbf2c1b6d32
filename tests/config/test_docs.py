"""``docs/config.md`` says what the tables say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tvmq.config.config import read_values
from tvmq.config.docs import options_table, renewed
from tvmq.config.table import OPTIONS, SECTIONS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "config.md").read_text()


def test_the_page_is_up_to_date():
    assert renewed(PAGE) == PAGE, "renew it: python -m tvmq.config.docs docs/config.md"


def test_every_option_is_on_the_page():
    table = options_table()
    for option in OPTIONS:
        assert f"| `{option.key}` | {option.kind.expected} | `{option.flag}`" in table


def test_a_page_without_the_comments():
    with pytest.raises(ValueError, match="has 0 parts 'options'"):
        renewed("")


def test_the_example_on_the_page_is_valid(tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    (tmp_path / "q.toml").write_text(example)
    assert {option.section for option in read_values(tmp_path / "q.toml")} == set(SECTIONS)


def test_what_other_tools_map_to_exists():
    """The second column names keys: those before an equals sign, and single words that are keys."""
    keys = {option.key for option in OPTIONS}
    mapping = PAGE[PAGE.index("## From other tools") :]
    named = set()
    for row in re.findall(r"^\|.*\|$", mapping, re.M):
        cells = row.replace("\\|", "").split("|")
        named |= set(re.findall(r"`(?:\[\w+\] )?(\w+) =", cells[2]))
    assert named and named <= keys
