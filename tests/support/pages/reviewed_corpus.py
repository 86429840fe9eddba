"""A small corpus under review, for the web application."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import browsed_corpus
import corpus_papers
import page_corpus
from served_app import Served, served

from skills.nanda.framework import nanda

PAPERS = 12


def build(folder: Path, papers: int = PAPERS, hostile: str = "") -> Path:
    """Write a corpus of papers with annotations; with `hostile`, its texts are in paper 1."""
    items = [browsed_corpus.annotated(number) for number in range(1, papers + 1)]
    if hostile:
        paper = page_corpus.annotated(
            1, title=f"Title {hostile}", abstract=f"{hostile} We present it. It is {hostile}"
        ).paper
        moves = {name: f"{name} {hostile}" for name in nanda().names}
        items[0] = corpus_papers.annotated(paper, "model", **moves)
    return corpus_papers.corpus_of(folder / "corpus.db", items)


@contextmanager
def reviewed(database: Path, double: float | None = None) -> Iterator[Served]:
    """Serve a corpus; decisions go to gold.csv beside it."""
    with served(database, double=double) as app:
        yield app


def gold_of(database: Path) -> Path:
    return database.with_name("gold.csv")


def gold(database: Path) -> list[dict[str, str]]:
    """Return the rows of the gold table."""
    if not gold_of(database).exists():
        return []
    with gold_of(database).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def decisions(database: Path) -> list[dict[str, Any]]:
    """Return the lines of the journal."""
    text = database.with_name("gold_review.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.split("\n") if line]
