"""The streams of programs that serve a client on stdin and stdout."""

from __future__ import annotations

import io
import sys

import pytest
from pseudo_terminal import pseudo_terminal

from harness.terminal import streams


def test_a_client_is_served_although_stderr_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed = io.StringIO()
    closed.close()
    with pseudo_terminal(80) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal.stream)
        monkeypatch.setattr(sys, "stderr", closed)
        assert streams.for_client("a client", "docs/mcp.md") is streams.results()
