"""Test /corpus quote: passages by a piece of their wording."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus_papers import annotated, corpus_of, paper
from pseudo_terminal import pseudo_terminal

from harness.cli.app import App
from harness.errors import InputError, NothingFound
from harness.runs.frontend import show
from harness.terminal.console import Screen
from harness.testing import fake_app
from skills.corpus.corpus_store import Database
from skills.corpus.db.connection import default_path
from skills.corpus.search import quotes
from skills.nanda.framework import nanda

ABSTRACT = "Plans fail. We Rehearse\n  each straße of a plan.\n\nIt doubles the re\u00adhearsals."
ITEMS = [
    annotated(
        paper(1, ABSTRACT), method="Each STRASSE of a plan is rehearsed.", scope="Not stated."
    ),
    annotated(paper(2), claim="It rehearses each plan."),
]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    made = fake_app(tmp_path)
    corpus_of(default_path(made.settings), ITEMS)
    yield made
    made.close()


def found(app: App, wording: str) -> list[dict[str, Any]]:
    result = app.dispatch(f"/corpus quote {wording}").result
    passages: list[dict[str, Any]] = json.loads(result.as_json())["passages"]
    return passages


def test_an_abstract_is_found_in_any_case_and_layout(app: App) -> None:
    [one] = found(app, '"rehearse EACH  straße"')
    assert (one["arxiv_id"], one["where"], one["sentences"]) == ("2405.00001", "abstract", [2])
    assert ABSTRACT[one["start"] : one["end"]] == "Rehearse\n  each straße"
    assert one["passage"] == "We **Rehearse each straße** of a plan."
    [one] = found(app, "rehearsals")
    assert ABSTRACT[one["start"] : one["end"]] == "re\u00adhearsals", "without invisible characters"
    [one] = found(app, "fail. we")
    assert (one["sentences"], one["passage"]) == (
        [1, 2], "Plans **fail. We** Rehearse each straße of a plan.",
    )  # fmt: skip


def test_a_move_is_found_with_the_sentences_that_it_comes_from(app: App) -> None:
    abstract, move = found(app, "each strasse of a pl")
    assert (abstract["where"], move["where"]) == ("abstract", "method")
    assert move["sentences"] == [2]
    assert move["passage"] == "**Each STRASSE of a pl**an is rehearsed."
    assert (move["start"], move["end"]) == (0, 20)


def test_every_occurrence_is_a_passage_in_the_order_of_papers(app: App) -> None:
    places = [(one["paper_id"], one["where"]) for one in found(app, "plan")]
    assert places == [
        *((1, "abstract"), (1, "abstract"), (1, "method"), (2, "abstract"), (2, "claim")),
    ]
    app.dispatch("/corpus quote plan --limit 2")
    assert "the first 2 passages; --limit N shows more" in app.screen.err.getvalue()  # type: ignore[attr-defined]
    assert len(found(app, "plan --limit 2")) == 2
    assert len(found(app, "plan --limit 5")) == 5


def test_what_is_not_stated_or_not_current_is_not_found(db: sqlite3.Connection) -> None:
    assert Database(db, nanda()).quotes("not stated", 9) == []


@pytest.mark.parametrize("wording", ["plan of a", "rehearsed each", "zebra", "fail.We"])
def test_other_wording_is_not_found(app: App, wording: str) -> None:
    with pytest.raises(NothingFound, match="no abstract or move contains the wording"):
        app.dispatch(f"/corpus quote {wording}")


@pytest.mark.parametrize("wording", ["", "...", '""'])
def test_wording_without_a_word_is_refused(app: App, wording: str) -> None:
    with pytest.raises(InputError):
        app.dispatch(f"/corpus quote {wording}")


def test_text_and_terminal(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = app.dispatch("/corpus quote strasse")
    head, first, _ = outcome.result.text.splitlines()
    assert head.split() == ["paper", "year", "title", "where", "sentences", "passage"]
    assert first.endswith("We Rehearse each **straße** of a plan.")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with pseudo_terminal(80) as terminal:
        show(outcome, Screen(terminal.stream))
    assert "Abstract  We Rehearse each straße of a plan. [2]" in terminal.lines
    assert "Method    Each STRASSE of a plan is rehearsed. [2]" in terminal.lines
    assert "\x1b[1;31mstraße\x1b[0m" in terminal.raw


def test_the_numbers_of_sentences_are_one_word(app: App) -> None:
    text = app.dispatch("/corpus quote fail. we").result.text
    assert "  abstract  [1,2]      Plans **fail. We** Rehearse" in text


def test_periodic_texts_take_linear_time() -> None:
    assert list(quotes.places_of("a" * 20_000 + "b", "a" * 400_000)) == []
    assert len(list(quotes.places_of("a " * 1000 + "a", "a  " * 100_000))) == 99
