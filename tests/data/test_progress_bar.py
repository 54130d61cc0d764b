"""Progress of a download on a terminal."""

from __future__ import annotations

import io
import sys

import pytest

from inrbench.data.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar_with_the_name_and_the_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress("file.bin", 2000) as shown:
        shown.note("http://first: HTTP 404")
        shown.at(2000)
    assert "file.bin" in terminal.getvalue()
    assert "2.0/2.0 kB" in terminal.getvalue()
    assert "http://first: HTTP 404" in terminal.getvalue()
