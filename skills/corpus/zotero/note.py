"""Make the note of an annotation, and recognize one that nobody has changed.

<h1>Annotation by nanda-harness</h1>
<p><strong>Claim:</strong> ...</p>
<p><strong>Method (uncertain, 0.35):</strong> ...</p>
<p><strong>Suggestion for Novelty (0.21):</strong> ...</p>
<p>nanda-annotator, nanda-harness:nanda:0123456789abcdef</p>

Zotero's editor rewrites the markup of a note and removes what it does not know, such as comments.
So the mark is text: the framework, and a digest of the text above, without blanks and markup.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from markupsafe import escape

from skills.corpus.records import Annotated
from skills.corpus.tables.references.notes import HEADING, NONE_STATED
from skills.nanda.confidence import labelled_suggestions, uncertain_moves, uncertainty
from skills.nanda.framework import Framework
from skills.nanda.text import flatten

TAG = "nanda-harness"
"""A tag of each note, by which Zotero finds them all."""

_MARK = re.compile(rf"{TAG}:(?P<framework>[a-z0-9-]+):(?P<digest>[0-9a-f]{{16}})")


@dataclass(frozen=True, slots=True)
class Note:
    """The note of an annotation.

    Attributes:
        tags: `TAG`, one for each move that the abstract states, "nanda:limitation", and
            "nanda:uncertain" if one of them is uncertain.
        framework: the name of that of the annotation.
    """

    html: str
    tags: tuple[str, ...]
    framework: str

    @property
    def digest(self) -> str:
        """The digest of its text."""
        return digest_in(self.html)


def note_of(item: Annotated, framework: Framework) -> Note:
    """Return the note of an annotation."""
    stated, labels = framework.stated(item.record), framework.labels
    moves = [(labels[m] + uncertainty(item.record, m), text) for m, text in stated.items()]
    paragraphs = [
        f"<p><strong>{escape(label)}:</strong> {escape(flatten(text))}</p>"
        for label, text in (*moves, *labelled_suggestions(item.record, labels))
    ]
    if not moves:
        paragraphs.insert(0, f"<p>{escape(NONE_STATED)}</p>")
    model = str(item.record["provenance"].get("resolved", ""))
    above = f"<h1>{escape(HEADING.rstrip(':'))}</h1>\n"
    above += "\n".join(paragraphs)
    above += f"\n<p>{escape(model)}, "
    names = (*stated, *["uncertain"] * bool(uncertain_moves(item.record)))
    tags = (TAG, *(f"{framework.name}:{name}" for name in names))
    return Note(f"{above}{TAG}:{framework.name}:{_digest(_text(above))}</p>", tags, framework.name)


def digest_in(html: str) -> str:
    """Return the digest that a note states if its text is still the one above it, else ""."""
    text = _text(html)
    mark = _last_mark(text)
    if mark is None or mark.end() != len(text):
        return ""
    return mark["digest"] if _digest(text[: mark.start()]) == mark["digest"] else ""


def framework_in(html: str) -> str:
    """Return the name of the framework that a note states, "" if it has no mark."""
    mark = _last_mark(_text(html))
    return mark["framework"] if mark else ""


def merged_tags(present: list[dict[str, Any]], note: Note, framework: Framework) -> list[Any]:
    """Return the tags of a note that is replaced: those of others stay."""
    own = (TAG, f"{framework.name}:")
    others = [tag for tag in present if not str(tag.get("tag", "")).startswith(own)]
    return [*others, *({"tag": tag} for tag in note.tags)]


def _text(html: str) -> str:
    """Return the text of a note without blanks."""
    from lxml import etree  # type: ignore[import-untyped]
    from lxml import html as parser

    try:
        found = parser.fromstring(f"<div>{html}</div>").text_content()
    except (etree.ParserError, ValueError):  # empty, or with characters that XML does not have
        return ""
    return "".join(unicodedata.normalize("NFC", str(found)).split())


def _last_mark(text: str) -> re.Match[str] | None:
    return next(reversed([*_MARK.finditer(text)]), None)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]
