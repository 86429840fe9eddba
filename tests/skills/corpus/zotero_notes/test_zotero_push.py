"""Write annotations into Zotero, over a socket, and delete them again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from corpus_papers import annotated, paper
from declared_outputs import check_output
from pushing import LIBRARY, Pushing, from_zotero, item_key
from repository import SUPPORT
from zotero_api import KEY
from zotero_library import ZoteroLibrary

from harness.errors import InputError, NotAllowed, NothingFound, SkillFailed, UsageError
from harness.runs.frontend import Frontend
from harness.support.process import job_lock
from skills.corpus.db.connection import locks
from skills.corpus.plugin import Corpus
from skills.corpus.zotero_notes import zotero_api
from skills.nanda.framework import load

TWO_MOVES = SUPPORT / "two_moves.yaml"


def test_push_creates_notes_below_the_items(pushing: Pushing) -> None:
    pushing.annotations(
        from_zotero(1, claim="Plans <b>fail</b> & recover.", limitation="Not stated.")
    )
    done = pushing.run("zotero-push")
    assert (done["code"], done["counts"], done["failed"]) == (0, {"create": 1}, {})
    note = pushing.api.notes()[item_key(1)]
    assert note["note"].startswith(
        "<h1>Annotation by nanda-harness</h1>\n"
        "<p><strong>Claim:</strong> Plans &lt;b&gt;fail&lt;/b&gt; &amp; recover.</p>\n"
    )
    assert "Limitation" not in note["note"]
    tags = [tag["tag"] for tag in note["tags"]]
    assert tags[:2] == ["nanda-harness", "nanda:claim"]
    assert "nanda:limitation" not in tags
    assert pushing.questions == ["/corpus zotero-push writes 1 note into Zotero. Allow it?"]
    assert pushing.api.items[LIBRARY][item_key(1)]["version"] == 1  # the item itself is unchanged
    check_output(Corpus(), "zotero-push", pushing.app.dispatch("/corpus zotero-push").result)


def test_a_note_has_the_doubts(pushing: Pushing) -> None:
    item = from_zotero(1, claim="Plans fail.", scope="Not stated.")
    one = {"text": "Of <plans>.", "confidence": 0.21, "sentences": [1], "spans": [[0, 5]]}
    doubt = {"confidence": {"claim": 0.35, "scope": 0.1}, "suggestions": {"scope": one}}
    pushing.annotations(replace(item, record={**item.record, **doubt}))
    pushing.run("zotero-push")
    note = pushing.api.notes()[item_key(1)]
    assert "<p><strong>Claim (uncertain, 0.35):</strong> Plans fail.</p>" in note["note"]
    suggestion = "<p><strong>Suggestion for Scope (0.21):</strong> Of &lt;plans&gt;.</p>"
    assert suggestion in note["note"]
    assert {"tag": "nanda:uncertain"} in note["tags"]
    assert pushing.run("zotero-push")["counts"] == {"unchanged": 1}


def test_a_note_has_the_moves_of_sections(pushing: Pushing) -> None:
    item = from_zotero(1, claim="Plans fail.", limitation="Not stated.")
    one = {"section": "Limits", "page": 9, "text": "We saw <one> plan."}
    pushing.annotations(replace(item, record={**item.record, "sections": {"limitation": one}}))
    pushing.run("zotero-push")
    note = pushing.api.notes()[item_key(1)]
    limitation = "Limitation:</strong> We saw &lt;one&gt; plan. (section Limits, p. 9)</p>"
    assert limitation in note["note"]
    assert note["note"].index("Claim") < note["note"].index("Limitation")
    assert {"tag": "nanda:limitation"} in note["tags"]


def test_a_second_push_changes_nothing(pushing: Pushing) -> None:
    pushing.annotations(*map(from_zotero, range(1, 121)))
    assert pushing.run("zotero-push")["counts"] == {"create": 120}
    before = dict(pushing.api.items[LIBRARY])
    pushing.api.requests.clear()
    again = pushing.run("zotero-push")
    assert (again["counts"], again["code"]) == ({"unchanged": 120}, 0)
    assert {method for method, _ in pushing.api.requests} == {"GET"}
    assert pushing.api.items[LIBRARY] == before
    assert len(pushing.questions) == 1


def test_dry_run_shows_what_would_be_done(pushing: Pushing) -> None:
    pushing.annotations(from_zotero(1), from_zotero(2))
    pushing.annotations(from_zotero(3), at_server=False)
    pushing.annotations(annotated(paper(4)), at_server=False)
    pushing.api.write = False  # a dry run needs no right to write
    shown = pushing.run("zotero-push --dry-run")
    assert shown["counts"] == {"create": 2, "missing": 1}
    assert shown["elsewhere"] == 1
    assert "3 notes: 2 to create, 1 left out, since the library has no such item" in shown["text"]
    assert f"create   {item_key(1)}  Paper 1  nanda-harness, nanda:claim" in shown["text"]
    assert f"missing  {item_key(3)}  Paper 3" in shown["text"]
    assert not pushing.api.notes()
    assert not pushing.questions
    assert "left out, since their papers do not come from Zotero: 1 annotation" in pushing.stderr


def test_conditions_select_annotations(pushing: Pushing) -> None:
    pushing.annotations(from_zotero(1), from_zotero(2, limitation="Not stated."))
    assert pushing.run("zotero-push limitation=stated")["counts"] == {"create": 1}
    assert [*pushing.api.notes()] == [item_key(1)]


def test_a_new_annotation_updates_the_note_and_keeps_tags_of_others(pushing: Pushing) -> None:
    pushing.annotations(from_zotero(1, claim="Old.", novelty="Not stated."))
    pushing.run("zotero-push")
    note = pushing.api.notes()[item_key(1)]
    tags = [{"tag": "mine", "type": 1}, *note["tags"]]
    pushing.api.add(LIBRARY, note["key"], tags=tags)
    pushing.annotations(from_zotero(1, model="second", claim="New.", method="Not stated."))
    done = pushing.run("zotero-push")
    assert done["counts"] == {"update": 1}
    changed = pushing.api.notes()[item_key(1)]
    assert changed["key"] == note["key"]
    assert "New." in changed["note"]
    assert "Old." not in changed["note"]
    names = [tag["tag"] for tag in changed["tags"]]
    assert names[0] == "mine"
    assert "nanda:novelty" in names
    assert "nanda:method" not in names
    assert pushing.run("zotero-push")["counts"] == {"unchanged": 1}


def test_an_item_whose_title_and_abstract_changed_has_one_note(pushing: Pushing) -> None:
    first = from_zotero(1, claim="Old.")
    pushing.annotations(first)
    pushing.run("zotero-push")
    of = replace(first.paper, id="2405.99999", title="Soup", abstract="Another text of kitchens.")
    pushing.annotations(annotated(of, claim="New."), at_server=False)
    assert pushing.run("zotero-push")["counts"] == {"update": 1}
    assert "New." in pushing.api.notes()[item_key(1)]["note"]
    assert pushing.run("zotero-push")["counts"] == {"unchanged": 1}


def rewritten(html: str) -> str:
    """Return a note as Zotero's editor writes it."""
    html = html.replace("<strong>", "<b>").replace("</strong>", "</b>").replace("\n", "")
    return f'<div data-schema-version="9">{html.replace("&amp;", "&#38;")}</div>'


