"""The content of a note: properties, the abstract with its anchors, doubts, and links."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

from skills.corpus.identity.matching import known
from skills.corpus.records import Annotated
from skills.corpus.shared_files.front_matter import Value
from skills.corpus.shared_files.owned import Owned
from skills.corpus.tables.references.item import separate_names
from skills.corpus.vault.escaping import at_start, escaped
from skills.nanda.anchors import Marked, marked, read_anchors
from skills.nanda.checks import findings
from skills.nanda.confidence import from_sections, labelled_suggestions, uncertain_moves
from skills.nanda.framework import Framework
from skills.nanda.paper import iso_date, page_address
from skills.nanda.text import flatten, words

ID = "nanda-id"
IDENTIFIERS = ("doi", "arxiv", "pmid")
"""Properties by which a note is found if the paper comes from another source."""
_OF_OBSIDIAN = ("tags", "aliases", "cssclasses")
"""Properties with a meaning of their own, which belong to the user."""
_BETWEEN_CATEGORIES = re.compile(r"\s*[,;]\s*|\s+(?=[a-z-]+\.[A-Z])")


def id_of(item: Annotated) -> str:
    """Return the id of a paper in a vault.

    An id such as "12" may be that of another paper in another table, so that a digest of the title
    is added, or of the abstract if there is none.
    """
    paper = item.paper
    if arxiv := known(paper).identifiers.get("arxiv"):
        return f"arxiv:{arxiv}"
    what = " ".join(words(paper.title)) or flatten(paper.abstract)
    return f"{flatten(paper.id)}:{hashlib.sha256(what.encode()).hexdigest()[:6]}"


def note(
    item: Annotated, framework: Framework, links: Sequence[tuple[str, Sequence[str]]]
) -> Owned:
    """Return what is ours in the note of a paper.

    Args:
        links: the names of related notes, each with the terms that they share.
    """
    stated = framework.stated(item.record)
    anchors = read_anchors(item.paper.abstract, stated, item.record.get("anchors"))
    sentences = [_sentence(one, framework.labels) for one in marked(item.paper.abstract, anchors)]
    lines = ["> [!abstract] Abstract", f"> {at_start(' '.join(sentences))}", ""]
    doubts = [
        f"- {framework.labels[move]}: {escaped(clause)}"
        for move in stated
        for clause in findings(move, item.record, framework.labels)
    ]
    doubts += [
        f"- {label}: {escaped(text)}"
        for label, text in labelled_suggestions(item.record, framework.labels)
    ]
    if doubts:
        lines += ["> [!warning] Check", *(f"> {line}" for line in doubts), ""]
    if links:
        lines += ["Papers with the same terms:", ""]
        lines += [f"- [[{name}]]: {', '.join(map(escaped, terms))}" for name, terms in links]
        lines.append("")
    return Owned(properties(item, framework), "\n".join(lines))


def properties(item: Annotated, framework: Framework) -> dict[str, Value]:
    """Return the properties of a note, without those that have no value."""
    paper, made = item.paper, item.record["provenance"]
    about = known(paper)
    stated = {**from_sections(item.record), **framework.stated(item.record)}
    moves = {
        f"{move}-move" if move in _OF_OBSIDIAN else move: flatten(stated[move])
        for move in framework.names
        if move in stated
    }
    arxiv, doi = about.identifiers.get("arxiv", ""), about.identifiers.get("doi", "")
    found: dict[str, Value | None] = {
        ID: id_of(item),
        "title": flatten(paper.title),
        "authors": separate_names(paper.authors),
        "year": about.year,
        "published": iso_date(paper.published),
        "venue": flatten(about.venue),
        "categories": list(filter(None, _BETWEEN_CATEGORIES.split(flatten(paper.categories)))),
        "doi": doi,
        "arxiv": arxiv,
        "citekey": flatten(paper.source.get("citekey", "")),
        "pmid": about.identifiers.get("pmid", ""),
        "url": page_address(arxiv) or (f"https://doi.org/{doi}" if doi else ""),
        **moves,
        "uncertain": list(uncertain_moves(item.record)),
        "annotated-by": made["resolved"],
        "annotated-on": made["created"][:10],
    }
    return {name: value for name, value in found.items() if value}


def _sentence(sentence: Marked, labels: Mapping[str, str]) -> str:
    """Return a sentence with the passages of moves highlighted, each before its moves."""
    if sentence.moves:
        parts = [move for one in sentence.segments for move in one.moves]
        whole = "".join(one.text for one in sentence.segments)
        return _highlighted(whole, (*sentence.moves, *dict.fromkeys(parts)), labels)
    text = ""
    for one in sentence.segments:
        shown = _highlighted(one.text, one.moves, labels) if one.moves else _inner(one.text)
        # Beside a letter or another mark, Markdown reads "**" as text.
        text += " " * (text.endswith("**") and not shown.startswith(" ")) + shown
    return text


def _highlighted(text: str, moves: Sequence[str], labels: Mapping[str, str]) -> str:
    passage = text.strip()
    before = " " * (len(text) - len(text.lstrip()))
    after = " " * (len(text) - len(text.rstrip()))
    names = ", ".join(labels[move] for move in moves)
    return f"{before}=={escaped(passage)}== **({names})**{after}"


def _inner(text: str) -> str:
    """Return the escaped text with its blanks at both ends, which `escaped` strips."""
    return escaped(f".{text}.")[1:-1]
