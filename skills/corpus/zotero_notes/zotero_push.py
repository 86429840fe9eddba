"""Implement /corpus zotero-push and zotero-undo: write and delete notes and highlights."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from harness.api.skill import Call, Result
from harness.errors import HarnessError, InputError, NothingFound
from harness.permissions import consent
from harness.support.process import job_lock
from skills.corpus.corpus_store import Database, selected
from skills.corpus.db.connection import database, locks, open_corpus
from skills.corpus.records import Annotated
from skills.corpus.search import filters
from skills.corpus.zotero_notes.highlight_plan import digest_of, highlights_in, plan_highlights
from skills.corpus.zotero_notes.note_plan import (
    ACTIONS,
    Entry,
    Highlight,
    Kind,
    Note,
    Record,
    State,
    Step,
    digest_in,
    notes_of,
    plan,
)
from skills.corpus.zotero_notes.zotero_api import (
    CONFLICT,
    SILENT,
    Conflict,
    Data,
    Library,
    LocalLibrary,
    batches,
)
from skills.nanda.framework import Framework, selected_framework
from skills.nanda.text import counted, first_of, flatten

LISTED = 40
"""Maximum number of printed notes and highlights; `--json` prints all."""
TRIES = 3
"""Maximum number of attempts to delete, and of repetitions of a write, if the library changes."""
CHANGED = "it changed meanwhile"
_TITLE = 60


def push(call: Call) -> Result:
    """Write the notes and highlights of the selected annotations to Zotero.

    Obsolete highlights are deleted. With --dry-run, the steps are only listed.
    """
    framework = selected_framework(call.options.framework, call.frameworks)
    dry_run = call.options.dry_run
    with locked(call) as path:
        papers, elsewhere = _selected(call, path, framework)
        record = Record(path)
        steps: list[Step] = []
        highlights: list[Highlight] = []
        for name in dict.fromkeys(note.library for note, _ in papers):
            with call.screen.progress(f"reading {name}"), library_of(call, name) as library:
                library.check_access(write=not dry_run)
                own = [paper for paper in papers if paper[0].library == name]
                check, notice = call.cancel.check, call.screen.notice
                if call.options.highlights:
                    found = highlights_in(library, own, framework, check=check, notice=notice)
                    highlights += found
                wanted: list[Note | Highlight] = [note for note, _ in own]
                wanted += [one for one in highlights if one.library == name]
                steps += _planned(library, wanted, record, framework)
        failed: dict[str, str] = {}
        due = [step for step in steps if _is_due(step)]
        if due and not dry_run:
            if call.confirm and not call.yes:
                call.screen.notice(_preview(steps))
            _ask(call, f"writes {_things(one.note.kind for one in due)} into Zotero")
            steps, failed = _written_steps(call, steps, record, framework)
    if elsewhere:
        count = counted(elsewhere, "annotation")
        call.screen.notice(f"left out, since their papers do not come from Zotero: {count}")
    bare = len(papers) - len({(one.library, one.item) for one in highlights})
    if bare and call.options.highlights:
        count = counted(bare, "paper")
        call.screen.notice(
            f"without highlights, since no PDF file contains their passages: {count}"
        )
    notes, marks = ([one for one in steps if one.note.kind == kind] for kind in get_args(Kind))
    data = {
        "dry_run": dry_run,
        "counts": dict(Counter(step.action for step in notes)),
        "elsewhere": elsewhere,
        "failed": failed,
        "notes": [step.as_json() for step in notes],
        "highlights": [step.as_json() for step in marks],
    }
    if dry_run:
        text = f"{_preview(steps)}\nNothing was written: --dry-run."
    else:
        text = _written(steps, failed)
    return Result(text, data, exit_code=1 if failed else 0)


def _planned(
    library: Library, wanted: Sequence[Note | Highlight], record: Record, framework: Framework
) -> list[Step]:
    """Return the steps that write the notes and highlights `wanted` to a library.

    Further steps delete obsolete highlights (see `plan_highlights`).
    """
    at = library.server, library.name
    recorded = [entry for entry in record.entries() if (entry.server, entry.library) == at]
    earlier = {kind: [one for one in recorded if one.kind == kind] for kind in get_args(Kind)}
    notes = [one for one in wanted if isinstance(one, Note)]
    highlights = [one for one in wanted if isinstance(one, Highlight)]
    steps = plan(library, notes, earlier["note"], framework) if notes else []
    return [*steps, *plan_highlights(library, highlights, earlier["highlight"], framework)]


def _is_due(step: Step) -> bool:
    return bool(step.data) or step.action == "delete"


def _things(kinds: Iterable[Kind]) -> str:
    """Return the numbers of notes and highlights as text, such as "2 notes and 1 highlight"."""
    counts = Counter(kinds)
    found = [counted(counts[kind], kind) for kind in get_args(Kind) if counts[kind]]
    return " and ".join(found) or counted(0, "note")


def undo(call: Call) -> Result:
    """Delete the notes and highlights that the harness wrote and that nobody has changed since."""
    deleted: list[Entry] = []
    kept: list[tuple[Entry, str]] = []
    with locked(call) as path:
        record = Record(path)
        entries = record.entries()
        if not entries:
            raise NothingFound(
                "no note was written into Zotero from this corpus",
                hint="`/corpus zotero-push` writes notes into Zotero.",
            )
        if not call.options.dry_run:
            counts = _things(entry.kind for entry in entries)
            _ask(call, f"deletes {counts} in Zotero, except notes that a person has changed")
        for name in dict.fromkeys(entry.library for entry in entries):
            with library_of(call, name) as library, call.screen.progress(f"deleting in {name}"):
                of_library = [entry for entry in entries if entry.library == name]
                own = [entry for entry in of_library if entry.server == library.server]
                others = (entry for entry in of_library if entry not in own)
                kept += [(entry, "it is at another server") for entry in others]
                for batch in batches(own):
                    gone, left = _delete(library, batch, record, dry_run=call.options.dry_run)
                    deleted += gone
                    kept += left
    verb = "Would delete" if call.options.dry_run else "Deleted"
    lines = [f"{verb} {_things(entry.kind for entry in deleted)} in Zotero."]
    lines += first_of(
        (f"kept     {entry.library}/items/{entry.note}: {why}" for entry, why in kept), LISTED
    )
    data = {
        "dry_run": call.options.dry_run,
        "deleted": [entry.note for entry in deleted],
        "kept": {entry.note: why for entry, why in kept},
    }
    return Result("\n".join(lines), data)


@contextlib.contextmanager
def locked(call: Call) -> Iterator[Path]:
    """Yield the path of the corpus, and lock its Zotero notes against other processes.

    Raises:
        InputError: the corpus does not exist.
        OutputError: the corpus is a folder of parts.
        UsageError: another process has locked the notes.
    """
    path = database(call)
    with open_corpus(path, must_exist=True):
        pass
    with job_lock(locks(path), "notes in Zotero"):
        yield path


def library_of(call: Call, name: str) -> Library:
    """Return a library as a context manager: on this computer with `--local`, or at zotero.org.

    Raises:
        InputError: the library is not synchronized with zotero.org, and `--local` is not given.
        UsageError: the key is missing or invalid, or the server has no https address.
    """
    if call.options.local:
        return LocalLibrary(name, call.cancel)
    if name == "users/local":
        raise InputError(
            "these papers are in a Zotero library that does not synchronize with zotero.org",
            hint="`--local` writes into a Zotero 10 that runs on this computer.",
        )
    return Library(name, call.cancel)


def _ask(call: Call, action: str) -> None:
    """Ask the user for permission to change notes in Zotero.

    Args:
        action: the change, such as "writes 3 notes into Zotero".

    Raises:
        NotAllowed: the user refuses, or the session is not interactive.
    """
    consent(f"/corpus {call.subcommand} {action}", call.confirm, yes=call.yes)
    if call.options.local and not call.yes:
        call.screen.notice('Zotero asks for permission too; "Always Allow" there is permanent.')


def _selected(
    call: Call, path: Path, framework: Framework
) -> tuple[list[tuple[Note, Annotated]], int]:
    """Return the notes of selected annotations, and the number of annotations without a note.

    Each note is returned with its annotation. An annotation has no note if its paper does not come
    from Zotero.

    Raises:
        NothingFound: no annotation is selected, or none of the papers comes from Zotero.
    """
    with open_corpus(path, must_exist=True) as db:
        corpus = Database(db, framework)
        conditions = filters.parse(call.text, framework)
        ids = sorted(selected(call, corpus, conditions))
        found = list(notes_of(db, zip(ids, corpus.annotated(ids), strict=True), framework))
    # An item with several abstracts has several annotations; the latest annotation is used.
    by_item = {(one[0].library, one[0].item): one for one in found if one is not None}
    if not by_item:
        raise no_items()
    return list(by_item.values()), found.count(None)


def no_items() -> NothingFound:
    """Return the error that none of the papers comes from Zotero."""
    return NothingFound(
        "none of the papers comes from Zotero",
        hint="`/annotate ~/Zotero` annotates the papers in Zotero; `/corpus add ~/Zotero` "
        "recognizes papers that are already annotated.",
    )


def _written_steps(
    call: Call, steps: list[Step], record: Record, framework: Framework
) -> tuple[list[Step], dict[str, str]]:
    """Perform steps, and return the final steps and the reason of each failure, by key.

    If the server refuses a write because the note or highlight has changed since it was read, the
    step is replaced by a new step. The new step does not overwrite the changes of a person.
    """
    failed = _write(call, steps, record, framework)
    for _ in range(TRIES):
        changed = [step for step in steps if failed.get(step.key) == CHANGED]
        if not changed:
            break
        again: dict[str, Step] = {}
        for name in dict.fromkeys(step.note.library for step in changed):
            own = [step.note for step in changed if step.note.library == name]
            with library_of(call, name) as library:
                planned = _planned(library, own, record, framework)
            again |= {step.key: new for step in changed for new in planned if new.note == step.note}
        steps = [again.get(step.key, step) for step in steps]
        failed = {key: why for key, why in failed.items() if key not in again}
        failed |= _write(call, again.values(), record, framework)
    return steps, failed


def _write(
    call: Call, steps: Iterable[Step], record: Record, framework: Framework
) -> dict[str, str]:
    """Send the due steps in batches, and return the reason of each failure, by key.

    After a request has failed, no further step is sent.
    """
    failed: dict[str, str] = {}
    done = 0

    def kind(step: Step) -> tuple[str, bool]:
        return step.note.library, not step.data

    due = sorted(filter(_is_due, steps), key=kind)
    with call.screen.progress("writing") as tick:
        for (name, _), own in itertools.groupby(due, key=kind):
            with library_of(call, name) as library:
                for batch in batches(list(own)):
                    try:
                        failed |= _send(library, batch, record, framework)
                    except HarnessError as exc:
                        call.screen.notice(str(exc))
                        failed |= dict.fromkeys((step.key for step in due[done:]), "not sent")
                        unknown = "sent, but the result is unknown"
                        return failed | dict.fromkeys((step.key for step in batch), unknown)
                    done += len(batch)
                    tick(f"{done:,} of {len(due):,}")
    return failed


def _send(
    library: Library, batch: Sequence[Step], record: Record, framework: Framework
) -> dict[str, str]:
    def entry(one: Step, state: State) -> Entry:
        digests = (digest_of(one.data, framework.name),) if one.note.kind == "highlight" else ()
        at = library.server, library.name
        return Entry(*at, one.note.item, one.key, state, framework.name, digests)

    if not batch[0].data:
        keys = {step.key for step in batch}
        known = [entry for entry in record.entries() if entry.note in keys]
        return {entry.note: why for entry, why in _delete(library, known, record, dry_run=False)[1]}
    record.append(entry(step, "sent") for step in batch)
    failed = library.write([step.data for step in batch])
    # A conflict for a new note means that an earlier attempt has written the note, but the response
    # was lost.
    refused = {key for key, why in failed.items() if why != SILENT and why[:3] != CONFLICT}
    written = [entry(step, "written") for step in batch if step.key not in failed]
    created = [step for step in batch if step.action == "create"]
    record.append([*written, *(entry(step, "gone") for step in created if step.key in refused)])
    return {key: CHANGED if why[:3] == CONFLICT else why for key, why in failed.items()}


def _delete(
    library: Library, batch: Sequence[Entry], record: Record, *, dry_run: bool
) -> tuple[list[Entry], list[tuple[Entry, str]]]:
    """Delete the notes and highlights that nobody has changed.

    Returns:
        The deleted entries (with `dry_run`, the entries that would be deleted), and the kept
        entries, each with the reason.
    """
    for _ in range(TRIES):
        present = library.items((entry.note for entry in batch), trashed=True)
        version = library.version
        absent = [entry for entry in batch if entry.note not in present]
        data = {key: item["data"] for key, item in present.items()}
        ours = [entry for entry in batch if _is_unchanged(entry, data.get(entry.note, {}))]
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
    return [], [(entry, "the library did not stop changing") for entry in batch]


def _is_unchanged(entry: Entry, data: Data) -> bool:
    """Return True if nobody has changed a note or highlight since the harness wrote it.

    Args:
        data: the fields of the note or highlight in Zotero.
    """
    if entry.digests:
        return digest_of(data, entry.framework) in entry.digests
    return bool(digest_in(str(data.get("note", ""))))


def _preview(steps: Sequence[Step]) -> str:
    """Return the numbers of notes and highlights by action, and a list of the first changes."""
    text = []
    for kind in get_args(Kind):
        own = [step for step in steps if step.note.kind == kind]
        counts = Counter(step.action for step in own)
        total = [f"{counts[one]:,} {words}" for one, words in ACTIONS.items() if counts[one]]
        lines = []
        for step in own:
            if step.action != "unchanged":
                tags = f"  {', '.join(step.note.tags)}" if step.data else ""
                lines.append(f"{step.action:<9}{_named(step)}{tags}")
        if own or kind == "note":
            text += [f"{counted(len(own), kind)}: {', '.join(total)}", *first_of(lines, LISTED)]
    return "\n".join(text)


def _written(steps: Sequence[Step], failed: Mapping[str, str]) -> str:
    """Return a report: the numbers of written and other notes and highlights, and the failures."""
    due = [step for step in steps if _is_due(step)]
    lines = [] if due else ["There is nothing to write."]
    for kind in get_args(Kind):
        own = [step for step in due if step.note.kind == kind]
        done = Counter(step.action for step in own if step.key not in failed)
        if own:
            deleted = f", and deleted {done['delete']:,}" if done["delete"] else ""
            made = f"Created {counted(done['create'], kind)} and updated {done['update']:,}"
            lines.append(f"{made}{deleted} in Zotero.")
    left = Counter(step.action for step in steps if not _is_due(step))
    lines += [f"{count:,} {ACTIONS[action]}" for action, count in left.items()]
    lines += first_of(
        (f"failed   {_named(step)}: {failed[step.key]}" for step in due if step.key in failed),
        LISTED,
    )
    if any(step.key not in failed and step.action != "delete" for step in due):
        lines.append("`/corpus zotero-undo` deletes the notes and highlights.")
    return "\n".join(lines)


def _named(step: Step) -> str:
    title = flatten(step.note.title)
    short = title if len(title) <= _TITLE else f"{title[: _TITLE - 4]} ..."
    if isinstance(step.note, Highlight) and step.note.data:
        short += f"  p. {step.note.data['annotationPageLabel']}"
    return f"{step.note.item}  {short}"
