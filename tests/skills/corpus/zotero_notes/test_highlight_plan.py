"""Write highlights into Zotero's reader, over a socket, and keep the changes of people."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from declared_outputs import check_output
from highlighted_words import words_of
from pdf_papers import LIMITATION, PdfPaper
from pushing import LIBRARY, Pushing, item_key
from zotero_api import refusal
from zotero_files import (
    ATTACHMENT,
    FIRST,
    LAST,
    OTHER,
    SECOND,
    THIRD,
    in_library,
    of_pdf,
    stored_pdf,
)

from harness.errors import UsageError
from skills.corpus.exports.highlights import COLOURS
from skills.corpus.plugin import Corpus
from skills.corpus.zotero_notes import highlight_plan
from skills.nanda.sentences import split_sentences
from skills.nanda.text import flatten


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home directory with Zotero's data directory and a stored PDF file."""
    monkeypatch.setenv("HOME", str(tmp_path))
    stored_pdf(tmp_path / "Zotero")
    return tmp_path / "Zotero"


@pytest.fixture
def pushed(pushing: Pushing, folder: Path) -> Pushing:
    in_library(pushing, of_pdf({}, claim=FIRST, method=SECOND))
    assert pushing.run("zotero-push")["code"] == 0
    pushing.api.requests.clear()
    return pushing


def by_move(pushing: Pushing) -> dict[str, dict[str, Any]]:
    return {one["tags"][-1]["tag"].removeprefix("nanda:"): one for one in pushing.api.annotations()}


def test_a_highlight_for_each_move(pushing: Pushing, folder: Path) -> None:
    in_library(pushing, of_pdf({}, claim=FIRST.rstrip("."), method=f"It reads: {SECOND}"))
    done = pushing.app.dispatch("/corpus zotero-push").result
    check_output(Corpus(), "zotero-push", done)
    [question] = pushing.questions
    assert "writes 1 note and 3 highlights into Zotero" in question
    found = by_move(pushing)
    assert list(found) == ["claim", "method", "limitation"]  # in the order of the PDF file
    claim, method, limitation = found.values()
    assert claim["parentItem"] == ATTACHMENT
    assert claim["tags"] == [{"tag": "nanda-harness"}, {"tag": "nanda:claim"}]
    assert claim["annotationText"] == flatten(FIRST)
    assert claim["annotationComment"] == "Claim (confidence 0.91)"
    assert method["annotationComment"] == f"Method: It reads: {flatten(SECOND)} (uncertain, 0.35)"
    assert claim["annotationColor"] == f"#{COLOURS[0]}"
    assert claim["annotationPageLabel"] == "1"
    assert words_of(limitation["annotationText"]) == words_of(split_sentences(LIMITATION)[-1])
    position = json.loads(claim["annotationPosition"])
    assert position["pageIndex"] == 0
    assert all(x1 < x2 and y1 < y2 for x1, y1, x2, y2 in position["rects"])
    page, start, top = claim["annotationSortIndex"].split("|")
    assert (page, int(start) > 0) == ("00000", True)
    assert int(top) == int(841.89 - max(box[3] for box in position["rects"]))


def test_a_second_push_writes_nothing(pushed: Pushing) -> None:
    again = pushed.run("zotero-push")
    assert again["text"].startswith("There is nothing to write.\n4 unchanged")
    assert {method for method, _ in pushed.api.requests} == {"GET"}
    pushed.corpus.with_name("corpus.db.zotero.jsonl").unlink()  # as on another computer
    assert {one["action"] for one in pushed.run("zotero-push")["highlights"]} == {"unchanged"}


def test_a_changed_passage_is_updated(pushed: Pushing) -> None:
    before = by_move(pushed)["claim"]
    tags = [{"tag": "mine"}, *before["tags"]]
    pushed.api.add(LIBRARY, before["key"], tags=tags)
    pushed.annotations(of_pdf({}, claim=THIRD, model="second"), at_server=False)
    done = pushed.run("zotero-push")
    assert [one["action"] for one in done["highlights"]] == ["update", "unchanged", "delete"]
    assert "Created 0 highlights and updated 1, and deleted 1 in Zotero." in done["text"]
    found = by_move(pushed)
    assert found["claim"]["key"] == before["key"]
    assert found["claim"]["annotationText"] == flatten(THIRD)
    assert found["claim"]["tags"][0] == {"tag": "mine"}
    assert "method" not in found
    assert {one["action"] for one in pushed.run("zotero-push")["highlights"]} == {"unchanged"}


