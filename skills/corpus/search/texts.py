"""Search texts that are not in the corpus as its full-text indexes are searched."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing

from skills.corpus.db.schema.migrations import TOKENIZER
from skills.corpus.search.query_syntax import all_of, tokens


def keys_with(texts: Iterable[tuple[str, str, str]], words: str) -> set[str]:
    """Return the keys of the texts that contain all words and phrases.

    Args:
        texts: the key, a title and the text of each; several may have one key.

    Raises:
        InputError: `words` is empty.
    """
    match = all_of(tokens(words))
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute(
            "CREATE VIRTUAL TABLE texts USING fts5"
            f""" (key UNINDEXED, title, text, tokenize="{TOKENIZER}")"""
        )
        db.executemany("INSERT INTO texts VALUES (?, ?, ?)", texts)
        return {key for (key,) in db.execute("SELECT key FROM texts(?)", [match])}
