"""Delete the notes that were written into Zotero, and nothing else."""

from __future__ import annotations

import pytest
from declared_outputs import check_output
from pushing import LIBRARY, Pushing, from_zotero, item_key

from harness.errors import InputError, NotAllowed, NothingFound, SkillFailed
from skills.corpus.plugin import Corpus


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
    assert pushed.questions == ["Delete 3 notes in Zotero, except those that a person changed?"]
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
    assert done["text"].splitlines()[-1] == "... and 2 more"


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
    record.write_bytes(record.read_bytes() + b'{"server": "http')  # it had not sent it yet
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
