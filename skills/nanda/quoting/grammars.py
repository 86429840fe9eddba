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

    Args:
        limit: maximum characters of the passages together.
    """
    later = range(first + 1, len(sentences) + 1)
    ways = [_way("]:", (first,), limit)]
    ways += [_way(f",{number}]:", (first, number), limit) for number in later]
    # One terminal: a lexer would not reconsider a blank that may continue a passage or end it.
    rules = [f'%llguidance {{}}\nstart: MOVE\nMOVE: ({" | ".join(ways)}) "\\n"']
    for number in (first, *later):
        phrases = sentences[number - 1].phrases
        chunks, least = [f" {phrase.text}" for phrase in phrases], least_words(phrases, limit)
        quote = json.dumps({"substring_chunks": chunks}, ensure_ascii=False)
        rules += [
            f"PASSAGE{number}: /( [^ \\n]+){{{least},}}/ & QUOTE{number}",
            f"QUOTE{number}: %regex {quote}",
        ]
    return "\n".join(rules) + "\n"


def _way(begin: str, numbers: Sequence[int], limit: int) -> str:
    """Return a way to go on: `begin`, and passages of at most `limit` characters together."""
    passages = ' " |" '.join(f"PASSAGE{number}" for number in numbers)
    most = len(f"{begin} ") + limit + len(SEPARATOR) * (len(numbers) - 1)
    return f'("{begin}" {passages}) & /[^\\n]{{1,{most}}}/'
