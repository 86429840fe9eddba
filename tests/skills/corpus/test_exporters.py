"""The formats in which annotations are saved, and the parts of an export that each shows."""

from __future__ import annotations

import io
import json

from page_corpus import annotated, failures

from skills.corpus.exporters import Export
from skills.corpus.options import SAVED_REFERENCES, SAVED_SPANS
from skills.nanda.framework import nanda

ITEMS = [annotated(1), annotated(2)]


def saved(suffix: str) -> str:
    about = {"input": "ferries.csv"}
    export = Export(nanda(), "id", lambda: iter(ITEMS), failures, "Ferries & Tides", about)
    file = io.BytesIO()
    export.writers()[suffix](file)
    return file.getvalue().decode(errors="replace")


def test_every_format_has_both_papers() -> None:
    for suffix in (".jsonl", ".csv", ".json", ".md", ".html", *SAVED_REFERENCES):
        text = saved(suffix)
        assert all(item.paper.title in text for item in ITEMS), suffix
    for suffix in SAVED_SPANS:
        text = saved(suffix)
        assert all(item.paper.id in text for item in ITEMS), suffix


def test_a_page_has_title_facts_and_failures() -> None:
    page = saved(".html")
    assert "Ferries &amp; Tides" in page
    assert "ferries.csv" in page
    assert all(failure.paper.title in page for failure in failures())


def test_json_is_a_list_of_the_records_and_markdown_begins_with_the_title() -> None:
    assert json.loads(saved(".json")) == [item.record for item in ITEMS]
    assert saved(".md").startswith("# Ferries")
