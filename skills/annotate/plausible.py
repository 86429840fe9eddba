"""Recognize text that is not an English abstract, by a few signals that can be explained."""

from __future__ import annotations

import re

from skills.nanda.text import set_of

FUNCTION_WORDS = set_of(
    """
    and are been between both but by can during each from how into it its more most not other our
    such than that the their there these they this those through to under using were which while who
    with within without
    """
)
"""Words of English without those that Danish, Dutch, French, German or Portuguese have, too."""
LEAST_ENGLISH = 0.05
"""Share of `FUNCTION_WORDS` below which a text is not English: abstracts have .078 or more."""
FEWEST = 20
"""Words or letters from which these shares are reliable."""
HEAD = 10_000
"""Characters that are examined."""
ENOUGH = 3
"""Lines or entries that show what a text is."""

_CONTENTS = re.compile(
    r"(?:(?<!\.)\.{4,}|(?:\. ){4,}|\u2026{2,})\s*(?:\d+|[ivxl]+)\b"  # "Results ..... 12"
    r"|^\s*\d{1,2}(?:\.\d{1,2})*\.?\s+[A-Z].{0,80}\s\d{1,3}\s*$",  # "2.1 Results 12"
    re.MULTILINE,
)
_CONTENTS_TITLE = re.compile(r"\W*(?:table of )?contents\W*\n", re.IGNORECASE)
_ENTRY = re.compile(
    r"^(?:[Cc]hapter )?\d{1,2}(?:\.\d{1,2})*[.:]?[ \t]+[A-Z][^.!?\n]{0,80}$", re.MULTILINE
)
"""An entry of a table of contents without page numbers: "2.1 Results"."""
_STOP = re.compile(r"[.!?]$", re.MULTILINE)
_CODE = re.compile(
    r"^\s*(?:#include\b.*|(?:from|import) [\w.]+.*|(?:class|def|fn|func|function) \w+.*[{:(].*"
    r"|(?:const|let|return|var)\b.*|(?:for|if|while|with)\b.*[{:]|[})\]]+;?|.*[;{]"
    r"|[\w.\[\]]+ ?[-+*]?= .*|[\w.]+\(.*\);?)\s*$",
    re.MULTILINE,
)
_REFERENCE = re.compile(
    r"^\s*(?:\[\d+\]|\d{1,3}\.|[^\W\d_]+,(?: [A-Z]\.)+).*\b(?:19|20)\d\d\b.*$", re.MULTILINE
)
_SALUTATION = re.compile(
    r"\s*(?:(?:dear|hello|hi)(?:\s[^\n]{1,60}?)?|to whom it may concern)[,:!\n]"
    r"|\s*(?:from|subject|to|cc|date|sent): [^\n]+\n",
    re.IGNORECASE,
)
_TO_READER = re.compile(r"\b(?:your?|thanks?|regards)\b|^(?:from|subject|to):", re.I | re.M)
_INGREDIENT = re.compile(
    r"\b(?:\d[\d/.,]*\s?|(?:an?|half|one|two|three|four|five|six|eight|ten)\s)"
    r"(?:cups?|dl|g|grams?|kg|ml|ounces?|oz|pinch|tablespoons?|tbsp|teaspoons?|tsp)\b(?=\s[a-z]{2})",
    re.IGNORECASE,
)
_COOKING = re.compile(
    r"\b(?:bake|boil|chop|drain|fry|garnish|knead|pour|preheat|serve|simmer|sprinkle|stir|whisk)\b",
    re.IGNORECASE,
)


def problem_of(text: str) -> str:
    """Return why a text is hardly an English abstract ("looks like a letter"), or ""."""
    kept = [*filter(None, map(str.strip, text[:HEAD].splitlines()))]
    text, lines = "\n".join(kept), len(kept)
    numbered = len(_ENTRY.findall(text)) >= max(ENOUGH, 0.7 * lines)
    titled = _CONTENTS_TITLE.match(text) and lines > ENOUGH and not _STOP.search(text)
    if numbered or titled or len(_CONTENTS.findall(text)) >= ENOUGH:
        return "looks like a table of contents"
    if len(_CODE.findall(text)) >= max(ENOUGH, 0.5 * lines):
        return "looks like source code"
    if len(_REFERENCE.findall(text)) >= max(ENOUGH, 0.5 * lines):
        return "looks like a list of references"
    if (greeting := _SALUTATION.match(text)) and _TO_READER.search(text, greeting.end()):
        return "looks like a letter"
    if len(_INGREDIENT.findall(text)) > 1 and len({*map(str.lower, _COOKING.findall(text))}) > 1:
        return "looks like a recipe"
    letters = [char for char in text if char.isalpha()]
    words = re.findall(r"[^\W\d_]+", text.casefold())
    is_foreign = len(letters) >= FEWEST and sum(map(str.isascii, letters)) < 0.5 * len(letters)
    few = sum(word in FUNCTION_WORDS for word in words) < LEAST_ENGLISH * len(words)
    return "is not in English" if is_foreign or (few and len(words) >= FEWEST) else ""
