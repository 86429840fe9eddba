"""Make examples for the training of a reader.

An example is an annotated abstract with the sentences and tokens that state its moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
            labels only sentences; other anchors also label passages. An anchor without spans gives
            no label.
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
        known = tuple(
            one for span in anchor["spans"] for one in _placed(text, sentences, abstract, *span)
        )
        if not known:
            continue
        stated[number] = tuple(dict.fromkeys(place for place, _, _ in known))
        if anchor["by"] != "lexical":
            passages[number] = known
    return Example(text, stated, passages)


def _placed(
    text: Text, sentences: Sequence[Sentence], abstract: str, start: int, end: int
) -> Iterator[tuple[int, int, int]]:
    """Yield the indices (sentence, first token, last token) for each sentence that overlaps a span.

    The span may contain only a part of a sentence. The tokens of a heading at the beginning of a
    sentence are left out, and so are sentences that `text` does not contain.

    Args:
        start, end: the span in the abstract.
    """
    for place, own in enumerate(sentences[: len(text.sentences)]):
        common = abstract[max(start, own.start) : min(end, own.end)]
        if not any(map(str.isalnum, common)):
            continue
        # `own.text` differs from the abstract only in blanks and invisible characters.
        visible = visible_places(own.text)
        first = len(visible_places(abstract[own.start : max(start, own.start)]))
        last = len(visible_places(abstract[own.start : min(end, own.end)])) - 1
        if not 0 <= first <= last < len(visible):
            continue
        headed = own.words[own.heading - 1][1] if own.heading else 0
        begin, after = max(visible[first], headed), visible[last] + 1
        (token,), (last_token,) = text.tokens(place, [begin], [after])
        yield place, token, last_token
