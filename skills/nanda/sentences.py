"""Split an abstract into sentences, and find their headings, by rules without a model."""

from __future__ import annotations

import re
from collections.abc import Iterator

from skills.nanda.text import TEXTS, is_visible, kept, set_of

_WORD = """
    (?:actual|aims?|analys[ei]s|anticipated|applications?|approach|authors?['\u2019]|availability
    |background|clinical|collection|conclusions?|considerations|context|contributions?|data|design
    |discussion|dissemination|ethics|evidence|exposures?|extraction|findings|funding|goals?
    |hypothes[ei]s|implementation|implications?|importance|interpretation|interventions?
    |introduction|key|keywords|level|limitations?|main|materials?|meaning|measure(?:ment)?s?|methods?
    |methodology|motivation|objectives?|originality|outcomes?|participants?|patients?|population
    |practical|primary|principal|problem|purpose|questions?|rationale|recommendations?|registration
    |relevance|research|results?|review|scope|search|secondary|selection|settings?|significance
    |social|sources?|statement|strengths|study|subjects?|summary|synthesis|systematic|trial|value
    |words)
"""
_NAME = rf"""
    (?=[A-Z]) (?i:
        (?:the[ ])? {_WORD}
        (?:(?:,?[ ](?:(?:and|or|of|&)[ ])?(?:(?:the|this|our)[ ])?|/) {_WORD}){{0,4}}
        | what[ ](?:is|was)[ ](?:already[ ])?(?:known|new) | what[ ]this[ ]study[ ]adds
    ) (?!\w|-\w)
"""
_IN_CAPITALS = r"(?=[^:a-z]*[A-Z]{5}) [A-Z]{2,} (?:(?:[ ]|,[ ]|/) (?:[A-Z'\u2019-]{2,}|&|A)){1,5}"
"""Matches two to six words in capitals, of which at least one is too long for an acronym."""
_HEADING = re.compile(
    rf"""
    \#{{1,6}} [ ] [^\n]* (?:\n|\Z)
    | (?:\*{{1,2}}|_{{1,2}}|\[) {_NAME} [.:]? (?:\*{{1,2}}|_{{1,2}}|\]) [.:]? (?:\s+|\Z)
    | {_IN_CAPITALS} \s? :+ (?:\s+ | (?=[A-Z]) | \Z)
    | (?P<line>^)? (?P<capitals>(?=[A-Z ,/&]{{3,}}[ ](?:[A-Z][a-z]|A[ ])))? {_NAME} (?:
        \s? :+ (?:\s+ | (?=[A-Z]) | \Z)
        | (?:\s-{{1,3}}\s | \s?[\u2013\u2014]\s?) (?=[A-Z])
        | \s? \. \Z
        | (?(line) [ \t]* \n \s* | (?!))
        | (?(capitals) [ ] (?=[A-Z]) | (?!))
    )
    """,
    re.VERBOSE | re.MULTILINE,
)
"""Matches a heading of Markdown or of a structured abstract, and the white space after it.

A heading of a structured abstract has a colon, a dash before a capital, emphasis or brackets. A
heading without these marks is a whole sentence or line, or is in capitals before a word that is not
in capitals. A heading of a structured abstract consists of known words (`_NAME`), or of several
words in capitals before a colon (`_IN_CAPITALS`).
"""
# The lookbehind and the possessive quantifier make the search of a run of marks linear in time.
_END = re.compile(
    rf"""
    (?<![.!?…]) [.!?…]++ [\"'”\u2019)\]}}*_`$]*+
        # In tokenized text and LaTeX, a blank may precede closing marks: `“word. ”`, `x = 1. \]`.
        (?: [^\S\n]*+ \n?+ [^\S\n]*+ (?: \\\] | \\end\{{\w++\}} | [”\u2019)\]]++ ) (?=\s|\Z) )*+
        (?=\s|\Z)
    | (?<=\w) \. (?= (?:We|The|Our|This|These|In|To|It|However|Finally|Experiments) [\s,] )
    | (?<=[\w)]) \. (?= {_NAME} : )
    | (?P<block>
        ^ [^\S\n]*+ \#{{1,6}} [^\S\n] [^\n]*+  # a heading of Markdown
        | \n (?= [^\S\n]*+ (?: \n | \#{{1,6}}[^\S\n] | [-*]\s | \d{{1,2}}[.)]\s ) )
        | (?= [•‣▪●◦] | \\item\b )
    )
    """,
    re.MULTILINE | re.VERBOSE,
)
_CLOSING = re.compile(r"[^\S\n]*+\n?[^\S\n]*+\$\$(?=\s|\Z)")
"""Matches the end of a displayed formula, as in "$$ x = 1. $$"."""
_NEXT = re.compile(r"\s*[\"'“\u2018(\[{*_`]*([^\W_]?)([^\W_]*)")
_BEFORE = re.compile(r"[^\s\"'“\u2018(\[{*`]*+\Z")
_QUANTITY = re.compile(r"\d\)?\Z")
"""Matches the end of a number before a unit, as in "14 T" and "23.4(2) K"."""
_LABEL = re.compile(r"\d{1,2}|[ivx]{1,4}|[A-Za-z]")
LONGEST = 40
"""Number of characters before a full stop that are searched for an abbreviation."""

