"""The note of a paper in a vault: properties, the abstract with its anchors, doubts, links.

Text is escaped, so that it contains no Markdown, HTML, link, tag, comment or field of Obsidian.

Notes are linked if their papers share a term. A term is a pair of adjacent words of the title or of
a stated move whose first word is not generic, or a word with a capital inside, such as "LoRA". A
term links papers if at least two papers and at most a tenth of all papers contain it, since many
papers share the subject of the field.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from skills.corpus.exports.user_edited import Owned, Value
from skills.corpus.identity.identifiers import known
from skills.corpus.records import Annotated
from skills.corpus.references.csl_json import separate_names
from skills.nanda.anchors import read_anchors
from skills.nanda.checks import findings
from skills.nanda.confidence import from_sections, labelled_suggestions, uncertain_moves
from skills.nanda.framework import Framework
from skills.nanda.marked_sentences import Marked, marked
from skills.nanda.paper import iso_date, page_address
from skills.nanda.terms import GENERIC, Term, spelling, terms_in
from skills.nanda.text import MARKDOWN_SPECIAL, flatten, set_of, stem, words

ID = "nanda-id"
IDENTIFIERS = ("doi", "arxiv", "pmid")
"""Properties by which a note is found if its paper comes from another source."""
_OF_OBSIDIAN = ("tags", "aliases", "cssclasses")
"""Properties with a special meaning in Obsidian, which belong to the user."""
_BETWEEN_CATEGORIES = re.compile(r"\s*[,;]\s*|\s+(?=[a-z-]+\.[A-Z])")
_SPECIAL = re.compile(rf"{MARKDOWN_SPECIAL.pattern}|[#$^]|=(?==)|(?<==)=|::|%%")
"""Matches syntax of Obsidian: tags, formulas, ids of blocks, highlighting, fields of Dataview,
comments.
"""
_AT_START = re.compile(r"(\d+)([.)])(?=\s|\Z)|[-+>=]")
"""Matches the beginning of a list, a quotation or a line below a heading."""
LINKS = 8
"""Maximum number of links of a note."""
TERMS = 3
"""Maximum number of terms that a link names."""
FEW, SHARE, MOST = 5, 0.1, 50
"""Limits for the number of papers that a term links: at most `SHARE` of the papers, but at least
`FEW` are allowed, and never more than `MOST`, which keeps the work for each paper constant.
"""
_OF_ARGUMENTS = set_of(
    "best demonstrate existing extensive extensively guide help lesson outperform practical"
    " previous previously prior promising shed show"
)
_NO_SUBJECT = GENERIC | set(map(stem, _OF_ARGUMENTS))
"""Stems of the first words of pairs that occur on every subject: "extensive experiments"."""


def id_of(item: Annotated) -> str:
    """Return the id of a paper in a vault.

    An id such as "12" may belong to another paper in another table, so that a digest of the title
    is added, or without a title, a digest of the abstract.
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
    """Return the part of the note of a paper that the harness owns.

    Args:
        links: the names of related notes, each with the terms that they share.
        pages: the PDF file in the vault and the page on which a move is stated, by move.
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
        moves = [one for one in framework.names if one in pages]
        shown = [
            f"[[{name}#page={page}|{framework.labels[move]}]]"
            for move in moves
            for name, page in [pages[move]]
        ]
        lines += [f"In the PDF: {', '.join(shown)}", ""]
    if links:
        lines += ["Papers with the same terms:", ""]
        lines += [f"- [[{name}]]: {', '.join(map(escaped, terms))}" for name, terms in links]
        lines.append("")
    return Owned(properties(item, framework), "\n".join(lines))


def properties(item: Annotated, framework: Framework) -> dict[str, Value]:
    """Return the properties of a note, without empty values."""
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
    """Return a sentence with highlighted passages, each followed by the names of its moves."""
    if sentence.moves:
        parts = [move for one in sentence.segments for move in one.moves]
        whole = "".join(one.text for one in sentence.segments)
        return _highlighted(whole, (*sentence.moves, *dict.fromkeys(parts)), labels)
    text = ""
    for one in sentence.segments:
        shown = _highlighted(one.text, one.moves, labels) if one.moves else _inner(one.text)
        # Next to a letter or another mark, Markdown treats "**" as text.
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


def escaped(text: str) -> str:
    """Return `text` on one line, escaped so that Obsidian shows it unchanged."""
    return _SPECIAL.sub(_replaced, flatten(text))


def at_start(text: str) -> str:
    """Return escaped text without characters that would start a Markdown list or quotation."""
    found = _AT_START.match(text)
    if found is None or text.startswith("=="):  # it begins with a highlighted passage
        return text
    number, mark = found.groups()
    return f"{number}\\{mark}{text[found.end() :]}" if number else f"\\{text}"


def _replaced(found: re.Match[str]) -> str:
    if found[0] == "%%":  # a backslash does not prevent a comment
        return "&#37;&#37;"
    return "".join(f"\\{char}" for char in found[0])


def terms_of(texts: Iterable[str]) -> dict[Term, str]:
    """Return the terms of a paper with their first spelling."""
    found: dict[Term, str] = {}
    for text in texts:
        for term, written in terms_in(text):
            if _is_specific(term, written):
                found.setdefault(term, spelling([" ".join(written.split())]))
    return found


def related(papers: Sequence[Iterable[Term]]) -> list[list[tuple[int, list[Term]]]]:
    """Return for each paper the indexes of papers that share the rarest terms, with the terms.

    The order depends only on the papers and their terms.
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
