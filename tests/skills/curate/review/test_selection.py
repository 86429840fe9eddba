"""The papers of a queue: by words, and at random."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_papers import annotated, corpus_of
from reviewing import MOVES, Workspace, row

from harness.errors import InputError
from skills.nanda.paper import Paper


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path)
    rows = [row(n, title="On Ships" if n % 3 else "On Rails") for n in range(30)]
    rows[5]["novelty"] = "It plans voyages at night."
    made.annotations(*rows)
    items = [
        annotated(
            Paper("arxiv_id", one["arxiv_id"], one["title"], one["abstract"]),
            **{name: one[name] for name in MOVES},
        )
        for one in rows
    ]
    corpus_of(tmp_path / "c.db", items)
    return made


def ids(workspace: Workspace, path: Path | None = None, **options: object) -> list[str]:
    desk = workspace.desk(path=path, db=workspace.folder / "c.db", **options)  # type: ignore[arg-type]
    return [item.paper.id[-2:] for item in desk.papers.items]


@pytest.mark.parametrize("path", [None, Path("corpus")])
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("rails PlanBench", [f"{n:02}" for n in range(0, 30, 3)]),
        ("PLANNED VOYAGE", ["05"]),
        ('"at night"', ["05"]),
        ("2405.00007", ["07"]),
    ],
)
def test_words_select_alike_from_a_table_and_from_the_corpus(
    workspace: Workspace, path: Path | None, words: str, found: list[str]
) -> None:
    assert ids(workspace, path, words=words) == found


@pytest.mark.parametrize("path", [None, Path("corpus")])
@pytest.mark.parametrize("words", ["rails ships", "ships voyages", "stated", '"night at"', "voy"])
def test_words_that_no_annotation_has(workspace: Workspace, path: Path | None, words: str) -> None:
    """Both are in paper 5, but not together; and it states no limitation."""
    with pytest.raises(InputError, match=f"no annotation has the words '{words}'"):
        ids(workspace, path, words=words)


def test_words_and_conditions_of_the_corpus(workspace: Workspace) -> None:
    corpus = Path("corpus")
    assert ids(workspace, corpus, words="ships", where="novelty~voyages") == ["05"]
    with pytest.raises(InputError, match="has the words 'rails' and meets 'novelty~voyages'"):
        ids(workspace, corpus, words="rails", where="novelty~voyages")


def test_a_sample_depends_on_the_seed_and_on_nothing_else(workspace: Workspace) -> None:
    first = ids(workspace, sample=8)
    assert first == ids(workspace, sample=8)
    assert first != sorted(first)  # in random order
    assert set(first) != set(ids(workspace, sample=8, seed=1))
    workspace.annotations(*map(row, [*range(29, -1, -1), 90, 91]))
    assert len(set(first) & set(ids(workspace, sample=8))) >= 6
    assert len(ids(workspace, sample=80)) == 32


def test_a_sample_is_drawn_from_the_papers_with_the_words(workspace: Workspace) -> None:
    assert set(ids(workspace, words="rails", sample=4)) < {f"{n:02}" for n in range(0, 30, 3)}
