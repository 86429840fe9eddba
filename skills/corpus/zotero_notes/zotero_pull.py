"""Implement /corpus zotero-pull, which reads people's highlights and comments in PDF files.

Highlights of the harness, which are recognized by their keys (see `highlight_plan.key_of`), are
omitted unless a person has edited them. A highlight that the harness wrote counts as deleted if it
does not exist any more, or if a person has removed the tag of its move.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

from harness.api.skill import Call, Result
from skills.corpus.db import reads
from skills.corpus.db.connection import open_corpus
from skills.corpus.db.reads import DELETED, REVIEWED, PulledHighlight
from skills.corpus.identity.identifiers import ZOTERO
from skills.corpus.outputs import Pulled
from skills.corpus.zotero_notes.highlight_plan import digest_of, key_of
from skills.corpus.zotero_notes.note_plan import Entry, Record, tags_of
from skills.corpus.zotero_notes.zotero_api import Data, Library
from skills.corpus.zotero_notes.zotero_push import library_of, locked, no_items
from skills.nanda.framework import Framework, selected_framework
from skills.nanda.text import counted, flatten


def pull(call: Call) -> Result:
    """Store people's highlights and comments in place of the highlights of the last pull."""
    framework = selected_framework(call.options.framework, call.frameworks)
    marks: list[tuple[str, PulledHighlight]] = []
    with locked(call) as path, open_corpus(path, must_exist=True) as db:
        written = {entry.note: entry for entry in Record(path).entries() if entry.digests}
        rows = db.execute("SELECT value, paper_id FROM identifiers WHERE kind = ?", [ZOTERO])
        papers: defaultdict[str, list[int]] = defaultdict(list)
        for place, paper_id in rows:
            papers[place].append(paper_id)
        if not papers:
            raise no_items()
        for name in dict.fromkeys(place.partition("/items/")[0] for place in papers):
            items = [place.rpartition("/")[2] for place in papers if place.startswith(f"{name}/")]
            with call.screen.progress(f"reading {name}"), library_of(call, name) as library:
                library.check_access(write=False)
                found = [*_read(library, items, written, framework)]
            stored = ((n, one) for item, one in found for n in papers[f"{name}/items/{item}"])
            reads.store_highlights(db, name, stored)
            marks += [(f"{name}/{item}", one) for item, one in found if one.kind != DELETED]
    summary = Pulled(
        papers=len({item for item, _ in marks}),
        highlights=sum(bool(one.text) for _, one in marks),
        comments=sum(bool(one.comment) for _, one in marks),
        moves=sum(one.chosen and bool(one.moves(framework)) for _, one in marks),
        reviewed=sum(one.kind == REVIEWED for _, one in marks),
    )
    text = (
        f"Read {counted(summary.highlights, 'highlight')} and "
        f"{counted(summary.comments, 'comment')} of people in {counted(summary.papers, 'paper')}.\n"
        f"{counted(summary.moves, 'highlight')} with the tag of a move, and "
        f"{counted(summary.reviewed, 'paper')} with the tag {framework.name}:{REVIEWED}, which "
        "`/curate corpus --review` takes over."
    )
    return Result(text, summary.model_dump())


def _read(
    library: Library, items: Collection[str], written: Mapping[str, Entry], framework: Framework
) -> Iterator[tuple[str, PulledHighlight]]:
    """Yield people's highlights in a library, as pairs of the item's key and the highlight.

    Highlights that a person has deleted, and items that a person has tagged as reviewed, are
    yielded, too.

    Args:
        items: the keys of the items.
        written: the records of highlights that the harness has written, by key.
    """
    attachments = library.children(items, "attachment")
    parents = {str(one["key"]): str(one["data"]["parentItem"]) for one in attachments}
    ours = {
        key_of(framework, library.name, attachment, move): (attachment, f"{framework.name}:{move}")
        for attachment in parents
        for move in framework.names
    }
    tags: dict[str, list[str]] = {}
    for one in library.children(parents, "annotation"):
        data, key, chosen = one["data"], str(one["key"]), True
        tags[key] = [tag["tag"] for tag in tags_of(data)]
        if not (data.get("annotationText") or data.get("annotationComment")):
            continue
        if key in ours:
            digest = digest_of(data, framework.name)
            digests = written[key].digests if key in written else (digest,)
            if digest in digests:
                continue
            chosen = digest.partition("-")[0] not in {one.partition("-")[0] for one in digests}
        kind, item = str(data.get("annotationType")), parents[str(data["parentItem"])]
        yield item, _pulled(library, one, kind, chosen=chosen)
    for key, (attachment, tag) in ours.items():
        if key in written and written[key].state == "written" and tag not in tags.get(key, ()):
            gone = {"key": key, "data": {"tags": [{"tag": tag}]}}
            yield parents[attachment], _pulled(library, gone, DELETED, chosen=True)
    for key, one in library.items(items).items():
        if f"{framework.name}:{REVIEWED}" in (tag["tag"] for tag in tags_of(one["data"])):
            yield key, _pulled(library, one, REVIEWED)


def _pulled(library: Library, one: Data, kind: str, *, chosen: bool = False) -> PulledHighlight:
    data = one["data"]
    meta = one.get("meta") or {}
    user = meta.get("lastModifiedByUser") or meta.get("createdByUser") or {}
    owner = library.user if library.name.startswith("users/") else ""

    def text(field: str) -> str:
        return flatten(str(data.get(field) or ""))

    return PulledHighlight(
        library=library.name,
        attachment=text("parentItem"),
        key=str(one["key"]),
        kind=kind,
        version=int(data.get("version") or 0),
        tags=json.dumps([tag["tag"] for tag in tags_of(data)]),
        text=text("annotationText"),
        comment=text("annotationComment"),
        page=text("annotationPageLabel"),
        sort=text("annotationSortIndex"),
        author=str(user.get("username") or owner),
        chosen=chosen,
    )
