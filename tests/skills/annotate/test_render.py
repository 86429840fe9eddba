"""Annotations as files: JSON and a Markdown page."""

from __future__ import annotations

import json
from typing import Any

import pytest
from markdown_it import MarkdownIt

from skills.annotate import render
from skills.nanda.framework import nanda

ABSTRACT = "It | has a claim.\nThe evidence of it.\n\nAll other moves."
MOVES = {name: f"The {name} of it." for name in nanda().names} | {"limitation": "Not stated."}


def record(**changes: Any) -> dict[str, Any]:
    stated = [name for name in MOVES if name != "limitation"]
    checks = {
        "unsupported_numbers": {},
        "unsupported_names": {},
        "duplicate_moves": [],
        "support": dict.fromkeys(stated, 0.9),
        "copied": dict.fromkeys(stated, 0.25),
        "source": {name: {"index": 2, "score": 0.7, "text": "A | b."} for name in stated},
    }
    provenance = {
        "requested": "nanda-annotator",
        "resolved": "producer",
        "reason": "ollama nanda-annotator: refused",
        "backend": "llamacpp",
        "where": "smollm2",
        "digests": {"gguf": "b179"},
        "framework": {"name": "nanda", "version": "1", "digest": "d"},
        "sampling": {"temperature": 0.0, "seed": 7, "max_tokens": 900},
        "attempts": 2,
        "tokens": {"prompt": 10, "cached": 0, "completion": 20},
        "seconds": 1.25,
        "harness": "0.1.0",
        "created": "2026-11-24T12:00:00+00:00",
        "input": {"kind": "file", "path": "a_b/c*.txt", "sha256": "s"},
    }
    whole = {"id": "0a1b", "title": "A title", **MOVES, "checks": checks, "provenance": provenance}
    for key, value in changes.items():
        target = checks if key in checks else provenance if key in provenance else whole
        target[key] = value
    return whole


def page(**changes: Any) -> str:
    return render.as_markdown(record(**changes), nanda(), ABSTRACT)


def test_json_is_the_object_itself() -> None:
    whole = record(claim="Größe “x”")
    assert json.loads(render.as_json(whole)) == whole
    assert "Größe “x”" in render.as_json(whole)
    assert list(json.loads(render.moves_as_json(whole, nanda()))) == list(nanda().names)


def test_the_page_has_the_moves_as_rows_in_order() -> None:
    lines = page().splitlines()
    assert lines[0] == "# A title"
    start = lines.index("| --- | --- | --- |") + 1
    numbers = {"claim": "1", "evidence": "2"}
    expected = [
        f"| {move.label} | {MOVES[move.name]} | {numbers.get(move.name, '')} |"
        for move in nanda().moves
    ]
    assert lines[start : start + 8] == expected


def test_the_sentences_of_the_abstract_name_the_moves_that_come_from_them() -> None:
    given = {"sentences": [1, 3], "spans": [[9, 16], [39, 55]], "by": "model"}
    lines = page(anchors={"novelty": given}).splitlines()
    start = lines.index("## Abstract") + 2
    assert lines[start : start + 3] == [
        "1. It \\| has *a claim* **(Novelty)**. **(Claim)**",
        "2. The evidence of it. **(Evidence)**",
        "3. All other moves. **(Novelty)**",
    ]
    assert "| Novelty | The novelty of it. | 1, 3 |" in lines


@pytest.mark.parametrize(
    ("abstract", "passages", "html"),
    [
        (
            "Ledgers *always* find <b>, a_b.",
            {"claim": "*always* find", "method": "find <b>"},
            "Ledgers <em>*always*</em> <strong>(Claim)</strong> <em>find</em>"
            " <strong>(Claim, Method)</strong> <em>&lt;b&gt;</em> <strong>(Method)</strong>, a_b.",
        ),
        (  # pieces without a blank between them
            "\u8d26\u672c\u6709\u6548\u679c",
            {"claim": "\u8d26\u672c\u6709", "method": "\u6709\u6548"},
            "<em>\u8d26\u672c</em> <strong>(Claim)</strong> <em>\u6709</em>"
            " <strong>(Claim, Method)</strong> <em>\u6548</em> <strong>(Method)</strong> \u679c",
        ),
        (
            "A cafe\u0301 \u202eplan\u202c works.",
            {"claim": "cafe", "method": "\u202eplan\u202c"},
            "A <em>cafe\u0301</em> <strong>(Claim)</strong> <em>plan</em>"
            " <strong>(Method)</strong> works.",
        ),
    ],
)
def test_passages_are_in_italics_before_their_moves(
    abstract: str, passages: dict[str, str], html: str
) -> None:
    anchors = {
        move: {"sentences": [1], "spans": [[at, at + len(passage)]], "by": "model"}
        for move, passage in passages.items()
        if (at := abstract.index(passage)) >= 0
    }
    moves = {name: passages.get(name, "Not stated.") for name in nanda().names}
    whole = record(anchors=anchors, source={}, support={}, copied={}) | moves
    shown = MarkdownIt().render(render.as_markdown(whole, nanda(), abstract))
    assert shown.split("<ol>")[1].split("</ol>")[0].strip() == f"<li>{html}</li>"


