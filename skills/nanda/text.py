"""Normalize text, split it into words, and escape it for prompts and Markdown."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T", covariant=True)
ABSTRACTS, TEXTS, WORDS = 16, 64, 8192
"""Number of abstracts, of texts and of words for which a function caches its results.

Functions cache results since the checks of an abstract use the same results several times.
"""
LONG, LONG_WORD = 20_000, 64
"""Number of characters above which a text, or a word, counts as long."""
LONG_KEPT = 4
"""Number of long texts for which a function caches its results.

The number is small, since a cell of a table may have a million characters.
"""
WORD = re.compile(r"\w+(?:[.,]\d+)*(?:['\u2019]\w+)*")
_STOP_WORDS = """
    a about above across after again against all also although am among an and any are as at be
    because been before being below between both but by can cannot could did do does doing done
    down due during each either else etc even every few for from further had has have having he her
    here hers him his how however i if in into is it its itself just less like may me might more
    most much must my near no nor not of off often on once only onto or other our ours out over own
    per rather same shall she should since so some still such than that the their theirs them then
    there therefore these they this those though through thus to too toward towards under until up
    upon us use used uses using very via was we well were what when where whereas whether which
    while who whom whose why will with within without would yet you your yours
"""
_NUMBER_WORDS = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen
"""
# Engines render messages with a chat template and then search the whole prompt for special tokens:
# llama.cpp would treat "<|im_end|>" inside a message as the token that ends the message.
_OPENERS = re.compile(
    r"""
    <(?=[|\uff5c])                        # <|im_end|>, <|eot_id|>, DeepSeek's with U+FF5C
    | <(?=(?:/\ ?)?[A-Za-z_][^<>]{0,60}>)  # <s>, </annotation>, <start_of_turn>, <<SYS>>, <think>
    | <(?=0x[0-9A-Fa-f]{2}>)              # byte tokens
    | \[(?=/?(?:[A-Z][A-Z_]+|gMASK)\])    # [INST], [/INST], [SYSTEM_PROMPT], [gMASK]
    """,
    re.VERBOSE,
)
_CLOSERS = re.compile(r"[|\uff5c](?=>)")
MARKDOWN_SPECIAL = re.compile(r"[\\`*\[\]<|~]|&(?=#?\w+;)|(?<!\w)_|_(?!\w)")


class Kept(Generic[T]):
    """A function that caches its results for the most recent texts.

    Args:
        most: the number of texts of at most `long` characters whose results are cached. In
            addition, the results for `LONG_KEPT` longer texts are cached.
    """

    def __init__(self, function: Callable[..., T], most: int, long: int) -> None:
        self._of_texts = functools.lru_cache(most)(function)
        self._of_long = functools.lru_cache(LONG_KEPT)(function)
        self._long = long
        functools.update_wrapper(self, function)

    def __call__(self, text: str, **options: bool) -> T:
        return (self._of_long if len(text) > self._long else self._of_texts)(text, **options)


def kept(most: int, long: int = LONG) -> Callable[[Callable[..., T]], Kept[T]]:
    """Return a decorator that turns a function into a `Kept` with these parameters."""
    return lambda function: Kept(function, most, long)


def set_of(text: str) -> frozenset[str]:
    """Return the set of the words of `text`, split at white space."""
    return frozenset(text.split())


NUMBER_WORDS = tuple(_NUMBER_WORDS.split())
"""The words for the numbers from 0 to 19."""
STOP_WORDS = set_of(_STOP_WORDS)
"""Words without content, including the forms of "use"."""

NEGATIONS = set_of(
    """
    not no without cannot never nor neither none lack lacks lacking lacked fail fails failed failing
    unable hardly absence absent avoid avoids avoiding avoided free
    """
)
"""Words that negate the words after them."""


def is_negation(word: str) -> bool:
    """Return True if a word in lower case negates the words after it."""
    return word in NEGATIONS or word.endswith(("n't", "n\u2019t"))


def flatten(text: str) -> str:
    """Return `text` on one line; a run of white space and control characters becomes a blank.

    Characters that reorder or hide text on a screen (bidirectional controls, zero-width characters)
    are removed. A lone surrogate, which cannot be written to a file, becomes U+FFFD.
    """
    if text.isascii():
        if text.isprintable() and "  " not in text:  # fast to check, and true for most texts
            return text.strip()
        return re.sub(r"[\x00-\x20\x7f]+", " ", text).strip()
    return " ".join("".join(map(_plain, text)).split())


def is_visible(char: str) -> bool:
    """Return True if `flatten` neither removes this character nor replaces it by a blank."""
    return not char.isspace() and unicodedata.category(char) not in ("Cc", "Cf")


