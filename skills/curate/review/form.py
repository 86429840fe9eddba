"""Prepare the form of a paper under review, and find the passages that a reviewer selects."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError
from skills.curate.items import Item
from skills.curate.review.decision_log import Spans
from skills.nanda.anchors import Anchor, anchor_of, read_anchors, sentences_of
from skills.nanda.checks import check
from skills.nanda.confidence import confidence_of, read_suggestions
from skills.nanda.framework import MOST_SENTENCES, Framework
from skills.nanda.marked_sentences import Marked, marked
from skills.nanda.paper import Paper
from skills.nanda.remarks import findings, origin_of, suggested
from skills.nanda.text import flatten, is_visible, letters_of, visible_places

WEAK_SOURCE = 0.25
"""A move is marked with "?" if its similarity to the sentences of its anchor is below this value.

1% of the 3,581 moves of gold_train.csv and gold_dev.csv have a lower similarity.
"""
_NUMBERS = re.compile(r"\d{1,3}(?:[\s,]+\d{1,3})*")
_HINT = "Give the numbers of sentences, as in `2` or `2,3`, or words of the abstract as they are."


@dataclass(frozen=True, slots=True)
class MoveView:
    """A move on the form of a paper.

    Attributes:
        number: the number of the move, from 1.
        text: the text with the reviewer's edits.
        before: the text of the annotation under review.
        findings: the fault of an invalid `text`, and the findings of the checks, as clauses.
        confidence: the confidence of the model in the text; None if unknown or if the text was
            edited.
        suggestion: a passage of the abstract that may state the move; "" without a suggestion.
        suggested: the suggestion with its confidence, for display; "" without a suggestion.
        origin: a clause about the sentences that the move comes from; "" if the move is not stated.
        is_weak: True if the move is hardly similar to the sentences of its anchor.
    """

    number: int
    name: str
    label: str
    definition: str
    text: str
    before: str
    is_stated: bool
    findings: tuple[str, ...]
    confidence: float | None
    suggestion: str
    suggested: str
    origin: str
    is_weak: bool

    @property
    def is_changed(self) -> bool:
        """True if the reviewer has edited the text."""
        return self.text != self.before


@dataclass(frozen=True, slots=True)
class Sheet:
    """The form of a paper: its sentences, and its moves with the reviewer's edits."""

    paper: Paper
    sentences: Sequence[Marked]
    moves: tuple[MoveView, ...]


def sheet_of(
    item: Item, framework: Framework, moves: Mapping[str, str], selected: Mapping[str, Spans]
) -> Sheet:
    """Return the form of an annotation.

    Args:
        moves: the texts of the moves, with the reviewer's edits.
        selected: the passages that the reviewer selected, by move.
    """
    abstract, entry = item.paper.abstract, item.entry
    anchors = anchors_in(item, framework, moves, selected)
    stated = {name: moves[name] for name in anchors}
    checks = check(abstract, stated, anchors)
    confidence = _unchanged(item, moves, entry.confidence if entry else None)
    given = _unchanged(item, moves, entry.suggestions if entry else None)
    suggestions = read_suggestions(abstract, (name for name in moves if name not in stated), given)
    doubt = {"confidence": confidence, "suggestions": suggestions}
    record = {"checks": checks, "anchors": anchors, **doubt}
    known = confidence_of(confidence, framework.names)
    wrong = {name: [why] for name, why in faults(framework, moves).items()}
    views = tuple(
        MoveView(
            number=number,
            name=move.name,
            label=move.label,
            definition=move.definition,
            text=moves[move.name],
            before=item.moves[move.name],
            is_stated=moves[move.name] != framework.not_stated,
            findings=(*wrong.get(move.name, ()), *findings(move.name, record, framework.labels)),
            confidence=known.get(move.name),
            suggestion=suggestions[move.name]["text"] if move.name in suggestions else "",
            suggested="".join(suggested(record, move.name)),
            origin=origin_of(anchors[move.name]) if move.name in anchors else "",
            is_weak=_is_weak(anchors.get(move.name), checks["source"].get(move.name)),
        )
        for number, move in enumerate(framework.moves, start=1)
    )
    return Sheet(item.paper, marked(abstract, anchors), views)


def anchors_in(
    item: Item, framework: Framework, moves: Mapping[str, str], selected: Mapping[str, Spans]
) -> dict[str, Anchor]:
    """Return the anchor of each stated move.

    If the reviewer has selected passages for a move, the passages are its anchor. Otherwise, an
    unedited move has its stored anchor. For any other move, lexical alignment finds the anchor.

    Args:
        moves, selected: as for `sheet_of`.
    """
    stated = {name: text for name, text in moves.items() if text and text != framework.not_stated}
    stored = _unchanged(item, moves, item.entry.anchors if item.entry else None)
    stored |= {name: {"spans": spans, "by": "reviewer"} for name, spans in selected.items()}
    return read_anchors(item.paper.abstract, stated, stored)


