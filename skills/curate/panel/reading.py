"""How much moves surprise a judge that has read the abstract: a vote without a question.

A small model cannot say whether an annotation is true, but its next words show what it has read.
So it is made to say the moves, under a schema that allows nothing else, and the probability of each
token that it had to say is told (`Reply.tokens`). One request costs the moves' own tokens; nothing
of them stands in the prompt, which all personas share to its last token.

A move surprises by its hardest stretch: one that tells of another paper does so all along, one that
is filled up where the filler stands. The less it does the better, down to where its words can only
be copied from the abstract.

That a text is likely after its source speaks for it has been used of translations and summaries
before: BARTScore (Yuan et al. 2021, arXiv 2106.11520), GPTScore (Fu et al. 2023, arXiv 2302.04166).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from harness.models.backends.base import Reply, Token
from skills.nanda.sanitize import defuse

FLOOR = -15.0
"""Least logprob that counts: a word that could not be guessed shall not decide alone, and servers
tell any small number of it."""
CERTAIN = 0.01
"""Surprise below which tokens were told after the schema had left no choice: no text of people is
that likely."""
STRETCH = 10
"""Tokens: a clause."""
TOO_MUCH, TOO_LITTLE = 0.5, 2.0
"""What a nat of surprise more, and less, than the least of good annotations counts: between that
and none at all there is not much room."""
_PLAIN = str.maketrans({'"': "'", "\\": "/", **dict.fromkeys((*range(32), 127), " ")})


def readable(text: str) -> str:
    """`text` without what JSON has to escape, and harmless to a chat template.

    Quotes become "'" and backslashes "/". Engines write escapes in different ways, and the embedded
    one's LLGuidance ends a string of several escapes before its end.
    """
    return defuse(text).translate(_PLAIN)


def schema(said: Mapping[str, str]) -> dict[str, Any]:
    """The JSON schema under which these texts, each under its name, are all that can be said."""
    return {
        "type": "object",
        "properties": {name: {"type": "string", "enum": [text]} for name, text in said.items()},
        "required": list(said),
        "additionalProperties": False,
    }


def most_tokens(said: Mapping[str, str]) -> int:
    """Completion tokens that saying this can take: none has less than a byte."""
    return len(json.dumps(dict(said), ensure_ascii=False).encode()) + 2 * len(said) + 2


def told(reply: Reply, said: Mapping[str, str]) -> dict[str, list[Token]]:
    """The tokens of each text, without those of the JSON around them.

    Returns: nothing where the reply does not say `said`, or the server tells nothing of its tokens,
    or tells them after the schema has made them certain.
    """
    try:
        is_said = json.loads(reply.text) == dict(said)
    except (ValueError, RecursionError):
        is_said = False
    found: dict[str, list[Token]] = {}
    for name, token in _within(reply.tokens) if is_said else ():
        found.setdefault(name, []).append(token)
    return found if any(surprise(tokens) > CERTAIN for tokens in found.values()) else {}


def surprise(tokens: Sequence[Token]) -> float:
    """Nats by which a token of the hardest stretch surprises, on average."""
    nats = [-max(token.logprob, FLOOR) for token in tokens]
    starts = range(max(1, len(nats) - STRETCH + 1))
    return max(fmean(nats[start : start + STRETCH]) for start in starts)


def score(surprises: Iterable[float], least: float, low: float, high: float) -> float:
    """`high` where moves surprise on average as the least of good ones do; e times nearer to `low`
    with each two nats more, and with each half a nat less."""
    more = fmean(surprises) - least
    return low + (high - low) * math.exp(-TOO_MUCH * more if more > 0 else TOO_LITTLE * more)


def _within(tokens: Sequence[Token]) -> Iterator[tuple[str, Token]]:
    """Tokens of which a part lies inside a value, each with the value's name.

    `readable` has left no quote in a text, so that each one is JSON's: of what stands between
    quotes, names and values take turns.
    """
    quotes, name = 0, ""
    for token in tokens:
        for place, part in enumerate(token.text.split('"'), start=quotes):
            if place % 4 == 0:
                name = ""
            elif place % 4 == 1:
                name += part
            elif place % 4 == 3 and part:
                yield name, token
        quotes += token.text.count('"')
