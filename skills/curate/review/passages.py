"""The passage of an abstract that a reviewer selects for a move."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.errors import UsageError
from skills.curate.review.store.decision import Spans
from skills.nanda.anchors import anchor_of, sentences_of
from skills.nanda.framework import MOST_SENTENCES
from skills.nanda.text import flatten, is_visible, visible_places

_NUMBERS = re.compile(r"\d{1,3}(?:[\s,]+\d{1,3})*")
_HINT = "Give the numbers of sentences, as in `2` or `2,3`, or words of the abstract as they are."


def selected(abstract: str, given: str) -> Spans:
    """Return the spans of a selection: sentence numbers ("2,3"), or words of the abstract.

    Raises:
        UsageError: there are no such sentences or words, or the words occur more than once.
    """
    places = _places(abstract, given)
    if _NUMBERS.fullmatch(given.strip()):
        numbers = [int(number) for number in re.findall(r"\d+", given)]
        # Another number may be one that the abstract contains.
        if not places or all(1 <= number <= len(sentences_of(abstract)) for number in numbers):
            return of_sentences(abstract, numbers)
    if not places:
        raise UsageError("these words are not in the abstract", hint=_HINT)
    if len(places) > 1:
        raise UsageError(
            f"these words occur {len(places)} times in the abstract", hint="Give more of them."
        )
    return places


def of_sentences(abstract: str, numbers: Iterable[int]) -> Spans:
    """Return the spans of sentences, by their numbers from 1.

    Raises:
        UsageError: there are no such sentences, or they are too many.
    """
    wanted, count = sorted(set(numbers)), len(sentences_of(abstract))
    if any(not 1 <= number <= count for number in wanted):
        raise UsageError(f"the abstract has sentences 1 to {count}", hint=_HINT)
    if len(wanted) > MOST_SENTENCES:
        raise UsageError(f"a move comes from {MOST_SENTENCES} sentences at most")
    return anchor_of(abstract, wanted, "reviewer")["spans"]


def of_selection(abstract: str, text: str, before: int) -> Spans:
    """Return the span of a text that was selected on a page, without white space around it.

    Args:
        text: what was selected.
        before: number of visible characters of the abstract before it; another layout of the
            abstract has the same number. The place is not used if it has another text.

    Raises:
        UsageError: nothing is selected, or as for `selected`.
    """
    visible, count = visible_places(abstract), sum(map(is_visible, text))
    if not count:
        raise UsageError("no text of the abstract is selected", hint=_HINT)
    if 0 <= before <= len(visible) - count:
        span = [visible[before], visible[before + count - 1] + 1]
        if flatten(abstract[span[0] : span[1]]) == flatten(text):
            return [span]
    return selected(abstract, text)


def _places(abstract: str, given: str) -> Spans:
    """Return where the words occur, with any white space between them."""
    words = given.split()
    if not words:
        return []
    found = re.finditer(r"\s+".join(map(re.escape, words)), abstract)
    return [[match.start(), match.end()] for match in found]
