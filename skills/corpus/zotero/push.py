"""Run `/corpus zotero-push`: write the notes that a library does not have as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness.api.skill import Call, Result
from harness.errors import HarnessError, NothingFound
from skills.corpus.db.connection import open_corpus
from skills.corpus.search import filters
from skills.corpus.storage.database import Database
from skills.corpus.zotero import views
from skills.corpus.zotero.client import CONFLICT, SILENT, Library, batches
from skills.corpus.zotero.plan import Step, Wanted, steps, wanted
from skills.corpus.zotero.record import Entry, Record, State
from skills.corpus.zotero.session import consent, library_named, locked
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
            consent(call, views.preview(planned), f"write {count} into Zotero")
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
    text = views.pushed(planned, failed, dry_run=dry_run)
    return Result(text, data, exit_code=1 if failed else 0)
