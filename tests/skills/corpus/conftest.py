"""Fixtures of the tests of /corpus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from skills.corpus.db.connection import open_corpus

if TYPE_CHECKING:
    from sqlite_utils import Database


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """Open an empty corpus at `tmp_path / "corpus.db"`."""
    with open_corpus(tmp_path / "corpus.db") as opened:
        yield opened
