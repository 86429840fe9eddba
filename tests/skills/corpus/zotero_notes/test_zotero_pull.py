"""Read the highlights and comments of people, over a socket, until they are gold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from corpus_papers import annotated, paper
from declared_outputs import check_output
from pushing import LIBRARY, Pushing, from_zotero, item_key
from reviewing import Workspace, read_rows
from zotero_files import ATTACHMENT, FIRST, LAST, SECOND, THIRD, in_library, of_pdf, stored_pdf

from harness.errors import InputError, NothingFound, UsageError
from skills.corpus.db import reads
from skills.corpus.db.connection import open_corpus
from skills.corpus.db.reads import PulledHighlight
from skills.corpus.plugin import Corpus
from skills.nanda.framework import nanda
from skills.nanda.text import flatten

CORPUS = Path("corpus")


@pytest.fixture
def pushed(pushing: Pushing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pushing:
    """A library with the highlights of claim, method and limitation."""
    monkeypatch.setenv("HOME", str(tmp_path))
    stored_pdf(tmp_path / "Zotero")
    in_library(pushing, of_pdf({}, claim=FIRST, method=SECOND, scope=LAST))
    pushing.run("zotero-push")
    return pushing


def highlight(pushing: Pushing, key: str, text: str = "", comment: str = "", *tags: str) -> None:
    """Add a highlight as a person does."""
    pushing.api.add(
        LIBRARY,
        key,
        itemType="annotation",
        parentItem=ATTACHMENT,
        annotationType="highlight" if text else "note",
        annotationText=text,
        annotationComment=comment,
        annotationColor="#ffd400",
        annotationPageLabel="1",
        annotationSortIndex=f"00000|00{len(pushing.api.items[LIBRARY]):04}|00000",
        annotationPosition='{"pageIndex":0,"rects":[[1,2,3,4]]}',
        tags=[{"tag": tag} for tag in tags],
    )


def pulled(pushing: Pushing) -> list[PulledHighlight]:
    with open_corpus(pushing.corpus) as db:
        return reads.highlights_of(db, 1)


def of_move(pushing: Pushing, move: str) -> dict[str, Any]:
    tag = {"tag": f"nanda:{move}"}
    return next(one for one in pushing.api.annotations() if tag in one["tags"])


def workspace(pushing: Pushing) -> Workspace:
    """Return a review of the same corpus."""
    made = Workspace(pushing.folder)
    assert made.call().settings.data_dir / "corpus.db" == pushing.corpus
    return made


def test_highlights_and_comments_of_people_are_read(pushed: Pushing) -> None:
    highlight(pushed, "MINE2345", THIRD, "", "Evidence")
    highlight(pushed, "MINE2346", "An introduction", "So what?", "later")
    highlight(pushed, "MINE2347", "", "Read it again.")
    pushed.api.authors["MINE2346"] = "bo"
    pushed.api.requests.clear()
    done = pushed.app.dispatch("/corpus zotero-pull").result
    check_output(Corpus(), "zotero-pull", done)
    assert done.text.startswith("Read 2 highlights and 2 comments of people in 1 paper.")
    assert "1 highlight with the tag of a move" in done.text
    assert {method for method, _ in pushed.api.requests} == {"GET"}
    evidence, other, note = pulled(pushed)
    assert (evidence.moves(nanda()), evidence.text) == (["evidence"], THIRD)
    assert (evidence.author, other.author) == ("Ada", "bo")
    assert (other.moves(nanda()), other.comment, other.page) == ([], "So what?", "1")
    assert (note.kind, note.text, note.comment) == ("note", "", "Read it again.")
    assert (note.attachment, note.key) == (ATTACHMENT, "MINE2347")
    del pushed.api.items[LIBRARY]["MINE2347"]
    assert pushed.run("zotero-pull")["comments"] == 1
    assert len(pulled(pushed)) == 2


def test_our_highlights_count_if_a_person_has_changed_them(pushed: Pushing) -> None:
    assert pushed.run("zotero-pull")["highlights"] == 0
    claim, method = of_move(pushed, "claim"), of_move(pushed, "method")
    pushed.api.add(LIBRARY, claim["key"], annotationComment="I doubt it.")
    pushed.api.add(LIBRARY, method["key"], tags=[{"tag": "nanda:novelty"}])
    pushed.api.add(LIBRARY, of_move(pushed, "scope")["key"], deleted=1)
    done = pushed.run("zotero-pull")
    assert (done["highlights"], done["comments"], done["moves"]) == (2, 2, 1)
    found = {(one.kind, *one.moves(nanda())): one.chosen for one in pulled(pushed)}
    assert found == {
        ("highlight", "claim"): False,
        ("highlight", "novelty"): True,
        ("deleted", "method"): True,
        ("deleted", "scope"): True,
    }


def test_a_paper_whose_highlight_was_only_deleted_is_not_counted(pushed: Pushing) -> None:
    pushed.api.add(LIBRARY, of_move(pushed, "scope")["key"], deleted=1)
    assert pushed.run("zotero-pull")["papers"] == 0
    assert [one.kind for one in pulled(pushed)] == ["deleted"]


def test_a_highlight_with_the_tag_of_a_move_is_an_edit_of_the_review(pushed: Pushing) -> None:
    highlight(pushed, "MINE2345", SECOND.replace(" ", "\n"), "", "claim")
    highlight(pushed, "MINE2344", SECOND[:20], "", "Nanda:Claim")  # a part of the same passage
    highlight(pushed, "MINE2346", "Words that the abstract does not have", "", "evidence")
    pushed.api.add(LIBRARY, of_move(pushed, "scope")["key"], deleted=1)
    pushed.api.add(LIBRARY, of_move(pushed, "claim")["key"], annotationComment="Not this.")
    pushed.run("zotero-pull")
    made = workspace(pushed)
    summary = made.review("a", CORPUS, reviewer="ada")
    assert "from highlights in Zotero: 2 moves of 1 paper" in made.stderr
    [gold] = read_rows(made.gold)
    assert (gold["claim"], gold["scope"]) == (flatten(SECOND), "Not stated.")
    assert (gold["method"], gold["evidence"]) == (flatten(SECOND), "Not stated.")
    edit, accept = made.decisions()
    start = of_pdf({}).paper.abstract.index(SECOND)
    assert edit["anchors"] == accept["anchors"] == {"claim": [[start, start + len(SECOND)]]}
    assert summary["edited"] == 1


def test_a_highlight_is_taken_over_once(pushed: Pushing) -> None:
    highlight(pushed, "MINE2345", SECOND, "", "claim")
    pushed.run("zotero-pull")
    made = workspace(pushed)
    for reviewer in ("bo", "ada", "ada"):
        made.review("q", CORPUS, reviewer=reviewer)
    assert [one["reviewer"] for one in made.decisions()] == ["ada"]
    highlight(pushed, "MINE2345", THIRD, "", "claim")
    pushed.run("zotero-pull")
    made.review("q", CORPUS, reviewer="ada")
    assert [one["moves"]["claim"] for one in made.decisions()] == [flatten(SECOND), flatten(THIRD)]


def test_a_reviewed_item_is_gold(pushed: Pushing) -> None:
    highlight(pushed, "MINE2345", THIRD, "", "nanda:evidence")
    pushed.api.add(LIBRARY, item_key(1), tags=[{"tag": "nanda:reviewed"}])
    assert pushed.run("zotero-pull")["reviewed"] == 1
    made = workspace(pushed)
    made.review("q", CORPUS)
    assert "1 move of 1 paper, of which 1 accepted" in made.stderr
    [gold] = read_rows(made.gold)
    assert (gold["claim"], gold["evidence"]) == (flatten(FIRST), flatten(THIRD))
    made.review("u", CORPUS)  # the reviewer undoes it, and it stays undone
    made.review("q", CORPUS)
    assert [one["what"] for one in made.decisions()] == ["edit", "accept", "undo"]


def test_what_cannot_be_read(pushing: Pushing) -> None:
    pushing.annotations(annotated(paper(1)), at_server=False)
    with pytest.raises(NothingFound, match="none of the papers comes from Zotero"):
        pushing.run("zotero-pull")
    with pytest.raises(InputError, match="takes no text"):
        pushing.run("zotero-pull year=2024")
    pushing.annotations(from_zotero(2))
    pushing.api.read_notes = False
    with pytest.raises(UsageError, match="has no access to the library"):
        pushing.run("zotero-pull")
    pushing.api.read_notes, pushing.api.write = True, False
    pushing.api.faults = [("GET", (429, {"Retry-After": "0.01"}))]
    assert pushing.run("zotero-pull")["papers"] == 0


def test_annotations_that_are_malformed(pushed: Pushing) -> None:
    claim = of_move(pushed, "claim")
    pushed.api.add(LIBRARY, claim["key"], annotationPosition='{"rects":[["x"]]}')
    highlight(pushed, "MINE2345", FIRST)
    pushed.api.add(LIBRARY, "MINE2345", tags="x", annotationPosition=7, annotationPageLabel=None)
    assert pushed.run("zotero-pull")["highlights"] == 2
    assert sorted(one.page for one in pulled(pushed)) == ["", "1"]
