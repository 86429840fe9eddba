"""Invented annotated papers for the tests of the corpus, with checks and valid keys."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from skills.corpus.db import store
from skills.corpus.db.connection import open_corpus
from skills.corpus.records import Annotated, key_of, record_of
from skills.nanda.framework import Framework, nanda
from skills.nanda.paper import IdField, Paper


def paper(number: int, abstract: str = "", id_field: IdField = "arxiv_id", **known: str) -> Paper:
    """Return paper `number` of 2024, by default in cs.CL and cs.IR."""
    known = {"title": f"Paper {number}", "published": "2024-05-17", **known}
    known.setdefault("categories", "cs.CL, cs.IR")
    given = abstract or f"We test ledger {number}. It finds faults in plans. It needs no oracle."
    return Paper(id_field, f"2405.{number:05}", abstract=given, **known)


def annotated(
    of: Paper, model: str = "annotator", framework: Framework | None = None, **moves: str
) -> Annotated:
    """Return an annotation with the given moves, and a sentence for each of the others."""
    framework = framework or nanda()
    texts = {name: moves.get(name, f"Something about the {name}.") for name in framework.names}
    provenance: dict[str, Any] = {
        "requested": model,
        "resolved": model,
        "reason": None,
        "backend": "fake",
        "where": model,
        "digests": {},
        "form": "json",
        "framework": {
            "name": framework.name,
            "version": framework.version,
            "digest": framework.digest,
        },
        "prompt_sha256": "0" * 64,
        "schema_sha256": None,
        "sampling": {"temperature": 0.0, "seed": 0, "max_tokens": 900},
        "attempts": 1,
        "tokens": {"prompt": 10, "cached": 0, "completion": 20},
        "seconds": 0.5,
        "harness": "0",
        "created": "2026-11-24T12:00:00+00:00",
        "input": {"kind": "table", "path": "papers.csv", "row": "1", "sha256": of.sha256},
    }
    made = {**provenance, "key": key_of(provenance)}
    return Annotated(of, record_of(of, texts, framework, made))


def corpus_of(path: Path, items: Iterable[Annotated], framework: Framework | None = None) -> Path:
    """Write annotations to the corpus at `path`, which is created if needed."""
    with open_corpus(path) as db:
        for item in items:
            store.save(db, item, framework or nanda())
    return path
