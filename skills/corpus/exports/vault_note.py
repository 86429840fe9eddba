"""Format the note of a paper in an Obsidian vault: properties, abstract, doubts and links.

Texts are escaped, so that Obsidian shows Markdown, HTML and Obsidian syntax as plain text.

A note links to the notes of papers with common terms. A term is a pair of adjacent words in the
title or in a stated move; the first word must not be generic. A word with an inner capital and a
small letter, such as "LoRA", is also a term. A term is ignored if only one paper contains the
term, or if more papers than a maximum contain the term (see `FEW`).
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from skills.corpus.db.facets import categories
from skills.corpus.exports.user_edited import Owned, Value
from skills.corpus.identity.identifiers import known
from skills.corpus.records import Annotated
from skills.corpus.references.csl_json import separate_names
from skills.nanda.anchors import read_anchors
from skills.nanda.confidence import uncertain_moves
from skills.nanda.framework import Framework
from skills.nanda.marked_sentences import Marked, marked
from skills.nanda.paper import iso_date, page_address
from skills.nanda.remarks import findings, labelled_suggestions, stated_in_paper
from skills.nanda.terms import GENERIC, Term, spelling, terms_in
from skills.nanda.text import MARKDOWN_SPECIAL, flatten, set_of, stem, words

ID = "nanda-id"
IDENTIFIERS = ("doi", "arxiv", "pmid")
"""Properties by which the note of a paper is found if no note has the id of the paper."""
_OF_OBSIDIAN = ("tags", "aliases", "cssclasses")
"""Properties with a special meaning in Obsidian, which users set themselves."""
_SPECIAL = re.compile(rf"{MARKDOWN_SPECIAL.pattern}|[#$^]|=(?==)|(?<==)=|::|%%")
"""Matches Markdown and Obsidian syntax within a line.

The Obsidian syntax consists of tags, formulas, block ids, highlights, Dataview fields and comments.
"""
_AT_START = re.compile(r"(\d+)([.)])(?=\s|\Z)|[-+>=]")
"""Matches characters that begin a list, a quotation or the underline of a heading."""
LINKS = 8
"""Maximum number of links in a note."""
TERMS = 3
"""Maximum number of terms that are listed for a link."""
FEW, SHARE, MOST = 5, 0.1, 50
"""Limits for the number of papers that contain a term.

The maximum is `SHARE` of all papers, but at least `FEW` and at most `MOST`; `MOST` bounds the work
for each paper.
"""
_OF_ARGUMENTS = set_of(
    "best demonstrate existing extensive extensively guide help lesson outperform practical"
    " previous previously prior promising shed show"
)
_NO_SUBJECT = GENERIC | set(map(stem, _OF_ARGUMENTS))
"""Stems of words that begin unspecific pairs, such as "extensive experiments"."""


def id_of(item: Annotated) -> str:
    """Return the id of a paper in a vault.

    An id such as "12" may belong to different papers in different tables. Therefore the id in a
    vault contains a digest of the title, or of the abstract if there is no title. An arXiv id needs
    no digest.
    """
    paper = item.paper
    if arxiv := known(paper).identifiers.get("arxiv"):
        return f"arxiv:{arxiv}"
    what = " ".join(words(paper.title)) or flatten(paper.abstract)
    return f"{flatten(paper.id)}:{hashlib.sha256(what.encode()).hexdigest()[:6]}"


def note(
    item: Annotated,
    framework: Framework,
    links: Sequence[tuple[str, Sequence[str]]],
    pages: Mapping[str, tuple[str, int]] | None = None,
) -> Owned:
    """Return the harness's part of the note of a paper.

    Args:
        links: the names of related notes, each with the common terms.
        pages: for each move that was found in a PDF file of the vault, the name of the file and
            the page number, counted from 1.
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
    if pages:
        shown = [
            f"[[{pages[move][0]}#page={pages[move][1]}|{label}]]"
            for move, label in framework.labels.items()
            if move in pages
        ]
        lines += [f"In the PDF: {', '.join(shown)}", ""]
    if links:
        lines += ["Papers with the same terms:", ""]
        lines += [f"- [[{name}]]: {', '.join(map(escaped, terms))}" for name, terms in links]
        lines.append("")
    return Owned(properties(item, framework), "\n".join(lines))


