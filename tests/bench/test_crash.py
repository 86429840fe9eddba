"""The damages of bench/crash.py; `bench/attack.py --short` runs its other campaigns."""

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


@pytest.mark.parametrize(
    ("kind", "how"),
    [
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