def faults(framework: Framework, moves: Mapping[str, str]) -> dict[str, str]:
    """Return the fault of each move that is not valid in a framework, by the name of the move."""
    found = {}
    for name, text in moves.items():
        if not text:
            found[name] = f"empty; use {framework.not_stated!r} if the abstract does not state it"
        elif len(text) > framework.longest:
            found[name] = f"{len(text)} characters, more than {framework.longest}"
    return found


def _unchanged(item: Item, moves: Mapping[str, str], stored: Any) -> dict[str, Any]:
    """Return the values of the moves that were not edited, by move.

    Args:
        stored: the stored values by move. If `stored` is not a mapping, the result is {}.
    """
    given = stored if isinstance(stored, Mapping) else {}
    return {name: one for name, one in given.items() if moves.get(name) == item.moves.get(name)}


def _is_weak(anchor: Anchor | None, source: Mapping[str, Any] | None) -> bool:
    """Return True if a move is hardly similar to the sentences of its anchor.

    A move whose sentences a reviewer has selected is never weak.
    """
    if anchor is None or source is None or not anchor["sentences"] or anchor["by"] == "reviewer":
        return False
    return float(source["score"]) < WEAK_SOURCE


def selected(abstract: str, given: str) -> Spans:
    """Return the spans that a person has typed as sentence numbers ("2,3") or as words.

    Raises:
        UsageError: the abstract lacks the sentences or words, has the words more than once, or
            there are too many sentence numbers.
    """
    pattern = r"\s+".join(map(re.escape, given.split()))
    places = [[*found.span()] for found in re.finditer(pattern, abstract) if pattern]
    if _NUMBERS.fullmatch(given.strip()):
        numbers = sorted({int(number) for number in re.findall(r"\d+", given)})
        count = len(sentences_of(abstract))
        if numbers[0] >= 1 and numbers[-1] <= count:
            if len(numbers) > MOST_SENTENCES:
                raise UsageError(f"a move comes from {MOST_SENTENCES} sentences at most")
            return anchor_of(abstract, numbers, "reviewer")["spans"]
        if not places:  # numbers that are not sentence numbers may be words of the abstract
            raise UsageError(f"the abstract has sentences 1 to {count}", hint=_HINT)
    if not places:
        raise UsageError("these words are not in the abstract", hint=_HINT)
    if len(places) > 1:
        raise UsageError(
            f"these words occur {len(places)} times in the abstract",
            hint="Give more words around them.",
        )
    return places


def of_highlight(abstract: str, text: str) -> Spans:
    """Return the span of a text that was highlighted in a PDF file; [] if `abstract` lacks it.

    Only letters and digits are compared, so that hyphens and line breaks do not matter. The span
    begins and ends with whole words.
    """
    letters = [(char, at) for at, one in enumerate(abstract) for char in letters_of(one)]
    wanted = letters_of(text)
    start = "".join(char for char, _ in letters).find(wanted)
    if not wanted or start < 0:
        return []
    begin, end = letters[start][1], letters[start + len(wanted) - 1][1] + 1
    while begin and not abstract[begin - 1].isspace():
        begin -= 1
    while end < len(abstract) and not abstract[end].isspace():
        end += 1
    return [[begin, end]]


def merged(spans: Spans) -> Spans:
    """Return spans in order, with overlapping and adjacent spans joined."""
    found: Spans = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1][1] = max(end, found[-1][1])
        else:
            found.append([begin, end])
    return found


def of_selection(abstract: str, text: str, before: int) -> Spans:
    """Return the span of a text that was selected on a page, without surrounding white space.

    Args:
        text: the selected text.
        before: number of visible characters of the abstract before the text; this number does not
            depend on the layout. If the abstract has another text at this place, `selected` finds
            the passage.

    Raises:
        UsageError: `text` has no visible character, or `selected` refuses it.
    """
    visible, count = visible_places(abstract), sum(map(is_visible, text))
    if not count:
        raise UsageError("no text of the abstract is selected", hint=_HINT)
    if 0 <= before <= len(visible) - count:
        span = [visible[before], visible[before + count - 1] + 1]
        if flatten(abstract[span[0] : span[1]]) == flatten(text):
            return [span]
    return selected(abstract, text)
