"""Rounds of 20 papers: their order, what was right, and the line that trains on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from corpus_papers import annotated, corpus_of, paper
from reviewing import MOVES, Workspace, row

from skills.corpus.records import Annotated
from skills.corpus.tables.columns import Columns
from skills.curate.review.candidates import read
from skills.curate.review.reviewer import Desk
from skills.curate.review.rounds import ROUND, retraining_line, teaching_order
from skills.nanda.framework import nanda

CORPUS = Path("corpus")
FERRY = "A ferry crosses the harbour at dawn. Its captain reads the tide. Voyage {0} drifts."
LEDGER = "A ledger rehearses plans of agents. An oracle finds faults. Benchmark {0} is passed."


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def of(number: int, abstract: str, certainty: float | None) -> Annotated:
    """Return annotation `number`, with the same confidence of all moves."""
    made = annotated(paper(number, abstract.format(number)), **MOVES)
    confidence = {} if certainty is None else {"confidence": dict.fromkeys(MOVES, certainty)}
    return replace(made, record={**made.record, **confidence})


def two_subjects(path: Path, papers: int = 60) -> Path:
    """Write papers about ferries, then as many about ledgers, which are more certain."""
    half = papers // 2
    items = [of(number, FERRY, 0.5 + number / 1000) for number in range(half)]
    items += [of(number, LEDGER, 0.6 + number / 1000) for number in range(half, papers)]
    return corpus_of(path, items)


def numbers(desk: Desk) -> list[int]:
    return [int(key[-5:]) for key in desk.papers.keys]


def taken(desk: Desk) -> int:
    at = desk.next()
    assert at is not None
    return at


def accept(desk: Desk, count: int) -> None:
    for _ in range(count):
        desk.accept(taken(desk))


def test_a_paper_unlike_those_before_it_comes_early(workspace: Workspace) -> None:
    db = two_subjects(workspace.folder / "c.db")
    desk = workspace.desk("ada", CORPUS, db=db)
    assert taken(desk) == 0
    assert numbers(desk)[:2] == [0, 30]  # the least certain papers on ferries and on ledgers
    assert sorted(numbers(desk)) == list(range(60))
    uncertain = workspace.desk("bo", CORPUS, db=db, order="uncertain")
    uncertain.next()
    assert numbers(uncertain) == list(range(60))


def test_a_selection_begins_with_the_least_certain(workspace: Workspace) -> None:
    db = two_subjects(workspace.folder / "c.db", papers=8)

    def first(**options: object) -> list[int]:
        desk = workspace.desk("ada", CORPUS, db=db, **options)
        desk.next()
        return numbers(desk)

    assert first(words="dawn") == [0, 1, 2, 3]
    assert first(where="claim=stated") == list(range(8))
    assert first(where="claim=stated", order="teach")[:2] == [0, 4]
    drawn = first(sample=8, seed=1)
    assert drawn != list(range(8))
    assert first(sample=8, seed=1, order="uncertain") == list(range(8))
    assert first(sample=8, seed=1, order="teach")[:2] == [0, 4]


def test_annotations_without_confidences_keep_their_order(workspace: Workspace) -> None:
    texts = [FERRY, FERRY, LEDGER, LEDGER]
    items = [of(number, text, None) for number, text in enumerate(texts)]
    db = corpus_of(workspace.folder / "c.db", items)
    desk = workspace.desk("ada", CORPUS, db=db)
    desk.next()
    assert numbers(desk) == [0, 1, 2, 3]
    items[3] = of(3, LEDGER, 0.7)
    desk = workspace.desk("ada", CORPUS, db=corpus_of(workspace.folder / "d.db", items))
    desk.next()
    assert numbers(desk) == [3, 0, 1, 2]


def test_the_order_changes_after_each_round_and_is_the_same_for_all(workspace: Workspace) -> None:
    db = two_subjects(workspace.folder / "c.db")
    ada = workspace.desk("ada", CORPUS, db=db)
    accept(ada, ROUND - 1)
    before = numbers(ada)
    ada.skip(taken(ada))
    bo = workspace.desk("bo", CORPUS, db=db)
    bo.accept(taken(bo))  # the 20th paper, which ada skipped
    assert numbers(bo) == before
    assert taken(ada) == ROUND
    assert taken(bo) == ROUND + 1
    assert numbers(ada) == numbers(bo)
    assert numbers(ada)[:ROUND] == before[:ROUND]
    accept(ada, 3)
    again = workspace.desk("ada", CORPUS, db=db)
    again.draft(taken(again), "claim", "Half a")
    assert numbers(again) == numbers(ada)
    restarted = workspace.desk("ada", CORPUS, db=db)
    assert restarted.drafts(taken(restarted)) == {"claim": "Half a"}


def test_a_restart_leads_to_the_same_paper_in_a_new_order(workspace: Workspace) -> None:
    db = two_subjects(workspace.folder / "c.db")
    ada, bo = workspace.desk("ada", CORPUS, db=db), workspace.desk("bo", CORPUS, db=db)
    ada.take(last := 59)
    accept(bo, ROUND)
    again = workspace.desk("ada", CORPUS, db=db)
    at = taken(again)
    assert numbers(again)[at] == last
    again.accept(at)
    assert taken(again) == ROUND


def test_a_skipped_paper_stays_skipped_in_a_new_order(workspace: Workspace) -> None:
    desk = workspace.desk("ada", CORPUS, db=two_subjects(workspace.folder / "c.db"))
    desk.skip(taken(desk))
    [skipped] = desk.skipped
    accept(desk, ROUND)
    at = taken(desk)
    assert desk.papers.keys[at] != skipped
    assert desk.papers.places[skipped] >= ROUND
    desk.undo()
    assert desk.counts()["accepted"] == ROUND - 1
    at = taken(desk)
    assert desk.papers.keys[at] != skipped


def test_of_many_papers_few_are_read(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skills.curate.review.candidates.WINDOW", 10)
    found = read(CORPUS, nanda(), Columns(), None, two_subjects(workspace.folder / "c.db"))
    ordered = found.by_teaching({})
    assert sorted(ordered.keys[:10]) == sorted(found.keys[:10])
    assert ordered.keys[10:] == found.keys[10:]
    assert len(found._known) == 10


def test_words_of_one_abstract_are_not_new(workspace: Workspace) -> None:
    given = {
        "odd": (0.5, "Zyx qwv plm okn."),
        "shared": (0.6, "Tide and harbour."),
        "other": (0.7, "Tide and harbour, with an oracle."),
        "last": (0.9, "The oracle."),
    }
    assert teaching_order(given, []) == ["shared", "other", "odd", "last"]
    assert teaching_order(given, ["An oracle at the harbour, at high tide."])[0] == "odd"
    assert teaching_order({}, ["Tide."]) == []


def test_what_was_right_so_far(workspace: Workspace) -> None:
    workspace.annotations(*map(row, range(1, 46)))
    desk = workspace.desk("ada")
    accept(desk, 15)
    for _ in range(3):
        desk.edit(taken(desk), "claim", "Another claim.")
        accept(desk, 1)
    desk.reject(taken(desk))
    assert desk.right_so_far() is None
    desk.reject(taken(desk))
    found = desk.right_so_far()
    assert found is not None
    assert f"{found}" == "Right so far: 141 of 160 moves (88%, 82% to 92%) of 20 papers"
    assert found.by_move["Claim"].count == 15
    assert found.by_move["Evidence"].count == 18
    assert found.retraining == ""  # gold.csv has only 18 papers
    accept(desk, ROUND - 1)
    assert desk.right_so_far() == replace(found, retraining=desk.retraining)
    accept(desk, 1)
    assert (desk.right_so_far() or found).papers == 2 * ROUND
    desk.undo()
    assert (desk.right_so_far() or found).papers == ROUND


def test_a_disputed_paper_and_a_changed_annotation_do_not_count(workspace: Workspace) -> None:
    workspace.annotations(*map(row, range(1, 21)))
    ada, bo = workspace.desk("ada", double=1.0), workspace.desk("bo")
    accept(ada, ROUND)
    assert ada.right_so_far() is None  # each paper waits for a second reviewer
    accept(bo, ROUND - 1)
    bo.reject(taken(bo))
    assert bo.right_so_far() is None
    bo.resolve(bo.disputed()[0], dict(MOVES))
    found = bo.right_so_far()
    assert found is not None
    assert found.moves.count == 160
    workspace.annotations(row(1, claim="Another."), *map(row, range(2, 21)))
    assert workspace.desk("ada").right_so_far() is None


def test_the_line_that_trains() -> None:
    line = "/finetune gold.csv --reader --as-name my-annotator"
    assert retraining_line(Path("gold.csv")) == line
    assert retraining_line(Path("my gold.csv"), Path("my moves.yaml")) == (
        '/finetune "my gold.csv" --reader --as-name my-annotator --framework "my moves.yaml"'
    )