def test_changes_of_people_are_kept(pushing: Pushing, folder: Path) -> None:
    moves = ("claim", "evidence", "method", "scope", "comparison", "implication", "novelty")
    sentences = (FIRST, SECOND, THIRD, LAST)
    before, after = (
        {move: sentences[(number + shift) % 4] for number, move in enumerate(moves)}
        for shift in (0, 1)
    )
    in_library(pushing, of_pdf({}, **before))
    pushing.run("zotero-push")
    keys = {move: one["key"] for move, one in by_move(pushing).items()}
    edits: dict[str, dict[str, Any]] = {
        "claim": {"annotationComment": "I doubt it."},
        "evidence": {"annotationColor": "#ffd400"},
        "method": {"annotationPosition": '{"pageIndex":0,"rects":[[1,2,3,4]]}'},
        "scope": {"tags": [{"tag": "nanda:method"}]},
        "comparison": {"deleted": 1},
    }
    for move, edit in edits.items():
        pushing.api.add(LIBRARY, keys[move], **edit)
    del pushing.api.items[LIBRARY][keys["implication"]]
    kept = {move: pushing.api.items[LIBRARY].get(key) for move, key in keys.items()}
    pushing.annotations(of_pdf({}, model="second", **after), at_server=False)
    done = {one["move"]: one["action"] for one in pushing.run("zotero-push")["highlights"]}
    assert done == {
        **dict.fromkeys(("claim", "evidence", "method", "scope"), "edited"),
        **dict.fromkeys(("comparison", "implication"), "removed"),
        "novelty": "update",
        "limitation": "unchanged",
    }
    for move in (*edits, "implication"):
        assert pushing.api.items[LIBRARY].get(keys[move]) == kept[move]


def test_undo(pushed: Pushing) -> None:
    claim = by_move(pushed)["claim"]
    pushed.api.add(LIBRARY, claim["key"], annotationComment="Mine.")
    pushed.questions.clear()
    done = pushed.run("zotero-undo")
    assert "deletes 1 note and 3 highlights in Zotero, except" in pushed.questions[0]
    assert "Deleted 1 note and 2 highlights in Zotero." in done["text"]
    assert done["kept"] == {claim["key"]: "a person changed it"}
    assert list(by_move(pushed)) == ["claim"]
    assert not pushed.api.notes()


def test_a_conflict_is_read_again(pushed: Pushing) -> None:
    """A change by a person is kept; a tag that a person adds does not prevent the update."""
    keys = {move: one["key"] for move, one in by_move(pushed).items()}

    def change() -> None:
        pushed.api.add(LIBRARY, keys["claim"], annotationComment="Mine.")
        tags = pushed.api.items[LIBRARY][keys["method"]]["tags"]
        pushed.api.add(LIBRARY, keys["method"], tags=[{"tag": "mine"}, *tags])

    pushed.annotations(of_pdf({}, claim=LAST, method=THIRD, model="second"), at_server=False)
    pushed.api.before_write = change
    done = pushed.run("zotero-push")
    actions = {one["move"]: one["action"] for one in done["highlights"]}
    assert (done["code"], actions["claim"], actions["method"]) == (0, "edited", "update")
    found = {one["key"]: one for one in pushed.api.annotations()}
    assert found[keys["claim"]]["annotationComment"] == "Mine."
    assert found[keys["method"]]["annotationText"] == flatten(THIRD)
    assert {"tag": "mine"} in found[keys["method"]]["tags"]


def test_an_update_whose_answer_is_lost(pushed: Pushing) -> None:
    for fault in ("drop", "lose"):
        sentence = {"drop": THIRD, "lose": LAST}[fault]
        pushed.annotations(of_pdf({}, claim=sentence, model=fault), at_server=False)
        pushed.api.faults = [("POST", fault)]
        assert pushed.run("zotero-push")["code"] == 1
        assert pushed.run("zotero-push")["code"] == 0
        assert by_move(pushed)["claim"]["annotationText"] == flatten(sentence)


def test_a_busy_server_is_waited_for(pushing: Pushing, folder: Path) -> None:
    in_library(pushing, of_pdf({}, claim=FIRST))
    busy = (429, {"Retry-After": "0.01"})
    pushing.api.faults = [("GET", busy), ("POST", busy), ("POST", (503, {"Backoff": "0.01"}))]
    assert pushing.run("zotero-push")["code"] == 0
    assert list(by_move(pushing)) == ["claim", "limitation"]


def test_nothing_is_written_into_a_library_that_is_read_only(
    pushing: Pushing, folder: Path
) -> None:
    in_library(pushing, of_pdf({}, claim=FIRST))
    pushing.api.write = False
    with pytest.raises(UsageError, match="has no access to the library"):
        pushing.run("zotero-push")
    assert {method for method, _ in pushing.api.requests} == {"GET"}
    assert len(pushing.run("zotero-push --dry-run")["highlights"]) == 2


