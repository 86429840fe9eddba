"""A corpus database of the invented papers of page_corpus.py, for the web application."""

from __future__ import annotations

from pathlib import Path

import corpus_papers
import page_corpus

from skills.corpus.db import store
from skills.corpus.db.connection import open_corpus
from skills.corpus.db.papers import save
from skills.corpus.db.reads import REVIEWED, PulledHighlight, store_highlights
from skills.corpus.records import Annotated
from skills.nanda.framework import nanda

PAPERS = 120
HOSTILE = 7
"""The paper whose texts are hostile."""
TWICE = 5
"""The paper that two models have annotated."""


def annotated(number: int, model: str = "", **moves: str) -> Annotated:
    """Return an annotation of an invented paper, with all that the database stores."""
    one = page_corpus.annotated(number)
    given = {name: one.record[name] for name in nanda().names}
    resolved = one.record["provenance"]["resolved"]
    return corpus_papers.annotated(one.paper, model or resolved, **{**given, **moves})


def build(path: Path) -> Path:
    """Write the corpus: `PAPERS` with annotations, one that failed, one that was never tried."""
    hostile = page_corpus.HOSTILE
    items = [annotated(number) for number in range(1, PAPERS + 1)]
    paper = page_corpus.annotated(
        HOSTILE, title=f"Title {hostile}", abstract=f"{hostile} We present it. It is {hostile}"
    ).paper
    moves = {name: f"{name} {hostile}" for name in nanda().names}
    items[HOSTILE - 1] = corpus_papers.annotated(paper, f"model {hostile}", **moves)
    items.insert(TWICE - 1, annotated(TWICE, "earlier", claim="Keeper5 plans how Ferries drift."))
    corpus_papers.corpus_of(path, items)
    with open_corpus(path) as db:
        failed = page_corpus.failures()[0]
        store.fail(db, failed, "k" * 64, request={})
        save(db, page_corpus.annotated(PAPERS + 1).paper)
        marks = [
            highlight("MINE2345", text=f"A passage {hostile}", comment=hostile),
            highlight("MINE2346", kind="deleted", attachment="", tags='["nanda:scope"]'),
            highlight("MINE2347", kind="note", comment="Read it again.", author="", page=""),
            highlight("ITEM2345", kind=REVIEWED, attachment="", page=""),
        ]
        store_highlights(db, "groups/77", [(HOSTILE, mark) for mark in marks])
    return path


def highlight(key: str, **changed: str) -> PulledHighlight:
    """Return a highlight of a person in Zotero."""
    texts = {"kind": "highlight", "attachment": "PDFA2345", "tags": '["Evidence"]', **changed}
    texts = {"text": "", "comment": "", "author": "ada", "page": "3", **texts}
    more = {"library": "groups/77", "version": 1, "sort": key, "chosen": True}
    return PulledHighlight(key=key, **{**more, **texts})  # type: ignore[arg-type]
