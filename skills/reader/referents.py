"""Find the name that the first word of a passage refers to: "It needs no model" is of DryRun.

Only a pronoun in the place of a subject is replaced ("It", "This", "They"), or "this" with a noun
for what authors made ("this system"), by the one name that the sentence before presents. A name
has a capital inside, a digit or only capitals ("DryRun", "BERT", "GPT-4"), and follows a verb of
presenting, "called", or begins the sentence. Where there is no name, or more than one, the passage
stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from skills.nanda.forms import Referent, Span

_REFERRING = re.compile(
    r"(?:it|this|(?:this|our|such an?|the proposed|the) (?:algorithm|approach|architecture"
    r"|benchmark|corpus|dataset|framework|language|library|method|model|pipeline|platform|procedure|protocol"
    r"|scheme|system|technique|tool|toolkit))(?= (?:\w+ly |also |can |does |may |will )*"
    r"(?:is|was|has|had|can|may|will|does|\w+s)\b)",
    re.IGNORECASE,
)
_NAME = r"(?P<name>[A-Z][\w-]*(?:[A-Z\d][\w-]*)|[a-z]+[A-Z][\w-]*)"
_PRESENTED = re.compile(
    rf"(?:\b(?i:we|paper|article|work|study)\s+(?:\w+ly\s+)?(?i:build|built|describe|develop|design"
    rf"|introduce|present|propose|release)(?:s|d|ed)?\s+(?:the\s+)?{_NAME}"
    rf"|\b(?:called|dubbed|named|termed)\s+{_NAME.replace('name', 'called')}"
    rf"|\A{_NAME.replace('name', 'first')}(?=\s(?:is|has|can|uses|learns|combines|provides)\b)"
    rf"|\((?P<short>[A-Z][\w-]*[A-Z\d][\w-]*)\))"
)


def opening(abstract: str, passage: Span, before: Sequence[Span]) -> Referent | None:
    """Return the referent of the first words of a passage, None if they refer to nothing known.

    Args:
        passage: its place in the abstract.
        before: the places of the sentences before its sentence.
    """
    start, end = passage
    found = _REFERRING.match(abstract, start, end)
    if not found or not before:
        return None
    first, last = before[-1]
    names = {
        one[one.lastgroup or 0]: one.span(one.lastgroup or 0)
        for one in _PRESENTED.finditer(abstract[first:last])
    }
    if len(names) != 1:
        return None
    [(low, high)] = names.values()
    return Referent(span=(first + low, first + high), at=found.span())
