"""The content of a note is ours alone, whatever its texts contain; related papers are linked."""

from __future__ import annotations

import re

import pytest
from corpus_papers import annotated, paper
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from skills.corpus.exports.user_edited import parse
from skills.corpus.exports.vault_note import (
    FEW,
    LINKS,
    MOST,
    at_start,
    escaped,
    note,
    related,
    terms_of,
)
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


MARKS = st.text("ab1 *_`[]()<>#$^|~=:%&;-+.!\\\"'\n/{}", max_size=30)


def shown(text: str) -> str:
    """Return what CommonMark with strikethrough shows of a line, as text."""
    tokens = MarkdownIt("commonmark").enable("strikethrough").parse(text)
    assert [token.type for token in tokens] in (
        [],
        ["paragraph_open", "inline", "paragraph_close"],
    )
    pieces = [piece for token in tokens for piece in token.children or ()]
    assert {piece.type for piece in pieces} <= {"text", "text_special"}
    return "".join(piece.content for piece in pieces)


@given(MARKS)
def test_text_is_shown_as_it_is(text: str) -> None:
    assert shown(at_start(escaped(text))) == flatten(text)


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("a #tag", r"(?<!\\)#"),
        ("[[link]] ![[embed]]", r"(?<!\\)\["),
        ("costs $5 and $6", r"(?<!\\)\$"),
        ("a ==b== c", "=="),
        ("key:: value", "::"),
        ("a %%hidden%% b", "%%"),
        ("a ^id", r"(?<!\\)\^"),
        ("<script>", r"(?<!\\)<"),
    ],
)
def test_marks_of_obsidian(text: str, mark: str) -> None:
    assert not re.search(mark, escaped(text))


def test_terms_are_specific_pairs_and_names_with_a_capital() -> None:
    found = terms_of(
        [
            "LoRA adapters improve Plan Repair.",
            "The large model, an LLM",
            "Extensive experiments show gains.",
        ]
    )
    assert found[("plan", "repair")] == "plan repair"
    assert found[("lora",)] == "LoRA"
    assert ("adapt",) not in found  # a single common word
    assert ("larg", "model") not in found  # the first word is generic
    assert ("llm",) not in found
    assert not terms_of(["Extensive experiments of a large test show small gains."])


def test_rarer_terms_come_first() -> None:
    a, b, c = ("a", "x"), ("b", "x"), ("c", "x")
    assert related([[a, b, c], [a], [a, b, c]])[0] == [(2, [b, c, a]), (1, [a])]


def test_terms_of_many_papers_join_nothing() -> None:
    term = ("plan", "repair")
    assert all(related([[term]] * FEW))
    assert not any(related([[term]] * (FEW + 1)))
    assert not any(related([[term]] * (MOST + 1) + [[]] * 1000))


def test_links_are_few() -> None:
    papers = [[(str(other), "x")] for other in range(20)]
    hub = [term for terms in papers for term in terms]
    assert len(related([hub, *papers])[0]) == LINKS
