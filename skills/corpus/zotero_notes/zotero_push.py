"""Run `/corpus zotero-push`: write the notes that a library does not have as they are."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from harness.api.skill import Call, Result
from harness.errors import HarnessError, InputError, NotAllowed, NothingFound, OutputError
from harness.support.process import job_lock
from harness.support.text_input import place, reading
from skills.corpus.corpus_store import Database
from skills.corpus.db.connection import database, locks, open_corpus
from skills.corpus.search import filters
from skills.corpus.zotero_notes import note_plan as notes
from skills.corpus.zotero_notes.note_plan import ACTIONS, Step, Wanted, steps, wanted
from skills.corpus.zotero_notes.zotero_api import (
    CONFLICT,
    SILENT,
    Conflict,
    Library,
    LocalLibrary,
    batches,
)
from skills.nanda.framework_option import selected_framework
from skills.nanda.text import counted, flatten

NOT_KNOWN = "sent, and not known what became of it"


def push(call: Call) -> Result:
    """Write the notes of the selected annotations that a library does not have as they are."""
    with locked(call) as path:
        found, elsewhere = _selected(call, path)
        record = Record(path)
        planned: list[Step] = []
        for name in dict.fromkeys(one.library for one in found):
            with call.screen.progress(f"reading {name}"), library_named(call, name) as library:
                planned += _planned(call, library, found, record)
        due = [step for step in planned if step.data]
        failed: dict[str, str] = {}
        stopped = None
        if due and not call.options.dry_run:
            count = counted(len(due), "note")
            consent(call, preview(planned), f"write {count} into Zotero")
            failed, stopped = _written(call, due, record)
        return _result(call, planned, elsewhere, failed, stopped)


def _selected(call: Call, path: Path) -> tuple[list[Wanted], int]:
    """Return the notes of the selected annotations, and how many papers are not from Zotero."""
    framework = selected_framework(call.options.framework, call.frameworks)
    with open_corpus(path, must_exist=True) as db:
        corpus = Database(db, framework)
        conditions = filters.parse(call.text, framework) if call.text.strip() else []
        ids = corpus.select(conditions).ids if conditions else corpus.current_ids()
        ids = sorted(ids)
        pairs = zip(ids, corpus.annotated(ids), strict=True)
        found = list(wanted(db, pairs, framework))
    if not found:
        none = f"the corpus has no annotations by the framework {framework.name}"
        raise NothingFound(
            f"no annotation meets {flatten(call.text)[:80]}" if conditions else none,
            hint="`/corpus stats` shows what there is.",
        )
    own = [one for one in found if one is not None]
    if not own:
        raise NothingFound(
            "none of these annotations is of a paper from Zotero",
            hint="`/annotate ~/Zotero` annotates them; `/corpus add ~/Zotero` finds those that "
            "are annotated already.",
        )
    # An item whose abstract has changed has several annotations; the newest is the last.
    by_item = {(one.library, one.item): one for one in own}
    return list(by_item.values()), len(found) - len(own)


def _planned(call: Call, library: Library, found: Sequence[Wanted], record: Record) -> list[Step]:
    framework = selected_framework(call.options.framework, call.frameworks)
    library.check_access(write=not call.options.dry_run)
    entries = [
        entry
        for entry in record.entries()
        if (entry.server, entry.library) == (library.server, library.name)
    ]
    by_this = [entry for entry in entries if entry.framework == framework.name]
    recorded = {entry.note: entry.item for entry in by_this}
    unsure = {entry.note for entry in by_this if entry.state == "sent"}
    others = {entry.note for entry in entries} - recorded.keys()
    own = [one for one in found if one.library == library.name]
    return steps(library, own, recorded, framework, unsure=unsure, others=others)


def _written(
    call: Call, due: Sequence[Step], record: Record
) -> tuple[dict[str, str], HarnessError | None]:
    """Write notes, and return why some of them failed, and what has stopped the rest."""
    failed: dict[str, str] = {}
    done = 0
    names = dict.fromkeys(step.wanted.library for step in due)
    with call.screen.progress("writing notes") as tick:
        for name in names:
            own = [step for step in due if step.wanted.library == name]
            with library_named(call, name) as library:
                for batch in batches(own):
                    try:
                        failed |= _sent(library, batch, record)
                    except HarnessError as exc:
                        sent = {step.key for step in batch}
                        rest = [step.key for step in due[done:]]
                        failed |= {k: NOT_KNOWN if k in sent else "not sent" for k in rest}
                        return failed, exc
                    done += len(batch)
                    tick(f"{done:,} of {len(due):,}")
    return failed, None


def _sent(library: Library, batch: Sequence[Step], record: Record) -> dict[str, str]:
    record.append(_entries(library, batch, "sent"))
    answer = library.write([step.data for step in batch])
    written = [step for step in batch if step.key in answer.done]
    # A conflict at a new note is one that an earlier try has written, whose answer was lost.
    refused = {key for key, why in answer.failed.items() if why != SILENT and why[:3] != CONFLICT}
    never = [step for step in batch if step.key in refused and step.action == "create"]
    record.append([*_entries(library, written, "written"), *_entries(library, never, "gone")])
    return {
        key: "it changed meanwhile" if why[:3] == CONFLICT else why
        for key, why in answer.failed.items()
    }


def _entries(library: Library, of: Sequence[Step], state: State) -> list[Entry]:
    server, name = library.server, library.name
    return [
        Entry(server, name, one.wanted.item, one.key, state, one.wanted.note.framework)
        for one in of
    ]


def _result(
    call: Call,
    planned: Sequence[Step],
    elsewhere: int,
    failed: dict[str, str],
    stopped: HarnessError | None,
) -> Result:
    dry_run = call.options.dry_run
    if elsewhere:
        count = counted(elsewhere, "annotation")
        call.screen.notice(f"left out, since their papers are not from Zotero: {count}")
    if stopped is not None:
        call.screen.notice(str(stopped))
    data = {
        "dry_run": dry_run,
        "counts": dict(Counter(step.action for step in planned)),
        "elsewhere": elsewhere,
        "failed": failed,
        "notes": [step.as_json() for step in planned],
    }
    text = pushed(planned, failed, dry_run=dry_run)
    return Result(text, data, exit_code=1 if failed else 0)


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
    text = undone(deleted, kept, dry_run=call.options.dry_run)
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


@contextlib.contextmanager
def locked(call: Call) -> Iterator[Path]:
    """Return the path of the corpus, whose notes no other process writes meanwhile.

    Raises:
        InputError: there is none, or it is a folder of parts.
        UsageError: another process writes them.
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


