"""Divide a title and the sentences of an abstract into the tokens that the reader reads."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MOST = 512
"""Tokens that the encoder has positions for."""
TITLE = 60
"""Tokens of a title that are read."""


@dataclass(frozen=True, slots=True)
class Text:
    """The tokens of a title and an abstract: [CLS] title [SEP] sentence [SEP] sentence [SEP] ...

    Attributes:
        ids: of the tokens.
        sentences: first token of each sentence, and the token after its last one. Sentences that do
            not fit into `MOST` tokens are absent.
        offsets: of each sentence, the start and the end of its tokens in characters.
    """

    ids: tuple[int, ...]
    sentences: tuple[tuple[int, int], ...]
    offsets: tuple[tuple[tuple[int, int], ...], ...]

    def tokens(self, sentence: int, start: int, end: int) -> tuple[int, int]:
        """Return the first and the last token of characters `start` to `end` of a sentence.

        Args:
            sentence: its index.
        """
        first, after = self.sentences[sentence]
        own = self.offsets[sentence]
        begin = bisect_right(own, start, key=lambda one: one[1])
        last = bisect_left(own, end, key=lambda one: one[0]) - 1
        limit = after - first - 1
        return first + min(begin, limit), first + min(max(last, begin, 0), limit)


def text_of(tokenizer: Tokenizer, title: str, sentences: Sequence[str]) -> Text:
    """Return the tokens of a title, which may be empty, and of at least one sentence."""
    begin, separator = (tokenizer.token_to_id(token) or 0 for token in ("[CLS]", "[SEP]"))
    ids = [begin]
    if title:
        ids += [*tokenizer.encode(title, add_special_tokens=False).ids[:TITLE], separator]
    places, offsets = [], []
    for one in tokenizer.encode_batch([*sentences], add_special_tokens=False):
        left = MOST - 1 - len(ids)
        if left < 1:
            break
        own = one.ids[:left] or [separator]
        places.append((len(ids), len(ids) + len(own)))
        offsets.append(tuple(one.offsets[: len(own)]) or ((0, 0),))
        ids += [*own, separator]
    return Text(tuple(ids), tuple(places), tuple(offsets))
