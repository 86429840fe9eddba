"""A paper of a Zotero library with its PDF file, at a server and on this computer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from corpus_papers import annotated
from pdf_papers import ABSTRACT, LIMITATION, PdfPaper
from pushing import LIBRARY, Pushing, item_key

from skills.corpus.records import Annotated
from skills.nanda.paper import Paper
from skills.nanda.sentences import split_sentences

ATTACHMENT, OTHER = "PDFA2345", "PDFB2345"
FIRST, SECOND, THIRD, LAST = split_sentences(ABSTRACT)


def stored_pdf(folder: Path, key: str = ATTACHMENT, **changed: Any) -> Path:
    """Write a PDF file into Zotero's storage in a folder."""
    path = folder / "storage" / key / "paper.pdf"
    path.parent.mkdir(parents=True)
    return PdfPaper(**changed).write(path)


def of_pdf(source: dict[str, str], *, number: int = 1, **moves: str) -> Annotated:
    """Return the annotation of the paper in `stored_pdf`, without any other moves."""
    place = f"{LIBRARY}/items/{item_key(number)}"
    paper = Paper(
        "id", f"paper-{number}", "Sorting Papers", ABSTRACT, {"kind": "table", "zotero": place}
    )
    paper = replace(paper, source={**paper.source, **source})
    unstated = dict.fromkeys(
        ("claim", "evidence", "method", "scope", "limitation", "comparison", "implication",
         "novelty"), "Not stated."
    )  # fmt: skip
    made = annotated(paper, **{**unstated, **moves})
    record = {**made.record, "confidence": {"claim": 0.91, "method": 0.35}}
    quote = split_sentences(LIMITATION)[-1]
    section = {"section": "Limitations", "page": 1, "text": quote, "source": quote, "support": 1.0}
    record["provenance"]["input"] |= source
    return replace(made, record={**record, "sections": {"limitation": section}})


def in_library(pushing: Pushing, *items: Annotated, **attachment: Any) -> None:
    """Write annotations to the corpus, and an item with a PDF attachment to the server."""
    pushing.annotations(*items)
    stored = {"linkMode": "imported_file", "contentType": "application/pdf"}
    known = {"filename": "paper.pdf", **stored, **attachment}
    pushing.api.add(LIBRARY, ATTACHMENT, itemType="attachment", parentItem=item_key(1), **known)