def library_named(call: Call, name: str) -> Library:
    """Return the library of this name, for `with`.

    Raises:
        InputError: it is only on the user's computer.
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


def consent(call: Call, preview: str, action: str) -> None:
    """Ask the user whether notes may be changed.

    Args:
        preview: what is shown before the question.
        action: what would be done, "write 3 notes into Zotero".

    Raises:
        NotAllowed: they refuse, or there is nobody to ask.
    """
    if call.yes:
        return
    if call.confirm is None:
        raise NotAllowed(
            f"nobody is here to allow this: {action}",
            hint="`--yes` before the line allows it; `--dry-run` only shows what would be done.",
        )
    if preview:
        call.screen.notice(preview)
    if not call.confirm(f"{action[:1].upper()}{action[1:]}?"):
        raise NotAllowed("you did not allow it, and nothing was changed in Zotero")
    if call.options.local:
        call.screen.notice("Zotero shows a question, too; Always Allow there answers it for good.")


_LONGEST_LINE = 4096

State = Literal["sent", "written", "gone"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a note.

    Attributes:
        server: the address of the API.
        library: "users/475425" or "groups/77".
        item, note: keys of the item, and of the note below it.
        state: "gone" if it was removed again, or never created.
        framework: that of its annotation.
    """

    server: str
    library: str
    item: str
    note: str
    state: State
    framework: str = "nanda"


