"""The table format of a text that has no file name."""

from __future__ import annotations

import pytest

from skills.corpus.tables.text_formats import suffix_of

ONE = "We present Ledger, which books every tool call of an agent."


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ("id,Abstract\n1,We sort.\n", ".csv"),
        ('\ufeff"id";"abstract"\r\n1;"We sort;\r\nfast."\r\n', ".csv"),
        ("sep=;\r\nid;abstract\r\n1;We sort.\r\n", ".csv"),
        ("id\tabstract\n1\tWe sort.\n", ".tsv"),
        ('{"abstract": "We sort."}\n', ".jsonl"),
        ('[\n {"title": "T"}]', ".json"),
        ("\n@article{key,\n", ".bib"),
        ("TY  - JOUR\n", ".ris"),
        ("PMID- 1\n", ".nbib"),
        (f"# Papers\n\n- **One.** {ONE * 9}\n- **Other.** {ONE * 9}\n", ".md"),
        ("# Title\n\nWe sort papers.\n", ""),
        ("1. We sort.\n2. It is fast.\n", ""),
        ("Abstract\nWe sort papers, which is fast.\n", ""),
        ("Zusammenfassung\n\nWe sort.\n", ""),
        ("Title, abstract\nWe sort papers.\n", ""),
        ("We sort papers, and the abstract, by moves.\n", ""),
        ("An abstract\n", ""),
    ],
)
def test_a_text_that_is_a_table_is_recognized(text: str, suffix: str) -> None:
    assert suffix_of(text) == suffix