def test_the_editor_rewrites_the_markup_and_it_is_still_ours(pushing: Pushing) -> None:
    pushing.annotations(from_zotero(1, claim="This & that."))
    pushing.run("zotero-push")
    note = pushing.api.notes()[item_key(1)]
    pushing.api.add(LIBRARY, note["key"], note=rewritten(note["note"]))
    assert pushing.run("zotero-push")["counts"] == {"unchanged": 1}


@pytest.mark.parametrize("edit", ["above", "below", "within", "without the mark"])
def test_a_note_that_a_person_changed_is_left_as_it_is(pushing: Pushing, edit: str) -> None:
    pushing.annotations(from_zotero(1, claim="Old."))
    pushing.run("zotero-push")
    note = pushing.api.notes()[item_key(1)]
    html = {
        "above": "<p>Mine</p>" + note["note"],
        "below": note["note"] + "<p>Mine</p>",
        "within": note["note"].replace("Old.", "Old, I think."),
        "without the mark": note["note"].rpartition("<p>")[0],
    }[edit]
    pushing.api.add(LIBRARY, note["key"], note=html)
    pushing.annotations(from_zotero(1, model="second", claim="New."))
    done = pushing.run("zotero-push")
    assert done["counts"] == {"edited": 1}
    assert "1 left as it is, since a person changed it" in done["text"]
    assert pushing.api.notes()[item_key(1)]["note"] == html