@pytest.mark.parametrize("how", ["in storage", "linked", "relative", "a copy"])
def test_the_attachment_of_the_annotated_file(pushing: Pushing, tmp_path: Path, how: str) -> None:
    """The paper was annotated from its PDF file, wherever Zotero's data directory is."""
    if how == "in storage":
        path, known = stored_pdf(tmp_path / "data"), {}
    else:
        path = PdfPaper().write(tmp_path / "paper.pdf")
        linked = str(path) if how == "linked" else f"attachments:{path.parent.name}/paper.pdf"
        known = {"linkMode": "linked_file", "path": linked}
        if how == "a copy":
            known = {"md5": hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}
    in_library(pushing, of_pdf({"path": str(path)}, claim=FIRST), **known)
    pushing.run("zotero-push")
    assert list(by_move(pushing)) == ["claim", "limitation"]


@pytest.mark.parametrize(
    "attachment", [{"contentType": "text/html"}, {"filename": "other.pdf"}, {"deleted": 1}]
)
def test_without_the_file(pushing: Pushing, folder: Path, attachment: dict[str, Any]) -> None:
    in_library(pushing, of_pdf({}, claim=FIRST), **attachment)
    assert pushing.run("zotero-push")["code"] == 0
    assert pushing.api.notes()
    assert not pushing.api.annotations()
    assert (
        "without highlights, since no PDF file contains their passages: 1 paper" in pushing.stderr
    )


def test_files_that_cannot_be_read(pushing: Pushing, folder: Path) -> None:
    in_library(pushing, of_pdf({}, claim=FIRST))
    (folder / "storage" / ATTACHMENT / "paper.pdf").write_bytes(b"%PDF-1.7 damaged")
    assert pushing.run("zotero-push")["code"] == 0
    assert "paper.pdf: is damaged" in pushing.stderr
    assert not pushing.api.annotations()


def test_many_papers_are_found_in_one_list(
    pushing: Pushing, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skills.corpus.zotero_notes.zotero_api.BATCH", 1)
    in_library(pushing, of_pdf({}, claim=FIRST), of_pdf({}, number=2, claim=FIRST))
    stored_pdf(folder, OTHER)
    known = {"contentType": "application/pdf", "filename": "paper.pdf"}
    pushing.api.add(LIBRARY, OTHER, itemType="attachment", parentItem=item_key(2), **known)
    pushing.run("zotero-push")
    assert [one["parentItem"] for one in pushing.api.annotations()].count(OTHER) == 2


def test_a_passage_on_two_pages(pushing: Pushing, folder: Path) -> None:
    (folder / "storage" / ATTACHMENT / "paper.pdf").unlink()
    (folder / "storage" / ATTACHMENT).rmdir()
    title = "A title that fills the page " * 54
    stored_pdf(folder, title=title, columns=1)
    in_library(pushing, of_pdf({}, claim=f"{SECOND} {THIRD}"))
    pushing.run("zotero-push")
    claim = by_move(pushing)["claim"]
    position = json.loads(claim["annotationPosition"])
    assert (position["pageIndex"], claim["annotationPageLabel"]) == (0, "1")
    assert position["rects"][0][1] < 150 < 700 < position["nextPageRects"][0][1]
    assert claim["annotationText"] == flatten(f"{SECOND} {THIRD}")
    assert claim["annotationComment"].startswith("Claim (")
    assert pushing.run("zotero-push")["text"].startswith("There is nothing to write.")


def test_a_position_that_is_too_long(
    pushing: Pushing, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(highlight_plan, "MOST_POSITION", 90)
    in_library(pushing, of_pdf({}, claim=FIRST))
    done = pushing.run("zotero-push")
    assert "1 left out, since Zotero allows no position with so many lines" in done["text"]
    assert list(by_move(pushing)) == ["limitation"]


def test_the_server_refuses_what_zotero_refuses() -> None:
    pdf = {"itemType": "attachment", "contentType": "application/pdf"}
    valid = {"itemType": "annotation", "annotationType": "highlight"}
    assert refusal(valid, {}, pdf) == ""
    for wrong in (
        {"annotationTitle": "x"},
        {"note": "x"},
        {"annotationColor": "yellow"},
        {"annotationSortIndex": "0|0|0"},
        {"annotationPosition": {"pageIndex": 0}},
        {"annotationPosition": "x" * 65_536},
        {"annotationType": "box"},
        {"tags": [{"name": "x"}]},
    ):
        assert refusal({**valid, **wrong}, {}, pdf), wrong
    assert refusal(valid, {}, {"itemType": "journalArticle"})
