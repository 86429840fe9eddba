"""/corpus zotero-pull: read the highlights and comments of people in PDF files of a library.

The highlights of the harness are not read, unless a person has changed their passage, their tags or
their comment. Such a highlight has the key that `highlight_plan.key_of` returns. A highlight that
was written and is not there any more was deleted by a person.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from harness.api.skill import Call, Result
from harness.errors import InputError, NothingFound
from skills.corpus.db import reads
from skills.corpus.db.connection import open_corpus
from skills.corpus.db.reads import REVIEWED, PulledHighlight
from skills.corpus.identity.identifiers import ZOTERO
from skills.corpus.outputs import Pulled
from skills.corpus.zotero_notes.highlight_plan import digest_of, key_of
from skills.corpus.zotero_notes.note_plan import Entry, Record, tags_of
from skills.corpus.zotero_notes.zotero_api import Data, Library
from skills.corpus.zotero_notes.zotero_push import library_of, locked
from skills.nanda.framework import Framework
from skills.nanda.framework_option import selected_framework
from skills.nanda.text import counted, flatten

PAGES = 20
"""Maximum number of pages on which a move has highlights."""
_FIELDS = {"text": "Text", "comment": "Comment", "colour": "Color", "page": "PageLabel"}


def pull(call: Call) -> Result:
    """Read the highlights and comments of people, in place of those that were read before."""
    if text := call.text.strip():
        raise InputError(f"/corpus zotero-pull takes no text, but got {text[:40]!r}")
    framework = selected_framework(call.options.framework, call.frameworks)
    every: list[PulledHighlight] = []
    papers = 0
    with locked(call) as path, open_corpus(path, must_exist=True) as db:
        written = {entry.note: entry for entry in Record(path).entries() if entry.digests}
        items: defaultdict[str, defaultdict[str, list[int]]]
        items = defaultdict(lambda: defaultdict(list))
        rows = db.execute("SELECT value, paper_id FROM identifiers WHERE kind = ?", [ZOTERO])
        for place, paper_id in rows:
            library, _, key = place.rpartition("/items/")
            items[library][key].append(paper_id)
        if not items:
            raise NothingFound(
                "no paper of the corpus is from Zotero",
                hint="`/annotate ~/Zotero` annotates them; `/corpus add ~/Zotero` finds papers "
                "that are annotated already.",
            )
        for name, own in items.items():
            with call.screen.progress(f"reading {name}"), library_of(call, name) as library:
                library.check_access(write=False)
                found = _read(library, own, written, framework)
            stored = ((n, one) for item, marks in found.items() for one in marks for n in own[item])
            reads.store_highlights(db, name, stored)
            every += [one for marks in found.values() for one in marks]
            papers += len(found)
    own_marks = [one for one in every if one.kind not in ("deleted", REVIEWED)]
    summary = Pulled(
        papers=papers,
        highlights=sum(bool(one.text) for one in own_marks),
        comments=sum(bool(one.comment) for one in own_marks),
        moves=sum(one.chosen and bool(one.moves(framework)) for one in own_marks),
        reviewed=sum(one.kind == REVIEWED for one in every),
    )
    lines = [
        f"Read {counted(summary.highlights, 'highlight')} and "
        f"{counted(summary.comments, 'comment')} of people in {counted(papers, 'paper')}."
    ]
    if summary.moves or summary.reviewed:
        lines.append(
            f"{counted(summary.moves, 'highlight')} with the tag of a move, and "
            f"{counted(summary.reviewed, 'paper')} with the tag {framework.name}:{REVIEWED}: "
            "`/curate corpus --review` takes them over."
        )
    return Result("\n".join(lines), summary.model_dump())


def _read(
    library: Library, items: Collection[str], written: Mapping[str, Entry], framework: Framework
) -> dict[str, list[PulledHighlight]]:
    """Return the highlights in a library by the keys of their items."""
    attachments = library.children(items, "attachment")
    parents = {str(one["key"]): str(one["data"]["parentItem"]) for one in attachments}
    annotations: defaultdict[str, list[Data]] = defaultdict(list)
    for one in library.children(parents, "annotation"):
        annotations[str(one["data"]["parentItem"])].append(one)
    found: defaultdict[str, list[PulledHighlight]] = defaultdict(list)
    for attachment, item in parents.items():
        ours = {
            key_of(framework, library.name, attachment, move, number): move
            for move in framework.names
            for number in range(PAGES)
        }
        own = annotations[attachment]
        if marks := [*_marks(library, own, ours, written, framework)]:
            found[item] += marks
    mark = f"{framework.name}:{REVIEWED}"
    for key, one in library.items(items).items():
        if mark in (tag["tag"] for tag in tags_of(one["data"])):
            found[key].append(_pulled(library, one, REVIEWED))
    return dict(found)


def _marks(
    library: Library,
    annotations: Sequence[Data],
    ours: Mapping[str, str],
    written: Mapping[str, Entry],
    framework: Framework,
) -> Iterator[PulledHighlight]:
    """Yield the highlights of people on a PDF file, and the highlights that they have deleted.

    Args:
        ours: the moves of the highlights that the harness writes there, by key.
        written: the records of the highlights that were written, by key.
    """
    tags = {str(one["key"]): [tag["tag"] for tag in tags_of(one["data"])] for one in annotations}
    named = {key: f"{framework.name}:{move}" for key, move in ours.items()}
    present = {tag for key, tag in named.items() if tag in tags.get(key, ())}
    for key, tag in named.items():
        entry = written.get(key)
        if entry and entry.state == "written" and tag not in present:
            gone = {"key": key, "data": {"tags": [{"tag": tag}]}}
            yield _pulled(library, gone, "deleted", chosen=True)
    for one in annotations:
        data = one["data"]
        if not (data.get("annotationText") or data.get("annotationComment")):
            continue
        key, chosen = str(one["key"]), True
        if key in ours:
            digests = written[key].digests if key in written else ()
            digest = digest_of(data, framework.name)
            if not digests or digest in digests:
                continue
            passages = {known.partition("-")[0] for known in digests}
            chosen = digest.partition("-")[0] not in passages
        yield _pulled(library, one, str(data.get("annotationType")), chosen=chosen)


def _pulled(library: Library, one: Data, kind: str, *, chosen: bool = False) -> PulledHighlight:
    data = one["data"]
    meta = one.get("meta") or {}
    user = meta.get("lastModifiedByUser") or meta.get("createdByUser") or {}
    owner = library.user if library.name.startswith("users/") else ""
    texts = {
        name: flatten(str(data.get(f"annotation{field}") or "")) for name, field in _FIELDS.items()
    }
    return PulledHighlight(
        library=library.name,
        attachment=str(data.get("parentItem") or ""),
        key=str(one["key"]),
        kind=kind,
        version=int(data.get("version") or 0),
        tags=json.dumps([tag["tag"] for tag in tags_of(data)]),
        **texts,
        sort=str(data.get("annotationSortIndex") or ""),
        author=str(user.get("username") or owner),
        chosen=chosen,
    )
