"""Find numbers and names in a move that are not in its abstract.

A name denotes a system, a model, a data set or a person.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from decimal import Decimal

from skills.nanda.sentences import sentence_spans
from skills.nanda.text import (
    ABSTRACTS,
    LONG_WORD,
    NUMBER_WORDS,
    STOP_WORDS,
    TEXTS,
    WORDS,
    composed,
    kept,
    words,
)

LONGEST = 6
"""Maximum number of runs (see `_known`) in a name; "Qwen2.5-Coder-7B-Instruct" has four."""

_TOKEN = re.compile(r"[^\W_]+(?:[-._'\u2019/&]?[^\W_]+)*")
_RUN = re.compile(r"[^\W_]+(?:\.\d+[^\W_]*)*")
_WORD = re.compile(r"[^\W\d_]+")

_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SPELLED = {word: value for value, word in enumerate(NUMBER_WORDS)} | {
    word: value * 10 for value, word in enumerate(_TENS.split(), start=2)
}
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\}|[\u00a0\u2009\u202f'\u2019])(?=\d{3}(?!\d))")
_LOOSE_THOUSANDS = re.compile(r"(?<=\d), (?=\d{3}(?!\d))")
_NUMBER = re.compile(r"\d+(?:\.\d+)?|(?<![\w.])\.\d+")


def unsupported_numbers(abstract: str, text: str) -> list[str]:
    """Return the distinct numerals of `text` whose value is not in the abstract.

    Values are compared: 1,000 equals 1000, 1.0 equals 1, and 93% equals 93 %. Number words below
    one hundred in the abstract ("twenty-three") have values too. "80, 000" in the abstract, as in
    tokenized text, has the values 80, 0 and 80000. Digits of a name in `text` ("GPT-4") are
    ignored, since `unsupported_names` compares names. Number words of `text` are ignored, since
    "two directions" may be a count by the annotator.
    """
    known = _known_numbers(abstract)
    found = [shown for shown, value in _numbers(without_names(text)) if value not in known]
    return list(dict.fromkeys(found))


def unsupported_names(abstract: str, text: str) -> list[str]:
    """Return the distinct names of `text`, as written, that are not in the abstract.

    A name is an acronym ("LLM"), a word with an inner capital ("AutoML"), a word with a digit after
    letters ("GPT-4o"), or a capitalized word that does not begin a sentence. A part of a compound
    may be a name ("LLM" in "LLM-based"). Case, accents, a plural s, hyphens and blanks may differ
    in the abstract ("GPT 4o"). Instead of an acronym such as "RL", the abstract may have words with
    these initials ("reinforcement learning").
    """
    abstract, text = composed(abstract), composed(text)
    known, initials = _known(abstract), _initials(abstract)
    found = [name for name, _ in _names(text) if not _is_held(name, known, initials)]
    return list(dict.fromkeys(found))


def without_names(text: str) -> str:
    """Return `text` with blanks in place of names, so that "GPT-4" does not contain a number."""
    characters = list(text)
    for name, start in _names(text):
        characters[start : start + len(name)] = " " * len(name)
    return "".join(characters)


@kept(TEXTS)
def _names(text: str) -> tuple[tuple[str, int], ...]:
    """Return each name in `text` and the index of its first character."""
    found = list[tuple[str, int]]()
    for start, end in sentence_spans(text):
        for number, token in enumerate(_TOKEN.finditer(text[start:end])):
            name, offset = _name_in(token.group(), first=number == 0)
            if name:
                found.append((name, start + token.start() + offset))
    return tuple(found)


@kept(WORDS, LONG_WORD)
def _name_in(token: str, *, first: bool) -> tuple[str, int]:
    """Return the name in a token and its index in the token, or ("", 0) if there is no name.

    Args:
        first: True if the token begins a sentence.
    """
    token = re.sub(r"['\u2019]s?$", "", token)
    pieces = [(piece.group(), piece.start()) for piece in re.finditer(r"[^-/]+", token)]
    leading = len([*itertools.takewhile(lambda piece: _is_plain(piece[0]), pieces)])
    pieces, first = pieces[leading:], first and not leading
    while pieces and _is_plain(pieces[-1][0]):
        pieces.pop()
    if not pieces or pieces[0][0][0].isdigit():
        return "", 0
    start = pieces[0][1]
    name = token[start : pieces[-1][1] + len(pieces[-1][0])]
    is_distinctive = (
        any(char.isdigit() for char in name)
        or any(char.isupper() for piece, _ in pieces for char in piece[1:])
        or any(piece[0].isupper() for piece, _ in pieces[1:])
    )
    return (name, start) if is_distinctive or not first else ("", 0)


def _is_plain(piece: str) -> bool:
    return piece.islower() and not any(char.isdigit() for char in piece)


def _is_held(name: str, known: frozenset[str], initials: str) -> bool:
    if _in_any_number(_squeeze(name), known):
        return True
    if any(char.isdigit() for char in name):
        return False
    for piece in re.split(r"[-/]", name):
        acronym = piece.removesuffix("s")
        if _is_plain(piece) or _in_any_number(_squeeze(piece), known):
            continue
        if len(acronym) < 2 or not acronym.isupper() or acronym.casefold() not in initials:
            return False
    return True


def _in_any_number(squeezed: str, known: frozenset[str]) -> bool:
    return not known.isdisjoint((squeezed, squeezed.removesuffix("s"), f"{squeezed}s"))


def _squeeze(name: str) -> str:
    return "".join(_RUN.findall(_folded(name)))


def _folded(text: str) -> str:
    """Return `text` in lower case and without accents."""
    if text.isascii():
        return text.casefold()
    parts = unicodedata.normalize("NFKD", text)
    return "".join(char for char in parts if not unicodedata.combining(char)).casefold()


@kept(ABSTRACTS)
def _known(abstract: str) -> frozenset[str]:
    """Return every sequence of one to `LONGEST` adjacent runs in the abstract, joined.

    A run consists of letters, digits and decimal points. It is not divided, so that "GPT-4o" does
    not contain "GPT-4", and "Qwen2.5" does not contain "Qwen2".
    """
    runs = _RUN.findall(_folded(abstract))
    found = set[str]()
    for start in range(len(runs)):
        found.update(itertools.accumulate(runs[start : start + LONGEST]))
    return frozenset(found)


@kept(ABSTRACTS)
def _initials(abstract: str) -> str:
    """Return the first letters of all words except stop words, in lower case and joined."""
    found = (word for word in _WORD.findall(abstract.casefold()) if word not in STOP_WORDS)
    return "".join(word[0] for word in found)


@kept(ABSTRACTS)
def _known_numbers(abstract: str) -> frozenset[Decimal]:
    loose = _LOOSE_THOUSANDS.sub("", abstract)
    written = (value for text in (abstract, loose) for _, value in _numbers(text))
    return frozenset(itertools.chain(written, _spelled_out(words(abstract))))


def _numbers(text: str) -> Iterator[tuple[str, Decimal]]:
    """Yield each numeral of a text, without thousands separators, and its value."""
    for match in _NUMBER.finditer(_THOUSANDS.sub("", text)):
        yield match.group(), Decimal(match.group())


def _spelled_out(given: Sequence[str]) -> Iterator[Decimal]:
    """Yield the values of number words in a sequence of words.

    A pair such as "twenty", "three" has the values 20, 3 and 23.
    """
    previous = 0
    for word in given:
        value = _SPELLED.get(word)
        if value is not None:
            yield Decimal(value)
            if previous >= 20 and 0 < value < 10:
                yield Decimal(previous + value)
        previous = value or 0
