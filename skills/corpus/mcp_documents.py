"""Provide the papers of the user's corpus as documents of the MCP server."""

from __future__ import annotations

import json
from collections.abc import Sequence

from harness.api.skill import Document
from harness.errors import NothingFound
from harness.settings import Settings
from skills.corpus.db import reads
from skills.corpus.db.connection import default_path, open_corpus


def listed(settings: Settings, after: str, most: int) -> Sequence[Document]:
    """Return the next papers of the list of documents; none if there is no corpus.

    Args:
        after: the key of the last document of the previous page, or "".
        most: maximum number of documents.
    """
    path = default_path(settings)
    if not path.is_file():
        return ()
    with open_corpus(path, must_exist=True) as db:
        rows = reads.listed(db, int(after or 0), most)
    return [
        Document(
            str(row["id"]),
            row["title"] or row["source_id"],
            ", ".join(filter(None, (row["source_id"], str(row["year"] or "")))),
        )
        for row in rows
    ]


def read(settings: Settings, key: str) -> str:
    """Return a paper with its annotations as JSON.

    Args:
        key: the row id of the paper.

    Raises:
        NothingFound: there is no paper with this key.
        InputError: there is no corpus.
    """
    with open_corpus(default_path(settings), must_exist=True) as db:
        is_number = key.isascii() and key.isdigit() and len(key) < 19
        found = reads.numbered(db, int(key)) if is_number else None
    if found is None:
        raise NothingFound(f"the corpus has no paper {key[:60]!r}")
    return json.dumps(found.details().model_dump(), ensure_ascii=False, indent=2, default=str)
