"""Test filter conditions: syntax and matches."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus_papers import annotated, paper

from harness.errors import InputError
from skills.corpus.corpus_store import Database
from skills.corpus.db import reads, store
from skills.corpus.db.connection import open_corpus
from skills.corpus.search import filters
from skills.nanda.framework import nanda

UNSTATED = nanda().not_stated


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """Return a corpus of papers 1 to 5, with an older annotation of the first that states all."""
    with open_corpus(tmp_path_factory.mktemp("corpus") / "corpus.db") as opened:
        for item in (
            annotated(paper(1), limitation="An old one on baselines."),
            annotated(
                paper(1), "other", limitation=UNSTATED, comparison="Beats a strong baseline."
            ),
            annotated(paper(2, published="2022"), comparison="Beats the strong old baselines."),
            annotated(paper(3, published="2023", categories="cs.SE"), comparison=UNSTATED),
            annotated(paper(4, published=""), claim="Its ledger has 40 pages, says GPT-9."),
            annotated(paper(5, categories=""), **dict.fromkeys(nanda().names, UNSTATED)),
        ):
            store.save(opened, item, nanda())
        yield opened


def meet(db: sqlite3.Connection, text: str) -> str:
    """Return the numbers of the papers that meet the conditions, in order."""
    selected = Database(db, nanda()).select(filters.parse(text, nanda()))
    items = reads.annotated(db, nanda(), selected.ids)
    return "".join(item.paper.id[-1] for item in items)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("claim=stated", "1234"),
        ("limitation=unstated", "15"),
        ("limitation=stated", "234"),
        ("limitation!=stated", "15"),
        ("limitation != unstated", "234"),
        ("limitation=STATED", "234"),
        ("comparison~baseline", "12"),
        ("comparison~baselines", "12"),
        ('comparison~"strong baseline"', "1"),
        ("comparison~'strong baseline'", "12"),
        ("comparison!~baseline", "345"),
        ("comparison!~baseline comparison=stated", "4"),
        ("limitation~baselines", ""),
        ("claim~NOT", ""),
        ("limitation=stated comparison~baseline", "2"),
        ("year=2022", "2"),
        ("year=2022..2023", "23"),
        ("year=2023..", "135"),
        ("year=..2022", "2"),
        ("year>=2023 year<2024", "3"),
        ("year!=2024", "23"),
        ("category=cs.ir", "124"),
        ("category=cs.CL year=2024..", "1"),
        ("category!=cs.CL", "35"),
        ("category=cs", ""),
        ("model=other", "1"),
        ("model!=other", "2345"),
        ("unsupported>0", "4"),
        ("unsupported=2", "4"),
        ("unsupported<=0 support>=0", "123"),
        ("support<=1", "1234"),
        ("support>1", ""),
    ],
)
def test_conditions(db: sqlite3.Connection, text: str, numbers: str) -> None:
    assert meet(db, text) == numbers


def test_papers_with_unknown_values_are_counted(db: sqlite3.Connection) -> None:
    selected = Database(db, nanda()).select(filters.parse("year=2024 support<2", nanda()))
    assert selected.unknown == {"year": 1, "support": 1}
    assert Database(db, nanda()).select(filters.parse("claim=stated", nanda())).unknown == {}


def test_move_name_is_not_matched_as_prefix(tmp_path: Path) -> None:
    longer = nanda().moves[0].model_copy(update={"name": "claims", "label": "Claims"})
    framework = nanda().model_copy(update={"moves": (nanda().moves[0], longer)})
    with open_corpus(tmp_path / "corpus.db") as db:
        item = annotated(paper(1), framework=framework, claim=UNSTATED)
        store.save(db, item, framework)
        stated = [
            len(Database(db, framework).select(filters.parse(text, framework)).ids)
            for text in ("claims=stated", "claim=stated")
        ]
    assert stated == [1, 0]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("retrieval", "'retrieval' is not a condition", "limitation=stated"),
        ("claim=stated and scope=stated", "'and scope=stated'", "limitation=stated"),
        ("claim=", "'claim=' is not a condition", "limitation=stated"),
        ('claim~"open', "is not a condition", "limitation=stated"),
        ('claim~"a"b', "is not a condition", "limitation=stated"),
        ("limitations=stated", "no move or field 'limitations'", "Did you mean limitation"),
        ("xyzzy=1", "no move or field 'xyzzy'", "claim, evidence"),
        ("claim=true", "claim=true", "claim=unstated"),
        ("claim<stated", "claim<stated", "claim~word"),
        ("claim~*", "contains no word", "Write words"),
        ("year=soon", "'soon' is not a range of years", "2023..2025"),
        ("year<2023..", "year<2023.. is not a valid condition", "year>=2024"),
        ("year~2024", "year~2024", "year=2023..2025"),
        ("category~cs", "category~cs", "category=cs"),
        ("model<a", "model<a", "model=a"),
        ("support<half", "support<half is not a valid condition", "support<0.5"),
        ("support~0.5", "support~0.5 is not a valid condition", "support<0.5"),
    ],
)
def test_invalid_conditions(text: str, message: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        filters.parse(text, nanda())
    assert message in str(caught.value)
    assert hint in str(caught.value.hint)
