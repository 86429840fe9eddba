"""Make training examples for a reader: the tokens and labels of abstracts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from skills.nanda.anchors import Anchor
from skills.nanda.passages import Sentence, numbered
from skills.nanda.text import visible_places
from skills.reader.encoder import Text, text_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class Example:
    """An abstract with its labels.

    Attributes:
        stated: the indices of the sentences that state a move, by the index of the move; () for a
            move that is not stated. Moves without a label are left out.
        passages: for a move, (sentence, first token, last token) of each passage. Moves whose exact
            passages are unknown are left out.
        roles: the index in `network.ROLES` of the role of each sentence.
    """

    text: Text
    stated: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    passages: Mapping[int, tuple[tuple[int, int, int], ...]] = field(default_factory=dict)
    roles: tuple[int, ...] = ()


def example_of(
    tokenizer: Tokenizer,
    moves: Sequence[str],
    title: str,
    abstract: str,
    anchors: Mapping[str, Anchor | None],
) -> Example:
    """Return the example of an annotated abstract.

    Args:
        anchors: the anchor of each move; None for a move that is not stated. A "lexical" anchor
            labels only sentences; other anchors also label passages. An anchor without spans is no
            label.
    """
    sentences = numbered(abstract)
    text = text_of(tokenizer, title, [one.text for one in sentences])
    stated: dict[int, tuple[int, ...]] = {}
    passages: dict[int, tuple[tuple[int, int, int], ...]] = {}
    for number, move in enumerate(moves):
        if move not in anchors:
            continue
        anchor = anchors[move]
        if anchor is None:
            stated[number] = ()
            continue
        found = [_placed(text, sentences, abstract, start, end) for start, end in anchor["spans"]]
        known = tuple(one for one in found if one)
        if not known:
            continue
        stated[number] = tuple(dict.fromkeys(place for place, _, _ in known))
        if anchor["by"] != "lexical":
            passages[number] = known
    return Example(text, stated, passages)


def _placed(
    text: Text, sentences: Sequence[Sentence], abstract: str, start: int, end: int
) -> tuple[int, int, int] | None:
    """Return where a span of the abstract lies in the tokens.

    Returns:
        The indices of the sentence, of the first token and of the last token, or None if the text
            does not have the sentence. A heading at the beginning of the span is left out.
    """
    middle = (start + end) // 2
    place = sum(one.start <= middle for one in sentences[1:])
    if place >= len(text.sentences):
        return None
    own = sentences[place]
    # The text of a sentence differs from the abstract only in invisible characters.
    visible = visible_places(own.text)
    first = len(visible_places(abstract[own.start : max(start, own.start)]))
    last = len(visible_places(abstract[own.start : min(end, own.end)])) - 1
    if not 0 <= first <= last < len(visible):
        return None
    headed = len(" ".join(own.text.split()[: own.heading]))
    begin, end = max(visible[first], headed), visible[last] + 1
    (first,), (last,) = text.tokens(place, [begin], [end])
    return place, first, last
