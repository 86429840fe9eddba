"""A small slice of bench/crash.py: the same campaigns with fewer rows and kills."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from harness.settings import CODE_ROOT

ROWS = 40


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("crash", CODE_ROOT / "bench" / "crash.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    sys.modules["crash"] = module  # its dataclasses look up their module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["crash"]
    sys.path[:] = before


@pytest.fixture
def work(bench: ModuleType) -> Iterator[Any]:
    with bench.workspace(ROWS) as made:
        yield made


def test_kills_at_random_moments(bench: ModuleType, work: Any) -> None:
    assert not (faults := bench.kills(work, 4, random.Random(1))), str(faults)


def test_kills_while_the_target_is_written(bench: ModuleType, work: Any) -> None:
    assert not (faults := bench.write_kills(work, 2, random.Random(1))), str(faults)


def test_a_full_disk(bench: ModuleType, work: Any) -> None:
    assert not (faults := bench.full_disk(work)), str(faults)


def test_two_processes_on_one_job(bench: ModuleType, work: Any) -> None:
    assert not (faults := bench.two_processes(work)), str(faults)


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("truncated", "refused, set aside, completed"),
        ("emptied", "completed"),
        ("zero header", "refused, set aside, completed"),
        ("flipped bytes", None),
        ("zeroed pages", None),
        ("-wal removed", "completed"),
    ],
)
def test_a_damaged_database(bench: ModuleType, work: Any, kind: str, how: str | None) -> None:
    ended, faults = bench.damaged(work, kind, random.Random(1))
    assert not faults, str(faults)
    assert how in (None, ended)


def test_missing_rows_are_counted(bench: ModuleType, work: Any) -> None:
    assert work.run().code == 0
    target = work.folder / "out.jsonl"
    first, second, *others = target.read_text(encoding="utf-8").splitlines(keepends=True)
    target.write_text("".join([*others[:-1], first, first]), encoding="utf-8")
    faults = bench.checked(work)
    assert (faults.lost, faults.doubled, faults.unordered) == (2, 1, 1)
    assert second not in target.read_text(encoding="utf-8")
