"""Run `/corpus zotero-undo`: delete the notes that were written and that nobody has changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.api.skill import Call, Result
from harness.errors import InputError, NothingFound
from skills.corpus.zotero import note as notes
from skills.corpus.zotero import views
from skills.corpus.zotero.client import Conflict, Library, batches
from skills.corpus.zotero.record import Entry, Record
from skills.corpus.zotero.session import consent, library_named, locked
from skills.nanda.text import counted

TRIES = 3
"""How often notes are compared again, since the library changed before they were deleted."""


def undo(call: Call) -> Result:
    """Delete the notes that were written and that nobody has changed since."""
    if text := call.text.strip():
        raise InputError(f"/corpus zotero-undo takes no text, but got {text[:40]!r}")
    with locked(call) as path:
        record = Record(path)
        entries = record.entries()
        if not entries:
            raise NothingFound(
                "no note was written into Zotero from this corpus",
                hint="`/corpus zotero-push` writes them.",
            )
        deleted, kept = [], []
        if not call.options.dry_run:
            count = counted(len(entries), "note")
            consent(call, "", f"delete {count} in Zotero, except those that a person changed")
        for name in dict.fromkeys(entry.library for entry in entries):
            of_library = [entry for entry in entries if entry.library == name]
            with library_named(call, name) as library, call.screen.progress(f"deleting in {name}"):
                own = [entry for entry in of_library if entry.server == library.server]
                kept += [
                    (entry, "it is at another server") for entry in of_library if entry not in own
                ]
                for batch in batches(own):
                    gone, left = _undone(call, library, batch, record)
                    deleted += gone
                    kept += left
    text = views.undone(deleted, kept, dry_run=call.options.dry_run)
    data = {
        "dry_run": call.options.dry_run,
        "deleted": [entry.note for entry in deleted],
        "kept": {entry.note: why for entry, why in kept},
    }
    return Result(text, data)


def _undone(
    call: Call, library: Library, batch: Sequence[Entry], record: Record
) -> tuple[list[Entry], list[tuple[Entry, str]]]:
    """Delete notes that are as they were written; return them, and why others stay."""
    for _ in range(TRIES):
        present = library.items((entry.note for entry in batch), trashed=True)
        version = library.version
        absent = [entry for entry in batch if entry.note not in present]
        ours = [
            entry
            for entry in batch
            if entry.note in present and notes.digest_in(_html(present[entry.note]))
        ]
        kept = [(e, "a person changed it") for e in batch if e not in ours and e not in absent]
        if call.options.dry_run:
            return ours, kept
        try:
            if ours:
                library.delete([entry.note for entry in ours], version)
        except Conflict:
            continue
        record.append(replace(entry, state="gone") for entry in (*ours, *absent))
        return ours, kept
    return [], [(entry, "the library changed all the time") for entry in batch]


def _html(item: dict[str, Any]) -> str:
    return str(item["data"].get("note", ""))