_NEVER_LAST = set_of(
    "e.g i.e cf vs viz approx ca fig figs eqs ref refs suppl cv subsp dr mr mrs ms prof mt ft"
)
"""Abbreviations that never end a sentence."""
_BEFORE_NUMBERS = set_of("no nos vol p pp ch eq sec sect tab tbl app art max min c yr")
"""Words that are abbreviations only before a number."""
_PERHAPS_LAST = set_of("al etc resp inc ltd co corp dept univ jr sr st ph.d sp spp ser sv str")
"""Abbreviations that end a sentence only if the next word is a common first word of a sentence."""
_BEGINNERS = set_of(
    """
    a all an and as at based both but by compared despite each existing experiments extensive
    finally first for from further furthermore given here how however if in instead it its many
    more moreover most next no on one our overall prior recent results second several since some
    specifically such that the their then there these they this those through thus to under unlike
    using we what when while with yet
    """
)


MOST = 1_000
"""Number of characters above which a sentence is divided.

The longest sentence in gold_train.csv has 677 characters.
"""
_CUTS = (
    re.compile(r"\n"),
    re.compile(r";\s"),
    re.compile(r"(?<!\S)(?:\S++(?:\s++|\Z)){1,100}+"),
)


def split_sentences(text: str) -> list[str]:
    """Return the sentences of `text`, as delimited by `sentence_spans`."""
    return [text[start:end] for start, end in sentence_spans(text)]


def heading_end(text: str, start: int = 0, end: int | None = None) -> int:
    """Return the end of the heading of a sentence, or `start` if the sentence has no heading.

    Examples of headings are "CONCLUSIONS:", "Methods -", "Results." and "## Goals".

    Args:
        start, end: the span of the sentence in `text`.
    """
    found = _HEADING.match(text, start, len(text) if end is None else end)
    return found.end() if found else start


def without_headings(text: str) -> str:
    """Return the sentences of `text` without their headings, joined by blanks."""
    return " ".join(text[heading_end(text, *span) : span[1]] for span in sentence_spans(text))


@kept(TEXTS)
def sentence_spans(text: str) -> tuple[tuple[int, int], ...]:
    """Return the start and the end of each sentence of `text`, without surrounding white space.

    A sentence ends:
        - at ".", "!", "?" or "…", with the closing quotes and brackets, before white space;
        - at "." before a heading or a word such as "We", even without white space;
        - at an empty line, and before and after a heading of Markdown;
        - before an item of a list: before "•" or LaTeX's "\\item", and before a line that begins
          with "-", "*" or a label such as "2.".
    A sentence does not end within "e.g.", "et al.", "Fig. 2", "J. Smith" or "0.93", after the label
    of an item ("2."), or before a word in lower case. A sentence of more than `MOST` characters is
    divided at line breaks. A part that is still too long is divided at semicolons, and then after
    every hundredth word. Text without visible characters, such as a zero-width space, is not a
    sentence.
    """
    spans: list[tuple[int, int]] = []
    start, counted, displayed = 0, 0, 0
    for end in _END.finditer(text):
        stop = end.end()
        displayed += text.count("$$", counted, stop)
        counted = stop
        if displayed % 2 and (closing := _CLOSING.match(text, stop)):
            stop = closing.end()
        if end["block"] is not None or _is_last(
            text[max(start, end.start() - LONGEST) : end.start()], end.group(), text, stop
        ):
            spans.extend(_cut(text, start, stop))
            start = stop
    spans.extend(_cut(text, start, len(text)))
    return tuple(spans)


def _cut(text: str, start: int, end: int, level: int = 0) -> Iterator[tuple[int, int]]:
    """Yield the span of a sentence, or of each of its parts if the sentence is too long.

    The spans do not include white space at the ends.

    Args:
        level: the index in `_CUTS` of the separator at which a long sentence is divided.
    """
    sentence = text[start:end]
    start, end = end - len(sentence.lstrip()), start + len(sentence.rstrip())
    if end - start > MOST and level < len(_CUTS):
        for cut in _CUTS[level].finditer(text, start, end):
            yield from _cut(text, start, cut.end(), level + 1)
            start = cut.end()
        yield from _cut(text, start, end, level + 1)
    elif any(map(is_visible, text[start:end])):
        yield start, end


def _is_last(before: str, mark: str, text: str, position: int) -> bool:
    """Return True if a sentence ends at `position`.

    Args:
        before: the text before the mark; at most `LONGEST` characters.
        mark: the mark that ends at `position`, such as a full stop.
    """
    following = _NEXT.match(text, position)
    first, rest = following.groups() if following else ("", "")
    # A word with an inner capital, such as "iPhone", may begin a sentence.
    if first.islower() and (first + rest).islower():
        return False
    if not mark.startswith(".") or mark.startswith(".."):
        return True
    found = _BEFORE.search(before)
    word = found.group() if found else ""
    earlier = before[: len(before) - len(word)].rstrip()
    if _LABEL.fullmatch(word) and (not earlier or earlier.endswith((":", ";"))):
        return False
    if len(word) == 1 and _QUANTITY.search(earlier):
        return True
    return _allows_end(word, first, (first + rest).casefold())


def _allows_end(word: str, first: str, following: str) -> bool:
    """Return True if a full stop after `word` may end a sentence.

    Args:
        first: the first letter or digit of the next word.
        following: the next word, with its case folded.
    """
    folded = word.casefold()
    if folded in _NEVER_LAST:
        return False
    if folded in _BEFORE_NUMBERS:
        return not first.isdigit()
    initial = len(word) == 1 and word.isupper()
    initialism = "." in word and all(len(part) == 1 and part.isalpha() for part in word.split("."))
    if folded in _PERHAPS_LAST or initial or initialism:
        return following in _BEGINNERS
    return True
