"""The corpus of `--demo`, which needs no model: its contents were made by commands once.

The annotations of corpus.jsonl are of `/annotate`, those of versions.jsonl of the same with
`--wording abstractive`. Twelve gold annotations were written for evaluation.json of `/evaluate` and
demo-annotator/ of `/finetune`. The rows of curation.jsonl are of `/curate`. What no page shows is
left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skills.corpus.db import store
from skills.corpus.db.connection import open_corpus, transaction
from skills.corpus.db.papers import save
from skills.corpus.db.rows import insert
from skills.corpus.records import Annotated
from skills.nanda.framework import Framework, nanda
from skills.nanda.paper import Paper

FOLDER = Path(__file__).with_name("demo")
"""Also the folder whose evaluation and training run are compared."""
TITLE = "invented papers to look around in; what you do here is gone when /serve ends"
FILE = FOLDER / "corpus.jsonl"
"""An object per line: a paper, and the record of its annotation."""
VERSIONS = FOLDER / "versions.jsonl"
"""Records of other annotations of some of these papers, which are not current."""
CURATION = FOLDER / "curation.jsonl"
"""An object per line: a table, and the columns of a row."""


def write(path: Path, framework: Framework) -> None:
    """Write the corpus; with a framework other than the built-in one, without annotations."""
    papers: dict[str, Paper] = {}
    with open_corpus(path) as db, transaction(db):
        for given in _lines(FILE):
            known, record = given["paper"], given["record"]
            paper = papers[known["paper_id"]] = Paper(
                "paper_id",
                known["paper_id"],
                known["title"],
                known["abstract"],
                record["provenance"]["input"],
                authors=known["authors"],
                published=known["published"],
                categories=known["categories"],
            )
            if framework.digest == nanda().digest:
                store.save(db, Annotated(paper, record), framework)
            else:
                save(db, paper)
        if framework.digest != nanda().digest:
            return
        for record in _lines(VERSIONS):
            item = Annotated(papers[record["paper_id"]], record)
            store.save(db, item, framework, unless_any=True)
        for row in _lines(CURATION):
            insert(db, row["table"], **row["columns"])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)
