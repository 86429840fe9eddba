"""/corpus zotero-push and zotero-undo: write annotations to Zotero as notes, and delete them."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from harness.api.skill import Call, Result
from harness.errors import HarnessError, InputError, NotAllowed, NothingFound
from harness.support.process import job_lock
from skills.corpus.corpus_store import Database
from skills.corpus.db.connection import database, locks, open_corpus
from skills.corpus.search import filters
from skills.corpus.zotero_notes.note_plan import (
    ACTIONS,
    Entry,
    Note,
    Record,
    State,
    Step,
    is_unchanged,
    notes_of,
    plan,
)
from skills.corpus.zotero_notes.zotero_api import (
    CONFLICT,
    SILENT,
    Conflict,
    Library,
    LocalLibrary,
    batches,
)
from skills.nanda.framework import Framework
from skills.nanda.framework_option import selected_framework
from skills.nanda.text import counted, flatten

LISTED = 40
"""Maximum number of notes that are listed; `--json` contains all notes."""
TRIES = 3
"""Maximum number of comparisons, if the library changes before the notes are deleted."""
_TITLE = 60


def push(call: Call) -> Result:
    """Write the notes of the selected annotations, except notes that are in a library already."""
    framework = selected_framework(call.options.framework, call.frameworks)
    dry_run = call.options.dry_run
    with _locked(call) as path:
        notes, elsewhere = _selected(call, path, framework)
        record = Record(path)
        entries = record.entries()
        steps: list[Step] = []
        for name in dict.fromkeys(note.library for note in notes):
            with call.screen.progress(f"reading {name}"), _library(call, name) as library:
                library.check_access(write=not dry_run)
                at = library.server, library.name
                recorded = [entry for entry in entries if (entry.server, entry.library) == at]
                own = [note for note in notes if note.library == name]
                steps += plan(library, own, recorded, framework)
        due = [step for step in steps if step.data]
        failed: dict[str, str] = {}
        if due and not dry_run:
            _ask(call, _preview(steps), f"write {counted(len(due), 'note')} into Zotero")
            failed = _write(call, due, record, framework)
    if elsewhere:
        count = counted(elsewhere, "annotation")
        call.screen.notice(f"left out, since their papers are not from Zotero: {count}")
    data = {
        "dry_run": dry_run,
        "counts": dict(Counter(step.action for step in steps)),
        "elsewhere": elsewhere,
        "failed": failed,
        "notes": [step.as_json() for step in steps],
    }
    if dry_run:
        text = f"{_preview(steps)}\nNothing was written: --dry-run."
    else:
        text = _written(steps, failed)
    return Result(text, data, exit_code=1 if failed else 0)


def undo(call: Call) -> Result:
    """Delete the notes that were written and have not been changed since."""
    if text := call.text.strip():
        raise InputError(f"/corpus zotero-undo takes no text, but got {text[:40]!r}")
    deleted: list[Entry] = []
    kept: list[tuple[Entry, str]] = []
    with _locked(call) as path:
        record = Record(path)
        entries = record.entries()
        if not entries:
            raise NothingFound(
                "no note was written into Zotero from this corpus",
                hint="`/corpus zotero-push` writes them.",
            )
        if not call.options.dry_run:
            count = counted(len(entries), "note")
            _ask(call, "", f"delete {count} in Zotero, except notes that a person has changed")
        for name in dict.fromkeys(entry.library for entry in entries):
            with _library(call, name) as library, call.screen.progress(f"deleting in {name}"):
                of_library = [entry for entry in entries if entry.library == name]
                own = [entry for entry in of_library if entry.server == library.server]
                others = (entry for entry in of_library if entry not in own)
                kept += [(entry, "it is at another server") for entry in others]
                for batch in batches(own):
                    gone, left = _delete(library, batch, record, dry_run=call.options.dry_run)
                    deleted += gone
                    kept += left
    verb = "Would delete" if call.options.dry_run else "Deleted"
    lines = [f"{verb} {counted(len(deleted), 'note')} in Zotero."]
    lines += _first(f"kept     {entry.library}/items/{entry.note}: {why}" for entry, why in kept)
    data = {
        "dry_run": call.options.dry_run,
        "deleted": [entry.note for entry in deleted],
        "kept": {entry.note: why for entry, why in kept},
    }
    return Result("\n".join(lines), data)


@contextlib.contextmanager
def _locked(call: Call) -> Iterator[Path]:
    """Yield the path of the corpus; other processes cannot write its notes within the block.

    Raises:
        InputError: the corpus is missing, or it is a folder of parts.
        UsageError: another process writes the notes.
    """
    path = database(call)
    if path.is_dir():
        raise InputError(
            "is a folder of parts, which does not know the items of its papers",
            where=str(path),
            hint="`/corpus add FOLDER` imports it into a database.",
        )
    with open_corpus(path, must_exist=True):
        pass
    with job_lock(locks(path), "notes in Zotero"):
        yield path


def _library(call: Call, name: str) -> Library:
    """Return the library with this name, as a context manager.

    Raises:
        InputError: the library is only on the user's computer.
        UsageError: the key is missing.
    """
    if call.options.local:
        return LocalLibrary(name, call.cancel)
    if name == "users/local":
        raise InputError(
            "these papers are in a Zotero library that does not synchronize with zotero.org",
            hint="`--local` writes into a Zotero 10 that runs here.",
        )
    return Library(name, call.cancel)


def _ask(call: Call, preview: str, action: str) -> None:
    """Ask the user for permission to change notes.

    Args:
        preview: text that is shown before the question.
        action: the change, such as "write 3 notes into Zotero".

    Raises:
        NotAllowed: the user refuses, or the session is not interactive.
    """
    if call.yes:
        return
    if call.confirm is None:
        raise NotAllowed(
            f"nobody is here to allow this: {action}",
            hint="`--yes` before the line allows it; `--dry-run` only shows the changes.",
        )
    if preview:
        call.screen.notice(preview)
    if not call.confirm(f"{action[:1].upper()}{action[1:]}?"):
        raise NotAllowed("you did not allow it, and nothing was changed in Zotero")
    if call.options.local:
        call.screen.notice("Zotero shows a question, too; Always Allow there answers it for good.")


def _selected(call: Call, path: Path, framework: Framework) -> tuple[list[Note], int]:
    """Return the notes of selected annotations, and the number of papers not from Zotero."""
    with open_corpus(path, must_exist=True) as db:
        corpus = Database(db, framework)
        conditions = filters.parse(call.text, framework) if call.text.strip() else []
        ids = sorted(corpus.select(conditions).ids if conditions else corpus.current_ids())
        found = list(notes_of(db, zip(ids, corpus.annotated(ids), strict=True), framework))
    if not found:
        none = f"the corpus has no annotations by the framework {framework.name}"
        raise NothingFound(
            f"no annotation meets {flatten(call.text)[:80]}" if conditions else none,
            hint="`/corpus stats` shows the contents of the corpus.",
        )
    # An item whose abstract has changed has several annotations; the last one is the latest.
    by_item = {(note.library, note.item): note for note in found if note is not None}
    if not by_item:
        raise NothingFound(
            "none of these annotations is of a paper from Zotero",
            hint="`/annotate ~/Zotero` annotates them; `/corpus add ~/Zotero` finds papers "
            "that are annotated already.",
        )
    return list(by_item.values()), found.count(None)


def _write(call: Call, due: Sequence[Step], record: Record, framework: Framework) -> dict[str, str]:
    """Write notes; return the reasons of failed notes, by key."""
    failed: dict[str, str] = {}
    done = 0
    with call.screen.progress("writing notes") as tick:
        for name in dict.fromkeys(step.note.library for step in due):
            own = [step for step in due if step.note.library == name]
            with _library(call, name) as library:
                for batch in batches(own):
                    try:
                        failed |= _send(library, batch, record, framework)
                    except HarnessError as exc:
                        call.screen.notice(str(exc))
                        failed |= dict.fromkeys((step.key for step in due[done:]), "not sent")
                        unknown = "sent, and not known what became of it"
                        return failed | dict.fromkeys((step.key for step in batch), unknown)
                    done += len(batch)
                    tick(f"{done:,} of {len(due):,}")
    return failed


def _send(
    library: Library, batch: Sequence[Step], record: Record, framework: Framework
) -> dict[str, str]:
    def entries(steps: Iterable[Step], state: State) -> list[Entry]:
        at = library.server, library.name
        return [Entry(*at, one.note.item, one.key, state, framework.name) for one in steps]

    record.append(entries(batch, "sent"))
    failed = library.write([step.data for step in batch])
    # A conflict at a new note means that an earlier attempt has written it, but its answer was
    # lost.
    refused = {key for key, why in failed.items() if why != SILENT and why[:3] != CONFLICT}
    written = [step for step in batch if step.key not in failed]
    never = [step for step in batch if step.key in refused and step.action == "create"]
    record.append([*entries(written, "written"), *entries(never, "gone")])
    changed = "it changed meanwhile"
    return {key: changed if why[:3] == CONFLICT else why for key, why in failed.items()}


def _delete(
    library: Library, batch: Sequence[Entry], record: Record, *, dry_run: bool
) -> tuple[list[Entry], list[tuple[Entry, str]]]:
    """Delete unchanged notes; return them, and the other notes with reasons."""
    for _ in range(TRIES):
        present = library.items((entry.note for entry in batch), trashed=True)
        version = library.version
        absent = [entry for entry in batch if entry.note not in present]
        html = {key: str(item["data"].get("note", "")) for key, item in present.items()}
        ours = [entry for entry in batch if is_unchanged(html.get(entry.note, ""))]
        kept = [(e, "a person changed it") for e in batch if e not in ours and e not in absent]
        if dry_run:
            return ours, kept
        try:
            if ours:
                library.delete([entry.note for entry in ours], version)
        except Conflict:
            continue
        record.append(replace(entry, state="gone") for entry in (*ours, *absent))
        return ours, kept
    return [], [(entry, "the library changed all the time") for entry in batch]


def _preview(steps: Sequence[Step]) -> str:
    """Return the number of notes for each action, and the first notes with their items."""
    counts = Counter(step.action for step in steps)
    total = [f"{counts[action]:,} {words}" for action, words in ACTIONS.items() if counts[action]]
    lines = []
    for step in steps:
        if step.action != "unchanged":
            tags = f"  {', '.join(step.note.tags)}" if step.data else ""
            lines.append(f"{step.action:<9}{_named(step)}{tags}")
    return "\n".join([f"{counted(len(steps), 'note')}: {', '.join(total)}", *_first(lines)])


def _written(steps: Sequence[Step], failed: dict[str, str]) -> str:
    """Return the numbers of notes that were written, and the notes that failed."""
    due = [step for step in steps if step.data]
    done = Counter(step.action for step in due if step.key not in failed)
    left = Counter(step.action for step in steps if not step.data)
    made = f"Created {counted(done['create'], 'note')} and updated {done['update']:,} in Zotero."
    lines = [made if due else "There is nothing to write."]
    lines += [f"{count:,} {ACTIONS[action]}" for action, count in left.items()]
    lines += _first(
        f"failed   {_named(step)}: {failed[step.key]}" for step in due if step.key in failed
    )
    if done:
        lines.append("`/corpus zotero-undo` removes them.")
    return "\n".join(lines)


def _first(lines: Iterable[str]) -> list[str]:
    """Return the first `LISTED` lines, and a line with the number of further lines."""
    known = list(lines)
    more = [f"... and {len(known) - LISTED:,} more"] * (len(known) > LISTED)
    return [*known[:LISTED], *more]


def _named(step: Step) -> str:
    title = flatten(step.note.title)
    short = title if len(title) <= _TITLE else f"{title[: _TITLE - 4]} ..."
    return f"{step.note.item}  {short}"