def properties(item: Annotated, framework: Framework) -> dict[str, Value]:
    """Return the properties of a note that have a value."""
    paper, made = item.paper, item.record["provenance"]
    about = known(paper)
    moves = {
        f"{move}-move" if move in _OF_OBSIDIAN else move: flatten(text)
        for move, text in stated_in_paper(item.record, framework).items()
    }
    arxiv, doi = about.identifiers.get("arxiv", ""), about.identifiers.get("doi", "")
    found: dict[str, Value | None] = {
        ID: id_of(item),
        "title": flatten(paper.title),
        "authors": separate_names(paper.authors),
        "year": about.year,
        "published": iso_date(paper.published),
        "venue": flatten(about.venue),
        "categories": categories(flatten(paper.categories)),
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
    """Return a sentence with highlighted passages; the labels of the moves follow each passage."""
    if sentence.moves:
        parts = [move for one in sentence.segments for move in one.moves]
        whole = "".join(one.text for one in sentence.segments)
        return _highlighted(whole, (*sentence.moves, *dict.fromkeys(parts)), labels)
    text = ""
    for one in sentence.segments:
        shown = _highlighted(one.text, one.moves, labels) if one.moves else _inner(one.text)
        # Markdown reads "**" next to a letter or another mark as text.
        text += " " * (text.endswith("**") and not shown.startswith(" ")) + shown
    return text


def _highlighted(text: str, moves: Sequence[str], labels: Mapping[str, str]) -> str:
    passage = text.strip()
    before = " " * (len(text) - len(text.lstrip()))
    after = " " * (len(text) - len(text.rstrip()))
    names = ", ".join(labels[move] for move in moves)
    return f"{before}=={escaped(passage)}== **({names})**{after}"


def _inner(text: str) -> str:
    """Return an escaped text with the blanks at both ends, which `escaped` would remove."""
    return escaped(f".{text}.")[1:-1]


def escaped(text: str) -> str:
    """Return a text on one line, escaped so that Obsidian shows the text unchanged."""
    return _SPECIAL.sub(_replaced, flatten(text))


def at_start(text: str) -> str:
    """Return a text, escaped if its beginning would start a Markdown list or quotation."""
    found = _AT_START.match(text)
    if found is None or text.startswith("=="):  # "==" begins a highlighted passage
        return text
    number, mark = found.groups()
    return f"{number}\\{mark}{text[found.end() :]}" if number else f"\\{text}"


def _replaced(found: re.Match[str]) -> str:
    if found[0] == "%%":  # begins a comment of Obsidian, even after a backslash
        return "&#37;&#37;"
    return "".join(f"\\{char}" for char in found[0])


def terms_of(texts: Iterable[str]) -> dict[Term, str]:
    """Return the terms of a paper, each with its first spelling."""
    found: dict[Term, str] = {}
    for text in texts:
        for term, written in terms_in(text):
            if _is_specific(term, written):
                found.setdefault(term, spelling([" ".join(written.split())]))
    return found


def related(papers: Sequence[Iterable[Term]]) -> list[list[tuple[int, list[Term]]]]:
    """Return for each paper the indexes of up to `LINKS` related papers, with shared terms.

    For each related paper, up to `TERMS` shared terms are returned, from the rarest to the most
    frequent. The related papers are ordered by the weight of all shared terms; a rarer term weighs
    more.

    Args:
        papers: the terms of each paper.
    """
    having: dict[Term, list[int]] = defaultdict(list)
    for place, terms in enumerate(papers):
        for term in terms:
            having[term].append(place)
    most = min(MOST, max(FEW, int(len(papers) * SHARE)))
    joining = {term: places for term, places in having.items() if 1 < len(places) <= most}
    return [_related(place, terms, joining, len(papers)) for place, terms in enumerate(papers)]


def _related(
    place: int, terms: Iterable[Term], joining: dict[Term, list[int]], papers: int
) -> list[tuple[int, list[Term]]]:
    shared: dict[int, list[Term]] = defaultdict(list)
    for term in sorted(joining.keys() & set(terms), key=lambda term: (len(joining[term]), term)):
        for other in joining[term]:
            if other != place:
                shared[other].append(term)

    def weight(other: int) -> float:
        return sum(math.log(1 + papers / len(joining[term])) for term in shared[other])

    ranked = sorted(shared, key=lambda other: (-round(weight(other), 9), other))
    return [(other, shared[other][:TERMS]) for other in ranked[:LINKS]]


def _is_specific(term: Term, written: str) -> bool:
    if len(term) == 1:
        return any(char.isupper() for char in written[1:]) and not written.isupper()
    return term[0] not in _NO_SUBJECT