def visible_places(text: str) -> list[int]:
    """Return the position of each visible character of a text."""
    if text.isascii() and text.isprintable():  # fast to check, and true for most texts
        return [place for place, char in enumerate(text) if char != " "]
    return [place for place, char in enumerate(text) if is_visible(char)]


def counted(number: int, noun: str) -> str:
    """Return a number with a noun in the singular or plural, such as "1,200 papers"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def first_of(lines: Iterable[str], most: int) -> list[str]:
    """Return the first `most` lines, and a line with the number of omitted lines, if any."""
    known = list(lines)
    return [*known[:most], *[f"and {len(known) - most:,} more"] * (len(known) > most)]


def listed(names: Iterable[str], most: int) -> str:
    """Return the first `most` names and the number of further names, such as "a, b and 2 more"."""
    known = list(names)
    more = len(known) - most
    return ", ".join(known[:most]) + f" and {more:,} more" * (more > 0)


def composed(text: str) -> str:
    """Return `text` for comparison: in NFC, without format characters such as soft hyphens."""
    if text.isascii():
        return text
    shown = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return unicodedata.normalize("NFC", shown)


@kept(TEXTS)
def words(text: str) -> tuple[str, ...]:
    """Return the words of `text` in lower case.

    Hyphens separate words. A decimal number is one word.
    """
    folded = composed(text).casefold().replace("\u2019", "'")
    return tuple(WORD.findall(folded))


def is_passage(abstract: str, text: str) -> bool:
    """Return True if the words of `text` occur consecutively in the abstract."""
    return f" {' '.join(words(text))} " in f" {' '.join(words(abstract))} "


@kept(WORDS, LONG_WORD)
def stem(word: str) -> str:
    """Return a word without its inflection: "agent" for "agents", "evaluat" for "evaluates".

    Only the endings "'s", -s, -es, -ed and -ing are removed. The endings -ies and -ied become -y.
    Then a doubled final consonant except l, s and z becomes single ("plann" becomes "plan"), or
    else a final "e" is removed. Unlike a Porter stemmer, this function keeps "evaluation" distinct
    from "evaluate".

    Args:
        word: a word in lower case.
    """
    word = word.removesuffix("'s")
    if not word.isalpha() or len(word) < 4:
        return word
    word = _uninflected(word)
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeioulsz":
        return word[:-1]
    return word.removesuffix("e") if len(word) > 3 else word


def _uninflected(word: str) -> str:
    for suffix in ("ies", "ied"):
        if word.endswith(suffix) and len(word) > 4:
            return word.removesuffix(suffix) + "y"
    for suffix in ("sses", "shes", "ches", "xes"):
        if word.endswith(suffix):
            return word.removesuffix("es")
    for suffix in ("ing", "ed"):
        root = word.removesuffix(suffix)
        if root != word and len(root) >= 3 and re.search("[aeiouy]", root) and root[-1] != "e":
            return root
    if word.endswith("s") and word[-2] not in "sui":
        return word.removesuffix("s")
    return word


def stems(text: str) -> list[str]:
    """Return the stems of the words of `text`, in order."""
    return [stem(word) for word in words(text)]


def content_words(text: str) -> list[str]:
    """Return the stems of the words of `text`, without stop words and single characters."""
    return [stem(word) for word in words(text) if word not in STOP_WORDS and len(word) > 1]


def _plain(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Cc":
        return " "
    if category == "Cs":
        return "\N{REPLACEMENT CHARACTER}"
    return "" if category == "Cf" else char


def sanitize(text: str) -> str:
    """Return `text` for a prompt: on one line, with a blank inside each special token and tag.

    A person can still read the text, but a tokenizer does not recognize a special token in it. An
    abstract therefore cannot end its message. Only prompts contain the changed text; records and
    checks have the original.

    "<|im_end|>" becomes "< |im_end| >", "</annotation>" becomes "< /annotation>", and "[INST]"
    becomes "[ INST]". "p < 0.05", "a<b" and "[3]" do not change.
    """
    return _CLOSERS.sub(r"\g<0> ", _OPENERS.sub(r"\g<0> ", flatten(text)))


def escape_markdown(text: str) -> str:
    """Return `text` on one line, with the inline syntax of Markdown and of tables escaped."""
    return MARKDOWN_SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def letters_of(text: str) -> str:
    """Return the letters and digits of a text, without case and accents."""
    plain = unicodedata.normalize("NFKD", text.replace("\u0131", "i")).casefold()
    return "".join(filter(str.isalnum, plain))
