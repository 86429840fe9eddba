"""Write the passages of the moves as spans of the abstract, for annotation tools.

The formats are W3C Web Annotation (JSON-LD), tasks of Label Studio with predictions, and records of
Argilla with suggestions. Offsets count Unicode characters of the stored abstract.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import quote

from harness._version import __version__
from skills.corpus.records import Annotated
from skills.corpus.tables.saved_tables import write_json_list
from skills.nanda.anchors import read_anchors
from skills.nanda.confidence import confidence_of
from skills.nanda.framework import Framework
from skills.nanda.paper import page_address
from skills.nanda.text import flatten

CONTEXT = 32
"""Maximum length of the prefix and of the suffix in a TextQuoteSelector, in characters."""
FIELD, QUESTION = "text", "move"
"""The names of the text field and of the set of labels, in Label Studio and Argilla."""
_NAMES = uuid.UUID("6c1c1ad0-5d0e-5d0c-9b4b-6e616e646121")
"""The UUID namespace of the ids of W3C annotations and annotation pages."""


class Span(NamedTuple):
    """A passage of the abstract that states a move.

    Attributes:
        start: offset of the first character.
        end: offset after the last character.
        confidence: the confidence of the move, or None.
    """

    move: str
    start: int
    end: int
    confidence: float | None


def spans_of(item: Annotated, framework: Framework) -> list[Span]:
    """Return the passages of the stated moves, in the order of the moves."""
    stated = framework.stated(item.record)
    anchors = read_anchors(item.paper.abstract, stated, item.record.get("anchors"))
    known = confidence_of(item.record.get("confidence"), stated)
    return [
        Span(move, start, end, known.get(move))
        for move, anchor in anchors.items()
        for start, end in anchor["spans"]
    ]


def write(file: IO[bytes], suffix: str, items: Iterable[Annotated], framework: Framework) -> None:
    """Write the passages of annotations in the format of a suffix in `SAVED_SPANS`.

    A W3C file is an annotation page with one W3C annotation for each passage. The other files are
    lists, with one task of Label Studio or one record of Argilla for each item.
    """
    if suffix in _RECORDS:
        write_json_list(file, (_RECORDS[suffix](item, framework) for item in items))
        return
    head = {
        "@context": "http://www.w3.org/ns/anno.jsonld",
        "id": f"urn:uuid:{uuid.uuid5(_NAMES, framework.digest)}",
        "type": "AnnotationPage",
    }
    file.write(json.dumps(head)[:-1].encode() + b', "items": ')
    write_json_list(file, (one for item in items for one in _web_annotations(item, framework)))
    file.write(b"}\n")


def _web_annotations(item: Annotated, framework: Framework) -> Iterator[dict[str, Any]]:
    text, made = item.paper.abstract, item.record["provenance"]
    for span in spans_of(item, framework):
        name = f"{item.paper.id}\n{item.paper.sha256}\n{span.move}\n{span.start}\n{span.end}"
        certainty = "" if span.confidence is None else f" (confidence {span.confidence:.2f})"
        comment = flatten(item.record[span.move]) + certainty
        yield {
            "id": f"urn:uuid:{uuid.uuid5(_NAMES, name)}",
            "type": "Annotation",
            "motivation": "classifying",
            **({"created": made["created"]} if "created" in made else {}),
            "creator": {"type": "Software", "name": made["resolved"]},
            "generator": {"type": "Software", "name": f"nanda-harness {__version__}"},
            "body": [
                {"type": "TextualBody", "purpose": "tagging", "value": framework.labels[span.move]},
                {
                    "type": "TextualBody",
                    "purpose": "commenting",
                    "format": "text/plain",
                    "value": comment,
                },
            ],
            "target": {
                "source": _address(item),
                "selector": [
                    {
                        "type": "TextQuoteSelector",
                        "exact": text[span.start : span.end],
                        "prefix": text[max(0, span.start - CONTEXT) : span.start],
                        "suffix": text[span.end : span.end + CONTEXT],
                    },
                    {"type": "TextPositionSelector", "start": span.start, "end": span.end},
                ],
            },
        }


def _address(item: Annotated) -> str:
    """Return the URI of a paper: an arXiv or DOI URL, a file URL, or else a URN."""
    source = item.paper.source
    arxiv = item.paper.id if item.paper.is_arxiv else source.get("arxiv_id", "")
    if address := page_address(arxiv):
        return address
    if doi := source.get("doi"):
        return f"https://doi.org/{doi}"
    path = source.get("path", "")
    if path.lower().endswith(".pdf") and Path(path).is_absolute():
        return Path(path).as_uri()
    return f"urn:x-nanda-harness:{quote(item.paper.id, safe='')}"


def _task(item: Annotated, framework: Framework) -> dict[str, Any]:
    text = item.paper.abstract
    result = [
        {
            "id": f"{span.move}-{number}",
            "from_name": QUESTION,
            "to_name": FIELD,
            "type": "labels",
            **({} if span.confidence is None else {"score": span.confidence}),
            "meta": {"text": [flatten(item.record[span.move])]},
            "value": {
                "start": span.start,
                "end": span.end,
                "text": text[span.start : span.end],
                "labels": [framework.labels[span.move]],
            },
        }
        for number, span in enumerate(spans_of(item, framework))
    ]
    model = item.record["provenance"]["resolved"]
    return {
        "data": {FIELD: text, "title": item.paper.title, "paper": item.paper.id},
        "predictions": [{"model_version": model, "result": result}],
    }


def _argilla_record(item: Annotated, framework: Framework) -> dict[str, Any]:
    spans = spans_of(item, framework)
    value = [{"label": one.move, "start": one.start, "end": one.end} for one in spans]
    sure = [one.confidence for one in spans if one.confidence is not None]
    suggestion = {
        "value": value,
        "score": sure if sure and len(sure) == len(spans) else None,
        "agent": item.record["provenance"]["resolved"],
    }
    return {
        "id": f"{item.paper.id}-{item.paper.sha256[:12]}",
        "fields": {FIELD: item.paper.abstract},
        "metadata": {
            "title": item.paper.title,
            "paper": item.paper.id,
            **{move: flatten(text) for move, text in framework.stated(item.record).items()},
        },
        "suggestions": {QUESTION: suggestion} if spans else {},
        "responses": {},
        "vectors": {},
    }


_RECORDS = {".labelstudio.json": _task, ".argilla.json": _argilla_record}