def test_a_note_without_its_tag_is_recognized_by_the_record(pushing: Pushing) -> None:
    pushing.annotations(from_zotero(1))
    pushing.run("zotero-push")
    note = pushing.api.notes()[item_key(1)]
    pushing.api.add(LIBRARY, note["key"], tags=[])
    assert pushing.run("zotero-push")["counts"] == {"update": 1}
    assert len(pushing.api.notes()) == 1


def test_a_note_of_another_computer_is_recognized_by_its_tag(pushing: Pushing) -> None:
    pushing.annotations(from_zotero(1))
    pushing.run("zotero-push")
    pushing.corpus.with_name("corpus.db.zotero.jsonl").unlink()
    assert pushing.run("zotero-push")["counts"] == {"unchanged": 1}


@pytest.mark.parametrize("recorded", [True, False])
def test_each_framework_has_a_note_of_its_own(pushing: Pushing, recorded: bool) -> None:
    other = load(TWO_MOVES)
    pushing.annotations(from_zotero(1))
    pushing.run("zotero-push")
    first = pushing.api.notes()[item_key(1)]
    if recorded:
        pushing.api.add(LIBRARY, first["key"], note="<p>Changed</p>")
    else:
        pushing.corpus.with_name("corpus.db.zotero.jsonl").unlink()
    before = dict(pushing.api.items[LIBRARY][first["key"]])
    pushing.annotations(
        from_zotero(1, framework=other, aim="It has an aim."), at_server=False, framework=other
    )
    assert pushing.run(f"zotero-push --framework {TWO_MOVES}")["counts"] == {"create": 1}
    assert pushing.run(f"zotero-push --framework {TWO_MOVES}")["counts"] == {"unchanged": 1}
    assert pushing.api.items[LIBRARY][first["key"]] == before
    assert pushing.run("zotero-push")["counts"] == {"edited" if recorded else "unchanged": 1}


@pytest.mark.parametrize("how", ["trash", "delete"])
def test_a_note_that_a_person_deleted_is_not_written_again(pushing: Pushing, how: str) -> None:
    pushing.annotations(from_zotero(1))
    pushing.run("zotero-push")
    key = pushing.api.notes()[item_key(1)]["key"]
    if how == "trash":
        pushing.api.add(LIBRARY, key, deleted=1)
    else:
        del pushing.api.items[LIBRARY][key]
    assert pushing.run("zotero-push")["counts"] == {"removed": 1}


def test_items_of_several_libraries(pushing: Pushing) -> None:
    pushing.annotations(from_zotero(1), from_zotero(2, "groups/77"))
    pushing.run("zotero-push")
    assert [*pushing.api.notes()] == [item_key(1)]
    assert [*pushing.api.notes("groups/77")] == [item_key(2)]


# Consent and settings


def test_nothing_is_written_without_consent(pushing: Pushing) -> None:
    pushing.annotations(from_zotero(1))
    pushing.allowed = False
    with pytest.raises(NotAllowed, match="the user did not allow that"):
        pushing.run("zotero-push")
    assert not pushing.api.notes()
    assert f"create   {item_key(1)}" in pushing.stderr


