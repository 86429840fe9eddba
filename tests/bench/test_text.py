"""The functions of bench/text.py on hostile texts, under a limit that only quadratic ones exceed.

No time is compared: a linear function takes a small part of the limit, and a quadratic one would
take half a minute.
"""

from __future__ import annotations

import os
import resource
import time

import pytest

from bench import text

pytestmark = pytest.mark.slow

CHARACTERS = 60_000
CPU_SECONDS = 6
"""CPU seconds for one text; the slowest function takes about 0.6 s."""
SHAPES = (
    *("dots", "blanks", "line feeds", "one word", "quotes", "digits", "parentheses"),
    *("compounds", "abbreviations", "superscripts", "closing", "mixed"),
)


@pytest.mark.parametrize("name", text.FUNCTIONS)
def test_a_hostile_text_is_read_in_time(name: str) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for shape in SHAPES:
                limit = int(time.process_time()) + CPU_SECONDS
                resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
                text.called(text.FUNCTIONS[name], text.SHAPES[shape](CHARACTERS))
            code = 0
        finally:
            os._exit(code)  # the fork must not run other tests
    _, status = os.waitpid(child, 0)
    assert status == 0, (
        f"signal {os.WTERMSIG(status)}, exit code {os.waitstatus_to_exitcode(status)}"
    )
