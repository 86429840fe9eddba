"""The functions of bench/text.py on hostile texts, under a limit that only quadratic ones exceed.

No time is compared: a linear function takes a small part of the limit, and a quadratic one would
take minutes.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import time
from types import ModuleType

import pytest

from harness.settings import CODE_ROOT

CHARACTERS = 200_000
CPU_SECONDS = 15
"""For one text; the slowest takes about 2 s."""
SHAPES = (
    *("dots", "blanks", "line feeds", "one word", "quotes", "digits", "parentheses"),
    *("compounds", "abbreviations", "mixed"),
)


def _loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("text", CODE_ROOT / "bench" / "text.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BENCH = _loaded()


@pytest.mark.parametrize("name", BENCH.FUNCTIONS)
def test_a_hostile_text_is_read_in_time(name: str) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for shape in SHAPES:
                limit = int(time.process_time()) + CPU_SECONDS
                resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
                BENCH.called(BENCH.FUNCTIONS[name], BENCH.SHAPES[shape](CHARACTERS))
            code = 0
        finally:
            os._exit(code)  # the copy must not run the other tests
    _, status = os.waitpid(child, 0)
    assert status == 0, (
        f"signal {os.WTERMSIG(status)}, exit code {os.waitstatus_to_exitcode(status)}"
    )
