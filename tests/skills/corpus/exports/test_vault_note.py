"""The content of a note is ours alone, whatever a title, an abstract or a move contains."""

from __future__ import annotations

import re

from corpus_papers import annotated, paper
from hypothesis import given
from hypothesis import strategies as st

from skills.corpus.exports.user_edited import parse
from skills.corpus.exports.vault_note import note
from skills.corpus.records import Annotated
from skills.nanda.framework import nanda
from skills.nanda.text import flatten

PIECES = ("[[x]]", "%%", "---", "\n---\n", "nanda-harness ends here", "#tag", "k:: v", "<b>", "$x$")
TEXTS = st.lists(st.sampled_from((*PIECES, "A plan", " ", ". ", "\n", "\u2028", '"', "\\\\", "é")))


@given(TEXTS.map("".join), TEXTS.map("".join), TEXTS.map("".join))
def test_hostile_texts(title: str, abstract: str, claim: str) -> None:
    of = paper(1, f"A plan. {abstract}", title=title)
    ours = note(annotated(of, claim=f"A {claim}"), nanda(), [("Other", [claim])])
    read = parse(ours.text)
    assert read.values["claim"] == flatten(f"A {claim}")
    assert read.values.get("title", "") == flatten(title)
    assert ours.merged(ours.text) == (ours.text, "unchanged")
    lines = ours.block.splitlines()
    assert all(
        re.match(r"> |- \[\[Other\]\]: |Papers with the same terms:\Z|\Z", line) for line in lines
    )
    shown = ours.block.replace("[[Other]]", "").replace("> [!", "> ")
    assert not re.search(r"%%|::|(?<!\\)(?:\\\\)*(?:\[\[|#|\$|<)", shown.replace("&#37;", ""))


def test_passages_of_moves_are_highlighted() -> None:
    text = "Plans fail. We test a ledger of plans and find errors."
    unstated = dict.fromkeys(nanda().names, nanda().not_stated)
    moves = {**unstated, "limitation": "Plans fail.", "method": "a ledger of plans"}
    block = note(annotated(paper(1, text), **moves), nanda(), []).block
    assert "> ==Plans fail.== **(Limitation)** " in block
    assert "ledger of plans" in block
    assert "**(Method)**" in block


def test_doubts_are_a_property_and_in_the_callout() -> None:
    item = annotated(paper(1), claim="Plans fail.", scope=nanda().not_stated)
    one = {"text": "Of #plans.", "confidence": 0.21, "sentences": [1], "spans": [[0, 9]]}
    doubt = {"confidence": {"claim": 0.4, "scope": 0.1}, "suggestions": {"scope": one}}
    ours = note(Annotated(item.paper, {**item.record, **doubt}), nanda(), [])
    assert parse(ours.text).values["uncertain"] == ["claim"]
    assert "> - Claim: uncertain: confidence 0.40\n" in ours.block
    assert "> - Suggestion for Scope (0.21): Of \\#plans.\n" in ours.block
