"""The functions of bench/text.py on hostile texts, under a limit that only quadratic ones exceed.

No time is compared: a linear function takes a small part of the limit, and a quadratic one would
take minutes.
"""

from __future__ import annotations

import importlib.util
import os
import resource
from types import ModuleType

import pytest

from harness.settings import CODE_ROOT

CHARACTERS = 100_000
CPU_SECONDS = 30
"""For all shapes together; the slowest function takes about 2 s."""


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
            resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
            for shape in BENCH.SHAPES.values():
                BENCH.called(BENCH.FUNCTIONS[name], shape(CHARACTERS))
            code = 0
        finally:
            os._exit(code)  # the copy must not run the other tests
    _, status = os.waitpid(child, 0)
    assert status == 0, (
        f"signal {os.WTERMSIG(status)}, exit code {os.waitstatus_to_exitcode(status)}"
    )
