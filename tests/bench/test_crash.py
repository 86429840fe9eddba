"""A small slice of bench/crash.py: the same campaigns with fewer rows and kills."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from bench import crash

pytestmark = pytest.mark.slow

ROWS = 40


@pytest.fixture
def work() -> Iterator[Any]:
    with crash.workspace(ROWS) as made:
        yield made


def test_kills_at_random_moments(work: Any) -> None:
    assert not (faults := crash.kills(work, 4, random.Random(1))), str(faults)


def test_kills_while_the_target_is_written(work: Any) -> None:
    assert not (faults := crash.write_kills(work, 2, random.Random(1))), str(faults)


def test_a_full_disk(work: Any) -> None:
    assert not (faults := crash.full_disk(work)), str(faults)


def test_two_processes_on_one_job(work: Any) -> None:
    assert not (faults := crash.two_processes(work)), str(faults)


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
def test_a_damaged_database(work: Any, kind: str, how: str | None) -> None:
    ended, faults = crash.damaged(work, kind, random.Random(1))
    assert not faults, str(faults)
    assert how in (None, ended)


def test_missing_rows_are_counted(work: Any) -> None:
    assert work.run().code == 0
    target = work.folder / "out.jsonl"
    first, second, *others = target.read_text(encoding="utf-8").splitlines(keepends=True)
    target.write_text("".join([*others[:-1], first, first]), encoding="utf-8")
    faults = crash.checked(work)
    assert (faults.lost, faults.doubled, faults.unordered) == (2, 1, 1)
    assert second not in target.read_text(encoding="utf-8")
