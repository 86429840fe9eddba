"""Describe the sentences of an abstract by words, position and cue phrases, as hashed features.

Feature hashing follows Weinberger et al. 2009 (arXiv 0902.2206), without signs.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Iterator, Sequence

DIMENSIONS = 1 << 15
"""Number of hashed features; two features may share one."""
NUMBER = "<n>"
_TOKEN = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?|(?P<number>\d+(?:[.,]\d+)*)|[^\w\s]")


def candidates(sentences: Sequence[str]) -> list[list[int]]:
    """Return the features of each candidate: the sentences, then "not stated".

    The features of "not stated" are the words of the whole abstract, apart from those of sentences.
    """
    tokens = [_tokens(sentence) for sentence in sentences]
    every = [set(_of_sentence(tokens, place)) for place in range(len(tokens))]
    every.append({f"abstract {name}" for one in tokens for name in _grams(one)})
    every[-1].add(f"sentences {min(len(tokens), 14)}")
    return [sorted({zlib.crc32(name.encode()) % DIMENSIONS for name in names}) for names in every]


def _tokens(sentence: str) -> list[str]:
    found = _TOKEN.finditer(sentence.casefold())
    return [NUMBER if match["number"] else match.group() for match in found]


def _of_sentence(tokens: Sequence[Sequence[str]], place: int) -> Iterator[str]:
    own, after = tokens[place], len(tokens) - 1 - place
    yield from _grams(own)
    for count in (1, 2, 3):
        yield f"opening {' '.join(own[:count])}"
    yield f"from start {min(place, 8)}"
    yield f"from end {min(after, 8)}"
    yield f"place {min(place, 12)} of {min(len(tokens), 12)}"
    yield f"tenth {10 * place // len(tokens)}"
    yield f"length {min(len(own) // 6, 10)}"
    yield f"numbers {min(own.count(NUMBER), 4)}"
    yield f"percent {'%' in own}"
    yield f"before {tokens[place - 1][:1] if place else 'nothing'}"
    yield f"after {tokens[place + 1][:1] if after else 'nothing'}"
    yield f"start {min(place, 3)} {own[:1]}"
    yield f"end {min(after, 2)} {own[:1]}"


def _grams(tokens: Sequence[str]) -> Iterator[str]:
    for token in tokens:
        yield f"word {token}"
    for one, other in itertools.pairwise(tokens):
        yield f"words {one} {other}"