class Record:
    """The notes that were written from a corpus."""

    def __init__(self, corpus: Path) -> None:
        self.path = corpus.with_name(f"{corpus.name}.zotero.jsonl")

    def entries(self) -> list[Entry]:
        """Return the last state of each note that is not gone.

        Raises:
            InputError: a line is damaged. A last line without an end was not yet acted upon.
        """
        if not self.path.exists():
            return []
        with reading(self.path):
            lines = self.path.read_bytes().split(b"\n")
        found: dict[tuple[str, str, str], Entry] = {}
        for number, line in enumerate(lines[:-1], start=1):
            try:
                entry = Entry(**json.loads(line))
            except (ValueError, TypeError) as exc:
                raise InputError(
                    "is not a record of a note in Zotero",
                    where=place(self.path, "line", number),
                    hint="Remove the line; its note can be deleted in Zotero.",
                ) from exc
            found[entry.server, entry.library, entry.note] = entry
        return [entry for entry in found.values() if entry.state != "gone"]

    def append(self, entries: Iterable[Entry]) -> None:
        """Append states of notes, and return when they are on the disk.

        Raises:
            OutputError: they cannot be written.
        """
        text = "".join(json.dumps(asdict(entry)) + "\n" for entry in entries).encode()
        try:
            with self.path.open("a+b") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _LONGEST_LINE))
                begun = file.read().rpartition(b"\n")[2]
                file.truncate(size - len(begun))  # of a program that ended while it wrote
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as exc:
            raise OutputError(f"cannot be written ({exc.strerror})", where=str(self.path)) from exc


LISTED = 40
"""Notes that are shown one by one; `--json` has all."""
_TITLE = 60


def preview(planned: Sequence[Step]) -> str:
    """Return how many notes of each kind there are, and the first ones with their items."""
    counts = Counter(step.action for step in planned)
    total = [f"{counts[action]:,} {words}" for action, words in ACTIONS.items() if counts[action]]
    shown = [step for step in planned if step.action != "unchanged"]
    head = f"{counted(len(planned), 'note')}: {', '.join(total)}"
    return "\n".join([head, *_first(map(_line, shown))])


def pushed(planned: Sequence[Step], failed: Mapping[str, str], *, dry_run: bool) -> str:
    """Return what was written, or would be."""
    if dry_run:
        return f"{preview(planned)}\nNothing was written: --dry-run."
    due = [step for step in planned if step.data]
    done = [step for step in due if step.key not in failed]
    counts = Counter(step.action for step in done)
    left = Counter(step.action for step in planned if not step.data)
    made = (
        f"Created {counted(counts['create'], 'note')} and updated {counts['update']:,} in Zotero."
    )
    lines = [made if due else "There is nothing to write."]
    lines += [f"{count:,} {ACTIONS[action]}" for action, count in left.items()]
    lines += _first(
        f"failed   {_named(step)}: {failed[step.key]}" for step in due if step.key in failed
    )
    if done:
        lines.append("`/corpus zotero-undo` removes them.")
    return "\n".join(lines)


def undone(deleted: Sequence[Entry], kept: Sequence[tuple[Entry, str]], *, dry_run: bool) -> str:
    """Return which notes were deleted, or would be, and which stay."""
    verb = "Would delete" if dry_run else "Deleted"
    lines = [f"{verb} {counted(len(deleted), 'note')} in Zotero."]
    lines += _first(f"kept     {entry.library}/items/{entry.note}: {why}" for entry, why in kept)
    return "\n".join(lines)


def _first(lines: Iterable[str]) -> list[str]:
    """Return the first `LISTED` lines, and how many more there are."""
    known = list(lines)
    more = [f"... and {len(known) - LISTED:,} more"] * (len(known) > LISTED)
    return [*known[:LISTED], *more]


def _line(step: Step) -> str:
    tags = ", ".join(step.wanted.note.tags) if step.data else ""
    return f"{step.action:<9}{_named(step)}{'  ' * bool(tags)}{tags}"


def _named(step: Step) -> str:
    title = flatten(step.wanted.title)
    short = title if len(title) <= _TITLE else f"{title[: _TITLE - 4]} ..."
    return f"{step.wanted.item}  {short}"
