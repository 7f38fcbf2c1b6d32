"""Progress bars on terminals, and messages between them."""

from __future__ import annotations

import fcntl
import logging
import os
import pty
import select
import struct
import sys
import termios

import pytest

from tvmq.tvmc.progress import NotesAboveBars, progress


@pytest.fixture
def terminal(monkeypatch):
    """Make standard error a terminal of so many columns; return a function that gives what it was sent."""
    ours, theirs = pty.openpty()

    def sent():
        parts = b""
        while select.select([ours], [], [], 0.1)[0]:
            parts += os.read(ours, 10_000)
        return parts.decode()

    with open(theirs, "w") as stream:

        def of(columns):
            monkeypatch.setattr(sys, "stderr", stream)  # pytest sets its own before the test is called
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))
            return sent

        yield of
    os.close(ours)


@pytest.mark.parametrize("columns", [0, 40, 120])
def test_a_bar_fits_the_terminal_or_80_columns(terminal, columns):
    sent = terminal(columns)
    with progress("calibrate", 3) as bar:
        bar.update(2)
        bar.refresh()
        states = [state for state in sent().split("\r") if "2/3" in state]
    assert states[-1].startswith("calibrate:  67%")
    assert len(states[-1]) <= (columns or 80)


def test_a_note_does_not_break_a_bar(terminal):
    sent = terminal(60)
    handler = NotesAboveBars(sys.stderr)
    with progress("calibrate", 3) as bar:
        bar.update(1)
        sent()
        handler.emit(logging.makeLogRecord({"msg": "tvmc: note: skipped"}))
        cleared, note, *shown = [part for part in sent().split("\r") if part]
    assert cleared.isspace()
    assert note == "tvmc: note: skipped"
    assert "calibrate:  33%" in shown[-1]