def test_a_page_without_title_and_one_of_arxiv() -> None:
    assert page(title="").startswith("# Annotation\n")
    assert "Paper: 0a1b" in page()
    assert "[2405.12345](https://arxiv.org/abs/2405.12345)" in page(arxiv_id="2405.12345")
    assert "(https://arxiv.org/abs/2405.12345v1)" in page(arxiv_id="2405.12345v1 [cs.CL]")
    assert "arXiv: none \\| \\<b>\n" in page(arxiv_id="none | <b>"), "no link to nowhere"
    assert "Paper: x\\_1" not in page(paper_id="x_1")
    assert "Paper: x_1" in page(paper_id="x_1")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a | b", "a \\| b"),
        ("two\nlines", "two lines"),
        ("<script>x</script>", "\\<script>x\\</script>"),
        ("![x](http://evil.example)", "!\\[x\\](http://evil.example)"),
        ("`code` and **bold**", "\\`code\\` and \\*\\*bold\\*\\*"),
        ("tool_use and _this_", "tool_use and \\_this\\_"),
        ("back\\slash", "back\\\\slash"),
        ("R&D &lt; &#60;", "R&D \\&lt; \\&#60;"),
        ("~~gone~~", "\\~\\~gone\\~\\~"),
    ],
)
def test_markdown_in_values_is_escaped(text: str, shown: str) -> None:
    assert f"| Claim | {shown} | " in page(claim=text)
    assert page(title=text).startswith(f"# {shown}\n")


def test_checks_without_findings() -> None:
    text = page()
    assert "- All numbers of the moves occur in the abstract." in text
    assert "- All names of the moves occur in the abstract." in text
    assert "- No two moves have the same content." in text
    assert "| Claim | 25% | 3. A \\| b. |" in text
    assert "| Limitation | 25%" not in text
    assert "90%" not in text, "a share of words says nothing about truth"
    assert render.warning(record()) == ""


def test_checks_with_findings() -> None:
    findings: dict[str, Any] = {
        "unsupported_numbers": {"evidence": ["93", "4*2"], "claim": ["7"]},
        "unsupported_names": {"claim": ["GPT-9"]},
        "duplicate_moves": [
            ["claim", "scope", 0.9],
            ["method", "novelty", 1.0],
            ["scope", "method", 0.9],
        ],
    }
    text = page(**findings)
    assert "does not contain:** Evidence: 93, 4\\*2; Claim: 7." in text
    assert "does not contain:** Claim: GPT-9." in text
    assert "with the same content:** Claim, Method, Scope, Novelty." in text
    warning = (
        "check: 3 numbers and 1 name not found in the abstract; "
        "claim, method, scope, novelty have the same content"
    )
    assert render.warning(record(**findings)) == warning


def test_a_doubted_move_is_marked_beside_its_text() -> None:
    doubtful = {"turned_words": {"claim": ["faster"]}, "moved_numbers": {"evidence": ["93"]}}
    whole = record(support={"method": 0.2})
    whole["checks"] |= doubtful
    text = render.as_markdown(whole, nanda(), "An abstract.")
    turned = "the abstract has the opposite beside these words: faster"
    assert f"| Claim | The claim of it. ⚠ {turned}. | " in text
    moved = "the abstract has another number beside these words: 93"
    assert f"| Evidence | The evidence of it. ⚠ {moved}. | " in text
    assert "| Method | The method of it. ⚠ few of its words are in the abstract. | " in text
    assert "| Scope | The scope of it. | " in text
    warned = "check: claim, evidence may not say what the abstract says"
    assert render.warning(whole) == warned


def test_a_page_where_nothing_is_stated() -> None:
    assert "states none of the moves" in page(support={}, copied={}, source={})


def test_the_provenance_section() -> None:
    text = page()
    assert "- Model: producer (llamacpp, smollm2)" in text
    assert "- Requested was nanda-annotator, which could not be served" in text
    assert "(ollama nanda-annotator: refused); producer was used instead." in text
    assert "2 answers, 10 prompt tokens, 20 completion tokens, 1.2 s" in text
    assert "file a_b/c\\*.txt, sha256 `s`" in text
    assert "sha256 of gguf: `b179`" in text
    assert "Requested" not in page(reason=None)
