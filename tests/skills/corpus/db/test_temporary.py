"""Temporary databases."""

from __future__ import annotations

from contextlib import closing

import pytest

from harness.errors import OutputError
from skills.corpus.db.temporary import open_temporary


def test_a_full_disk_is_reported_with_another_folder() -> None:
    with closing(open_temporary("CREATE TABLE texts (text TEXT)")) as db:
        db.execute("PRAGMA max_page_count = 4")
        with pytest.raises(OutputError, match="disk is full") as caught:
            db.execute("INSERT INTO texts VALUES (?)", ["long" * 10_000])
    assert "SQLITE_TMPDIR" in caught.value.hint
