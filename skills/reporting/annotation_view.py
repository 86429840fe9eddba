"""Render an annotation with its doubts for a terminal, and compare texts word by word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Literal, NamedTuple

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text

from harness.models.served import label
from harness.terminal.rendering import TEXT_WIDTH
from skills.nanda.anchors import Anchor, read_anchors
from skills.nanda.framework import RESERVED, Framework
from skills.nanda.marked_sentences import marked
from skills.nanda.remarks import findings, from_sections, numbers_of, suggested

ANCHOR, DOUBT, SUGGESTION, PASSAGE = "cyan", "red", "yellow", "underline"
Kind = Literal["same", "removed", "added"]
_PIECE = re.compile(r"(?:\w+|[^\w\s])\s*|\s+")
"""Matches a word or sign and the blanks after it. `word_diff` does not compare the blanks."""
MOST = 4_000
"""Maximum number of words and signs of each text that `word_diff` compares word by word.

The comparison takes quadratic time. If one text is longer, both texts are compared as a whole.
"""
ALIKE = 0.35
"""Minimum similarity of two texts, from 0 to 1, for which `word_diff` shows the changed words.

Less similar texts are shown as removed and added as a whole.
"""


def annotation(
    record: Mapping[str, Any],
    framework: Framework,
    abstract: str = "",
    *,
    made: bool = True,
    place: bool = True,
) -> RenderableType:
    """Return the moves of an annotation with all doubts, and a dim line with model and date.

    Args:
        record: the stored annotation.
        framework: the framework with the labels of the moves.
        abstract: the abstract, if it is shown with sentence numbers. Each move is then followed by
            the numbers of the sentences that state it.
        made: True to show the line with model and date.
        place: True to also show the backend, the address and the digest of the model.
    """
    moves = {name: text for name, text in record.items() if name not in RESERVED}
    labels = {name: framework.labels.get(name, name) for name in moves}
    stated = {name: text for name, text in moves.items() if text != framework.not_stated}
    anchors = read_anchors(abstract, stated, record.get("anchors")) if abstract else {}
    beside = from_sections(record)
    rows: list[tuple[str, RenderableType]] = []
    for name, text in moves.items():
        doubts = [Text(f"! {one}", DOUBT) for one in findings(name, record, labels)]
        doubts += [Text(f"? {one}", SUGGESTION) for one in suggested(record, name)]
        shown = Text(beside.get(name, text), "" if name in {**stated, **beside} else "dim")
        if name in anchors and (numbers := numbers_of(anchors[name]["sentences"])):
            shown.append(f" {numbers}", ANCHOR)
        rows.append((labels[name], Group(shown, *doubts)))
    last = [Text(_made(record["provenance"], place=place), "dim")] * made
    return stacked([labelled(rows), *last], empty=1)


def numbered_sentences(abstract: str, anchors: Mapping[str, Anchor]) -> RenderableType:
    """Return an abstract with sentence numbers; passages within sentences are underlined."""
    parts: list[str | tuple[str, str]] = []
    for number, sentence in enumerate(marked(abstract, anchors), start=1):
        parts += [(f"[{number}]", ANCHOR), " "]
        parts += [(one.text, PASSAGE if one.moves else "") for one in sentence.segments]
        parts.append(" ")
    return narrow(Text.assemble(*parts))


def heading(title: str, *details: str) -> RenderableType:
    """Return a title in bold, and its details in a dim line."""
    known = " · ".join(filter(None, details))
    return narrow(Group(*[Text(title, "bold")] * bool(title), *[Text(known, "dim")] * bool(known)))


def labelled(rows: Iterable[tuple[str, RenderableType]]) -> RenderableType:
    """Return a table with a bold column of labels and a column of contents."""
    drawn = Table.grid(padding=(0, 2, 0, 0))
    drawn.add_column(no_wrap=True, style="bold")
    drawn.add_column(max_width=TEXT_WIDTH)
    for name, content in rows:
        drawn.add_row(Text(name), content)
    return drawn


def narrow(content: RenderableType) -> RenderableType:
    """Limit a renderable to a width of `TEXT_WIDTH` columns."""
    return Constrain(content, TEXT_WIDTH)


def stacked(contents: Sequence[RenderableType], *, empty: int) -> RenderableType:
    """Stack renderables vertically, and separate them by `empty` blank lines."""
    between = [Text("")] * empty
    return Group(*[part for content in contents for part in (*between, content)][empty:])


def _made(provenance: Mapping[str, Any], *, place: bool) -> str:
    """Return the model, the date and the duration of an annotation as one line."""
    seconds, requested = provenance.get("seconds"), provenance.get("requested")
    model = label(provenance) if place else provenance["resolved"]
    parts = [model, provenance.get("created", "")[:10]]
    parts += [f"{seconds:.1f} s"] * bool(seconds)
    parts += [f"instead of {requested}"] * (requested != provenance["resolved"])
    return " · ".join(filter(None, parts))


class Piece(NamedTuple):
    """Consecutive words of a comparison, all of the same kind."""

    kind: Kind
    text: str


def word_diff(old: str, new: str) -> Iterator[Piece]:
    """Compare two texts, and yield the equal, removed and added words in order.

    In a replacement, the removed words precede the added words. Equal words have the blanks of the
    new text.
    """
    before, after = _PIECE.findall(old), _PIECE.findall(new)
    if max(len(before), len(after)) > MOST:
        before, after = [old], [new]
    old_words, new_words = ([one.rstrip() for one in words] for words in (before, after))
    # autojunk would ignore frequent words, so that they would never be equal.
    matcher = SequenceMatcher(None, old_words, new_words, autojunk=False)
    if 0 < matcher.ratio() < ALIKE:
        matcher.set_seqs(["old"], ["new"])
        before, after = [old], [new]
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            yield Piece("same", "".join(after[c:d]))
            continue
        for name, words in (("removed", before[a:b]), ("added", after[c:d])):
            if words:
                yield Piece(name, "".join(words))  # type: ignore[arg-type]
