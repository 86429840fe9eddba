"""Passages for annotation tools: their offsets are exact, and each format has its shape."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from corpus_papers import annotated, paper

from skills.corpus.records import Annotated, record_of
from skills.corpus.tables.span_files import CONTEXT, spans_of, write
from skills.nanda.framework import nanda

NANDA = nanda()
ABSTRACT = "Readers 😀 forget. We present a naïve ledger of claims. It halves the time."
CLAIM = "We present a naïve ledger of claims."


@pytest.fixture
def item() -> Annotated:
    """A paper with a claim, and no other move."""
    unstated = dict.fromkeys(NANDA.names, NANDA.not_stated)
    of = paper(1, ABSTRACT)
    made = annotated(of).record["provenance"]
    confidence = {"claim": 0.83, "method": 0.9}
    moves = {**unstated, "claim": CLAIM}
    return Annotated(of, record_of(of, moves, NANDA, made, confidence=confidence))


def written(suffix: str, *items: Annotated) -> Any:
    file = io.BytesIO()
    write(file, suffix, items, NANDA)
    return json.loads(file.getvalue())


def test_the_spans_of_an_annotation(item: Annotated) -> None:
    [span] = spans_of(item, NANDA)
    assert ABSTRACT[span.start : span.end] == CLAIM
    assert (span.move, span.confidence) == ("claim", 0.83)


def test_web_annotations(item: Annotated) -> None:
    page = written(".annotations.json", item)
    assert (page["@context"], page["type"]) == (
        "http://www.w3.org/ns/anno.jsonld",
        "AnnotationPage",
    )
    [one] = page["items"]
    assert [body["value"] for body in one["body"]] == ["Claim", f"{CLAIM} (confidence 0.83)"]
    quote, position = one["target"]["selector"]
    start, end = position["start"], position["end"]
    assert quote["exact"] == CLAIM == ABSTRACT[start:end]
    assert quote["prefix"] == ABSTRACT[max(0, start - CONTEXT) : start]
    assert quote["suffix"] == ABSTRACT[end : end + CONTEXT]
    assert one["target"]["source"] == "https://arxiv.org/abs/2405.00001"
    assert written(".annotations.json", item) == page  # with the same ids


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ({"doi": "10.1234/x"}, "https://doi.org/10.1234/x"),
        ({"path": "/papers/a b.pdf"}, "file:///papers/a%20b.pdf"),
        ({"path": "papers.csv"}, "urn:x-nanda-harness:2405.00001"),
    ],
)
def test_the_source_of_a_paper_without_arxiv_id(source: dict[str, str], address: str) -> None:
    of = annotated(paper(1, ABSTRACT, id_field="id", source=source), claim=CLAIM)  # type: ignore[arg-type]
    first, *_ = written(".annotations.json", of)["items"]
    assert first["target"]["source"].startswith(address)


def test_tasks_of_label_studio(item: Annotated) -> None:
    [task] = written(".labelstudio.json", item)
    [region] = task["predictions"][0]["result"]
    value = region["value"]
    assert task["data"]["text"][value["start"] : value["end"]] == value["text"] == CLAIM
    assert (value["labels"], region["score"]) == (["Claim"], 0.83)
    assert (region["from_name"], region["to_name"], region["type"]) == ("move", "text", "labels")


def test_records_of_argilla(item: Annotated) -> None:
    [record] = written(".argilla.json", item)
    suggestion = record["suggestions"]["move"]
    [value] = suggestion["value"]
    assert record["fields"]["text"][value["start"] : value["end"]] == CLAIM
    assert (value["label"], suggestion["score"]) == ("claim", [0.83])
    assert record["metadata"]["claim"] == CLAIM


def test_no_annotations() -> None:
    assert written(".annotations.json")["items"] == []
    assert written(".labelstudio.json") == written(".argilla.json") == []
