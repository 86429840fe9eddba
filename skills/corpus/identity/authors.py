"""Compare authors whose names are written in different orders, with initials or without accents."""

from __future__ import annotations

import functools
import re

from skills.corpus.identity.titles import fold, without_tex

Name = tuple[str, ...]

_AND = re.compile(r"\s*;\s*|\s+and\s+|\s+&\s+|\s*\|\s*")
_REST = re.compile(r"(?:,|;)?\s*(?:\bet\s+al\b\.?|\band others\b).*", re.IGNORECASE)
_TOKEN = re.compile(r"[^\W\d_]+(?:['\N{RIGHT SINGLE QUOTATION MARK}][^\W\d_]+)*")
_INITIALS = re.compile(r"[A-Z]{2,3}")
_DIGRAPHS = re.compile(r"(?<=[aou])e")
_NO_NAME = frozenset({"jr", "sr", "ii", "iii", "dr", "prof", "phd", "md"})


@functools.lru_cache(maxsize=4096)
def names(authors: str) -> tuple[Name, ...]:
    """Return the words of each author's name, folded, in the order in which they are written.

    "Family, Given; Family, Given", "Given Family, Given Family" and BibTeX's "and" are read. The
    parts of "Family, Given, Family, Given" are put together if each is one word or initials.
    """
    text = _REST.sub("", without_tex(authors)).strip()
    parts = [part for part in _AND.split(text) if part.strip(" ,")]
    if len(parts) == 1:
        parts = _separated(parts[0])
    folded = (_words(part, upper=text.isupper()) for part in parts)
    return tuple(name for name in folded if name)


def same_first(one: str, other: str) -> bool | None:
    """Return whether the first authors may be the same person, None if one is unknown."""
    ours, theirs = names(one), names(other)
    return compatible(ours[0], theirs[0]) if ours and theirs else None


def shared(one: str, other: str) -> float:
    """Return the share of the shorter list of authors that the other has."""
    shorter, longer = sorted((names(one), names(other)), key=len)
    found = sum(any(compatible(name, known) for known in longer) for name in shorter)
    return found / len(shorter) if shorter else 0.0


def compatible(one: Name, other: Name) -> bool:
    """Return True if two names may be one: a whole word is common, and nothing contradicts it.

    The other words of the shorter name must each be a word of the longer one, or its initial, the
    first one of its first: "L. Moreau" is not "Maria-Luisa Moreau".
    """
    common = {word for word in one if len(word) > 1} & set(other)
    if not common:
        return "".join(sorted(one)) == "".join(sorted(other))
    rests = [[word for word in name if word not in common] for name in (one, other)]
    shorter, longer = sorted(rests, key=len)
    if not shorter:
        return True
    left = list(longer)
    for place, word in enumerate(shorter):
        among = longer[:1] if place == 0 else left
        match = next((given for given in among if _abbreviates(word, given)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _abbreviates(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return short == long or (len(short) == 1 and long.startswith(short))


def _separated(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) < 2:
        return parts
    singles = all(_is_single(part) for part in parts)
    families = len(parts) % 2 == 0 and all(_is_given(part) for part in parts[1::2])
    if families and (singles or _is_one_name(parts) or all(map(_is_initials, parts[1::2]))):
        return [f"{family} {given}" for family, given in zip(*[iter(parts)] * 2, strict=True)]
    return parts


def _is_one_name(parts: list[str]) -> bool:
    return len(parts) == 2 and any(map(_is_single, parts))


def _is_single(part: str) -> bool:
    return len(part.split()) == 1 or _is_initials(part)


def _is_given(part: str) -> bool:
    return len(part.split()) <= 3


def _is_initials(part: str) -> bool:
    return all(len(word) == 1 for word in _TOKEN.findall(part))


def _words(name: str, *, upper: bool) -> Name:
    found: list[str] = []
    for word in _TOKEN.findall(name):
        if not upper and _INITIALS.fullmatch(word):  # "Smith JP", as PubMed writes it
            found += word.lower()
        else:
            # "Mueller" and "Müller": both become "muller".
            found.append(_DIGRAPHS.sub("", fold(word)))
    return tuple(word for word in found if word not in _NO_NAME)
