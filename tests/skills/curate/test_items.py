"""The annotations of the corpus as rows to judge."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from corpus_papers import annotated, paper
from curate_workspace import row

from skills.corpus.db import store
from skills.corpus.db.connection import open_corpus
from skills.corpus.records import Annotated
from skills.corpus.tables.columns import Columns
from skills.curate import items
from skills.nanda.framework import nanda


def test_a_row_of_the_corpus_has_the_objects_of_its_annotation(tmp_path: Path) -> None:
    made = annotated(paper(1), claim="It finds faults in plans.")
    anchor = {"sentences": [3], "spans": [[39, 58]], "by": "model"}
    record = {**made.record, "confidence": {"claim": 0.75}}
    record["anchors"] = {**record["anchors"], "claim": anchor}
    with open_corpus(tmp_path / "corpus.db") as db:
        store.save(db, Annotated(made.paper, record), nanda())
        [item] = items.from_corpus(db, nanda(), None).items
    assert item.entry is not None
    assert item.entry.provenance == record["provenance"]
    assert item.entry.anchors == record["anchors"]
    assert item.entry.confidence == {"claim": 0.75}


def test_a_folder_of_parquet_files_is_a_table(tmp_path: Path) -> None:
    for number in (1, 2):
        path = tmp_path / "parts" / f"{number}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist([row(number)]), path)
    with open_corpus(tmp_path / "corpus.db") as db:
        found = items.from_table(db, tmp_path / "parts", Columns(), nanda(), None)
    assert [item.paper.id for item in found.items] == ["2401.00001", "2401.00002"]
