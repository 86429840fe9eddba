"""LLGuidance grammars of the steps in which an anchored annotation is generated."""

from __future__ import annotations

import json
from collections.abc import Sequence

from skills.nanda.quoting.numbered import Sentence
from skills.nanda.quoting.passages import least_words

SEPARATOR = " | "
"""Between two passages of a completion."""


def number_grammar(count: int) -> str:
    """Return the grammar of the first digit of a sentence number, after a label."""
    digits = "".join(str(digit) for digit in range(1, min(count, 9) + 1))
    return f'%llguidance {{}}\nstart: " [" /[{digits}]/\n'


def passage_grammar(sentences: Sequence[Sentence], first: int, limit: int) -> str:
    """Return the grammar of what follows the number of a move's first sentence, up to a line feed.

    It ends the list of numbers, or adds one of a later sentence, and quotes a passage of each.
    """
    names = {number: f"PASSAGE{number}" for number in range(first, len(sentences) + 1)}
    ways = [f'"]:" {names[first]}']
    for number in range(first + 1, len(sentences) + 1):
        ways.append(f'",{number}]:" {names[first]} " |" {names[number]}')
    # One terminal: a lexer would not reconsider a blank that may continue a passage or end it.
    rules = [f'%llguidance {{}}\nstart: MOVE\nMOVE: ({" | ".join(ways)}) "\\n"']
    for number, name in names.items():
        phrases = sentences[number - 1].phrases
        chunks, least = [f" {phrase.text}" for phrase in phrases], least_words(phrases, limit)
        quote = json.dumps({"substring_chunks": chunks}, ensure_ascii=False)
        rules += [
            f"{name}: /( [^ \\n]+){{{least},}}/ & / [^\\n]{{1,{limit}}}/ & QUOTE{number}",
            f"QUOTE{number}: %regex {quote}",
        ]
    return "\n".join(rules) + "\n"
