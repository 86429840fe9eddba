"""A corpus of one paper that was annotated from a PDF file, for the web application."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import corpus_papers
from pdf_papers import ABSTRACT, LIMITATION, PdfPaper

from skills.nanda.framework import nanda
from skills.nanda.paper import Paper
from skills.nanda.sentences import split_sentences

FIRST, SECOND, *_, LAST = split_sentences(ABSTRACT)
NAME = "paper <b>.pdf"
QUOTED = "We did not test it with papers from the humanities."
"""The limitation, which is stated on the second page."""


def build(folder: Path, pdf: Path | None = None, database: str = "corpus.db") -> Path:
    """Write a corpus whose paper states a claim and a scope, and a limitation in a section.

    Args:
        pdf: the path of the PDF file in the record; by default, a file of three pages is written.
    """
    if pdf is None:
        pdf = write_pdf(folder / NAME)
    source = {"kind": "table", "path": str(pdf), "row": "1"}
    of = Paper("paper_id", "p1", "On shelves", ABSTRACT, source, published="2024-05-17")
    moves = {**dict.fromkeys(nanda().names, "Not stated."), "claim": FIRST, "scope": FIRST}
    made = corpus_papers.annotated(of, **{**moves, "implication": LAST})  # type: ignore[arg-type]
    made.record["provenance"]["input"] = {**source, "sha256": of.sha256}
    section = {"section": "Limitations", "page": 2, "text": QUOTED, "source": QUOTED}
    record = {**made.record, "sections": {"limitation": {**section, "support": 1.0}}}
    return corpus_papers.corpus_of(folder / database, [replace(made, record=record)])


def write_pdf(path: Path) -> Path:
    """Write a paper of three pages; the limitation is on the second one."""
    sections = (("1 Introduction", "Shelves are old."), ("\fLimitations", LIMITATION))
    sections = (*sections, ("\fReferences", "[1] C. Babbage. On shelves. 1840."))
    return PdfPaper(sections=sections, columns=1).write(path)