@pytest.mark.parametrize("key", ["", "  ", "two words", "schlüssel"])
def test_key_is_missing_or_malformed(
    pushing: Pushing, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    pushing.annotations(from_zotero(1))
    monkeypatch.setenv("ZOTERO_API_KEY", key)
    with pytest.raises(UsageError, match="ZOTERO_API_KEY does not contain a key") as caught:
        pushing.run("zotero-push")
    assert not key.strip() or key not in str(caught.value)


def test_the_key_is_sent_over_https_alone(
    pushing: Pushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushing.annotations(from_zotero(1))
    monkeypatch.setenv("ZOTERO_API_URL", "http://zotero.example")
    with pytest.raises(UsageError, match="is not an https address"):
        pushing.run("zotero-push")


def test_a_library_without_an_account(pushing: Pushing) -> None:
    pushing.annotations(from_zotero(1, "users/local"))
    with pytest.raises(InputError, match="does not synchronize"):
        pushing.run("zotero-push")


def test_no_paper_is_from_zotero(pushing: Pushing) -> None:
    pushing.annotations(annotated(paper(1)), at_server=False)
    with pytest.raises(NothingFound, match="none of the papers comes from Zotero"):
        pushing.run("zotero-push")


def test_nothing_is_selected(pushing: Pushing) -> None:
    pushing.annotations(from_zotero(1))
    with pytest.raises(NothingFound, match="no annotation meets year=1990"):
        pushing.run("zotero-push year=1990")
    with pytest.raises(NothingFound, match="no annotations by the framework two-moves"):
        pushing.run(f"zotero-push --framework {TWO_MOVES}")


def test_a_key_that_may_not_write_and_one_of_another_user(pushing: Pushing) -> None:
    pushing.annotations(from_zotero(1))
    pushing.api.write = False
    with pytest.raises(UsageError, match="has no access to the library users/475425"):
        pushing.run("zotero-push")
    pushing.api.write, pushing.api.read_notes = True, False
    with pytest.raises(UsageError, match="has no access to the library users/475425"):
        pushing.run("zotero-push")
    pushing.api.read_notes, pushing.api.user = True, "12"
    with pytest.raises(UsageError, match="does not belong to the owner"):
        pushing.run("zotero-push")
    assert not pushing.api.notes()


def test_nobody_is_there_to_ask(pushing: Pushing) -> None:
    pushing.annotations(from_zotero(1))
    pushing.app.frontend = Frontend("script")
    with pytest.raises(NotAllowed, match=r"writes 1 note into Zotero, and nobody .*\. `--yes`"):
        pushing.run("zotero-push")
    assert not pushing.api.notes()
    assert pushing.run("zotero-push --yes")["code"] == 0
    assert pushing.api.notes()


def test_a_paper_of_another_source_is_pushed_once_zotero_is_added(
    pushing: Pushing, tmp_path: Path
) -> None:
    of = replace(paper(1), id_field="id", id="ledger", source={"doi": "10.1234/Ledger"})
    pushing.annotations(annotated(of), at_server=False)
    with ZoteroLibrary(tmp_path / "Zotero") as library:
        key = library.add("Paper 1", f"{of.abstract} In Zotero.", DOI="10.1234/ledger")
    pushing.api.add(LIBRARY, key)
    pushing.run(f"add '{tmp_path / 'Zotero'}'")
    assert pushing.run("zotero-push")["counts"] == {"create": 1}
    assert [*pushing.api.notes()] == [key]


def test_one_process_at_a_time(pushing: Pushing) -> None:
    pushing.annotations(from_zotero(1))
    with (
        job_lock(locks(pushing.corpus), "notes in Zotero"),
        pytest.raises(UsageError, match="notes in Zotero is locked by process"),
    ):
        pushing.run("zotero-push")


def test_nothing_is_sent_that_cannot_be_recorded(pushing: Pushing) -> None:
    pushing.annotations(from_zotero(1))
    pushing.corpus.with_name("corpus.db.zotero.jsonl").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        pushing.run("zotero-push")
    assert not pushing.api.notes()


# Failures of the server


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_waited_for(pushing: Pushing, status: int) -> None:
    pushing.annotations(from_zotero(1))
    busy = (status, {"Retry-After": "0.01"})
    pushing.api.faults = [("GET", busy), ("GET", busy), ("POST", busy)]
    assert pushing.run("zotero-push")["code"] == 0
    assert len(pushing.api.notes()) == 1


def test_a_server_that_stays_busy(pushing: Pushing) -> None:
    pushing.annotations(from_zotero(1))
    pushing.api.faults = [("GET", (429, {"Retry-After": "0.01"}))] * zotero_api.TRIES
    with pytest.raises(SkillFailed, match="it was busy 5 times"):
        pushing.run("zotero-push")
    pushing.api.faults = [("GET", (429, {"Retry-After": "86400"}))]
    with pytest.raises(SkillFailed, match="no request for 86,400 s"):
        pushing.run("zotero-push")


def test_a_forbidden_write_in_the_middle(pushing: Pushing) -> None:
    pushing.annotations(*map(from_zotero, range(1, 61)))
    pushing.api.before_write = lambda: pushing.api.faults.append(("POST", (403, {})))
    done = pushing.run("zotero-push")
    assert done["code"] == 1
    assert len(done["failed"]) == 60
    assert "has no access to the library" in pushing.stderr


def test_the_server_goes_away_after_the_first_batch(pushing: Pushing) -> None:
    pushing.annotations(*map(from_zotero, range(1, 121)))
    pushing.api.faults = [("POST", (200, {}))]  # a reply without results
    done = pushing.run("zotero-push")
    assert done["code"] == 1
    assert "its reply cannot be read" in pushing.stderr
    assert pushing.run("zotero-push")["counts"] == {"create": 120}


@pytest.mark.parametrize(
    "content", [[], {}, {"success": []}, {"success": {"7": "X", "x": 1}}, {"failed": {"0": 1}}]
)
def test_a_result_that_is_malformed(pushing: Pushing, content: object) -> None:
    pushing.annotations(from_zotero(1))
    pushing.api.faults = [("POST", (200, {}, content))]
    done = pushing.run("zotero-push")
    assert (done["code"], len(done["failed"])) == (1, 1)


@pytest.mark.parametrize("content", [[], {"access": 1}, {"userID": 475425, "access": {"user": 1}}])
def test_rights_that_are_malformed(pushing: Pushing, content: object) -> None:
    pushing.annotations(from_zotero(1))
    pushing.api.faults = [("GET", (200, {}, content))]
    with pytest.raises((SkillFailed, UsageError)):
        pushing.run("zotero-push")


@pytest.mark.parametrize("fault", ["drop", "lose"])
def test_a_reply_that_does_not_come(pushing: Pushing, fault: str) -> None:
    """The notes may be written or not; the next push finds out, and none is there twice."""
    pushing.annotations(*map(from_zotero, range(1, 61)))
    pushing.api.faults = [("POST", fault)]
    done = pushing.run("zotero-push")
    assert done["code"] == 1
    assert "it cannot be reached" in pushing.stderr
    again = pushing.run("zotero-push")["counts"]
    assert again == ({"create": 60} if fault == "drop" else {"unchanged": 50, "create": 10})
    notes = [one for one in pushing.api.items[LIBRARY].values() if one["itemType"] == "note"]
    assert len(notes) == 60
    pushing.run("zotero-undo")
    assert not pushing.api.notes()


@pytest.mark.parametrize("fault", ["empty", "busy"])
def test_notes_that_are_written_but_not_confirmed(pushing: Pushing, fault: str) -> None:
    """After "busy", the notes are sent once more, are there already, and are read again."""
    pushing.annotations(*map(from_zotero, range(1, 4)))
    pushing.api.faults = [("POST", fault)]
    done = pushing.run("zotero-push")
    assert (done["code"], len(done["failed"])) == ((1, 3) if fault == "empty" else (0, 0))
    assert len(pushing.api.notes()) == 3
    assert pushing.run("zotero-push")["counts"] == {"unchanged": 3}
    assert len(pushing.run("zotero-undo")["deleted"]) == 3
    assert not pushing.api.notes()


def test_some_notes_of_a_batch_fail(pushing: Pushing) -> None:
    pushing.annotations(*map(from_zotero, range(1, 4)))
    pushing.api.refused[item_key(2)] = (400, "Bad <parent>\nitem")
    done = pushing.run("zotero-push")
    assert done["code"] == 1
    assert [*done["failed"].values()] == ["400 Bad <parent> item"]
    assert f"failed   {item_key(2)}  Paper 2: 400 Bad <parent> item" in done["text"]
    assert sorted(pushing.api.notes()) == [item_key(1), item_key(3)]
    pushing.api.refused.clear()
    assert pushing.run("zotero-push")["counts"] == {"unchanged": 2, "create": 1}


def test_a_note_that_changes_after_it_was_compared(pushing: Pushing) -> None:
    pushing.annotations(from_zotero(1, claim="Old."))
    pushing.run("zotero-push")
    key = pushing.api.notes()[item_key(1)]["key"]
    pushing.annotations(from_zotero(1, model="second", claim="New."))
    pushing.api.before_write = lambda: pushing.api.add(LIBRARY, key, note="<p>Mine</p>")
    done = pushing.run("zotero-push")
    assert (done["code"], done["failed"], done["counts"]) == (0, {}, {"edited": 1})
    assert pushing.api.notes()[item_key(1)]["note"] == "<p>Mine</p>"


def test_the_key_is_nowhere(pushing: Pushing, tmp_path: Path) -> None:
    pushing.annotations(from_zotero(1))
    pushing.api.faults = [("GET", (500, {}))]
    with pytest.raises(SkillFailed) as caught:
        pushing.run("zotero-push")
    pushing.run("zotero-push")
    seen = [str(caught.value), pushing.stderr, repr(caught.value.__cause__)]
    seen += [path for _, path in pushing.api.requests]
    assert not any(KEY in text for text in seen)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(KEY.encode() in path.read_bytes() for path in files)


@pytest.fixture
def pushed(pushing: Pushing) -> Pushing:
    pushing.api.add(LIBRARY, "MYNTE234", itemType="note", parentItem=item_key(1), note="Mine")
    pushing.annotations(*map(from_zotero, range(1, 4)))
    pushing.run("zotero-push")
    pushing.questions.clear()
    return pushing


def keys(pushing: Pushing) -> dict[str, str]:
    """Return the notes by their items, without that of the person."""
    items = pushing.api.items[LIBRARY].values()
    ours = [one for one in items if one["itemType"] == "note" and one["key"] != "MYNTE234"]
    return {one["parentItem"]: one["key"] for one in ours}


def test_undo_deletes_what_was_written(pushed: Pushing) -> None:
    written = keys(pushed)
    done = pushed.run("zotero-undo")
    assert (sorted(done["deleted"]), done["kept"]) == (sorted(written.values()), {})
    change = "deletes 3 notes in Zotero, except notes that a person has changed"
    assert pushed.questions == [f"/corpus zotero-undo {change}. Allow it?"]
    left = sorted(pushed.api.items[LIBRARY])
    assert left == sorted(["MYNTE234", *map(item_key, range(1, 4))])
    with pytest.raises(NothingFound, match="no note was written"):
        pushed.run("zotero-undo")
    assert pushed.run("zotero-push")["counts"] == {"create": 3}


def test_undo_keeps_what_a_person_changed(pushed: Pushing) -> None:
    changed, trashed, deleted = (keys(pushed)[item_key(number)] for number in range(1, 4))
    pushed.api.add(LIBRARY, changed, note="<p>Mine now</p>")
    pushed.api.add(LIBRARY, trashed, deleted=1)
    del pushed.api.items[LIBRARY][deleted]
    done = pushed.run("zotero-undo")
    assert (done["deleted"], done["kept"]) == ([trashed], {changed: "a person changed it"})
    assert keys(pushed) == {item_key(1): changed}
    check_output(Corpus(), "zotero-undo", pushed.app.dispatch("/corpus zotero-undo").result)


def test_many_that_are_kept(pushing: Pushing) -> None:
    pushing.annotations(*map(from_zotero, range(1, 43)))
    pushing.run("zotero-push")
    for key in keys(pushing).values():
        pushing.api.add(LIBRARY, key, note="<p>Mine now</p>")
    done = pushing.run("zotero-undo")
    assert len(done["kept"]) == 42
    assert done["text"].splitlines()[-1] == "and 2 more"


def test_undo_with_dry_run(pushed: Pushing) -> None:
    done = pushed.run("zotero-undo --dry-run")
    assert len(done["deleted"]) == len(keys(pushed)) == 3
    assert "Would delete 3 notes" in done["text"]
    assert not pushed.questions


def test_a_note_that_changes_before_it_is_deleted_is_compared_again(pushed: Pushing) -> None:
    changed = keys(pushed)[item_key(2)]
    pushed.api.before_write = lambda: pushed.api.add(LIBRARY, changed, note="<p>Mine</p>")
    done = pushed.run("zotero-undo")
    assert done["kept"] == {changed: "a person changed it"}
    assert [*keys(pushed).values()] == [changed]


def test_undo_without_consent(pushed: Pushing) -> None:
    pushed.allowed = False
    with pytest.raises(NotAllowed):
        pushed.run("zotero-undo")
    assert len(keys(pushed)) == 3


def test_undo_goes_on_after_the_server_was_gone(pushing: Pushing) -> None:
    pushing.annotations(*map(from_zotero, range(1, 121)))
    pushing.run("zotero-push")
    pushing.api.faults = [("DELETE", "lose")]
    with pytest.raises(SkillFailed, match="it cannot be reached"):
        pushing.run("zotero-undo")
    assert len(pushing.api.notes()) == 70
    assert len(pushing.run("zotero-undo")["deleted"]) == 70
    assert not pushing.api.notes()


def test_the_record_of_a_killed_program(pushed: Pushing) -> None:
    record = pushed.corpus.with_name("corpus.db.zotero.jsonl")
    record.write_bytes(record.read_bytes() + b'{"server": "http')  # killed before it sent the note
    pushed.annotations(from_zotero(4))
    assert pushed.run("zotero-push")["counts"] == {"unchanged": 3, "create": 1}
    assert len(pushed.run("zotero-undo")["deleted"]) == 4
    record.write_bytes(b"{}\n" + record.read_bytes())
    with pytest.raises(InputError, match="line 1: is not a record of a note"):
        pushed.run("zotero-undo")


def test_notes_at_another_server_are_kept(pushed: Pushing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOTERO_API_URL", pushed.api.url.replace("127.0.0.1", "localhost"))
    assert set(pushed.run("zotero-undo")["kept"].values()) == {"it is at another server"}
    assert len(keys(pushed)) == 3
