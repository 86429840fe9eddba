"""Test frameworks: annotation model, schema, grammar, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import llguidance
import pytest
from pydantic import ValidationError

from harness.errors import InputError
from skills.nanda.framework import NANDA, Framework, load, nanda
from skills.nanda.generated_forms import NUMBERS, TaggedForm, reply_schema, tagged_grammar

EIGHT = (
    "claim", "evidence", "method", "scope", "limitation", "comparison", "implication", "novelty",
)  # fmt: skip
THREE = """
name: three-moves
version: "2"
title: Three moves
not_stated: Keine Angabe.
not_stated_variants: [k. A.]
max_chars: 60
moves:
  - {name: problem, label: Problem, definition: what is wrong, write: the problem}
  - {name: idea, label: Key idea, definition: what helps, write: the idea}
  - {name: proof, label: Proof, definition: why it helps, write: the proof}
instructions: Find the moves.
tuned_instructions: Annotate.
"""
GOOD = {name: f"The {name} of the paper." for name in EIGHT}
Annotation = nanda().annotation_model()


def framework_file(folder: Path, text: str = THREE) -> Path:
    path = folder / "moves.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def accepts(grammar: str, text: str) -> bool:
    """Return True if LLGuidance accepts `text` as a complete sentence of `grammar`."""
    tokenizer = llguidance.LLTokenizer("byte")
    matcher = llguidance.LLMatcher(tokenizer, grammar)
    tokens = tokenizer.tokenize_str(text)
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


def test_the_eight_moves_in_order() -> None:
    assert nanda().names == EIGHT
    assert tuple(Annotation.model_fields) == EIGHT
    assert nanda().not_stated == "Not stated."
    assert nanda().max_chars >= 279, "the longest move of the gold data"


def test_annotation_has_moves_in_order() -> None:
    backwards = dict(reversed(GOOD.items()))
    assert list(Annotation.model_validate(backwards).model_dump()) == list(EIGHT)


@pytest.mark.parametrize(
    "value", ["not stated", "Not stated", "NOT STATED.", " Not\nstated . ", "N/A", "n/a", "N/A."]
)
def test_variants_of_not_stated_are_normalized(value: str) -> None:
    assert Annotation.model_validate({**GOOD, "limitation": value}).limitation == "Not stated."  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "value", ["It is not stated.", "N/A values are filled in.", "Not stated by prior work."]
)
def test_text_that_contains_not_stated_is_kept(value: str) -> None:
    assert Annotation.model_validate({**GOOD, "claim": value}).claim == value  # type: ignore[attr-defined]


def test_values_are_one_plain_line() -> None:
    value = " One\n\n line\x00\twith\u2028a \u202ehidden\u200b turn and \ud800. "
    found = Annotation.model_validate({**GOOD, "scope": value}).model_dump()["scope"]
    assert found == "One line with a hidden turn and \ufffd."
    found.encode()


@pytest.mark.parametrize("value", ["", "  \n ", "\x00", None, 3, ["a"], "x" * 481])
def test_invalid_values(value: object) -> None:
    with pytest.raises(ValidationError):
        Annotation.model_validate({**GOOD, "method": value})


def test_missing_and_unknown_moves_are_rejected() -> None:
    with pytest.raises(ValidationError, match="novelty"):
        Annotation.model_validate({k: v for k, v in GOOD.items() if k != "novelty"})
    with pytest.raises(ValidationError, match="verdict"):
        Annotation.model_validate({**GOOD, "verdict": "Good."})


def test_schema_requires_the_moves() -> None:
    schema = reply_schema(nanda())
    numbers = {**{name: [1, 12] for name in EIGHT}, "scope": []}
    good = {NUMBERS: numbers, **GOOD}
    jsonschema.validate(good, schema)
    assert list(schema["properties"]) == [NUMBERS, *EIGHT]
    bad: list[Any] = [{**good, "x": "y"}, {NUMBERS: numbers, "claim": "x"}, GOOD]
    bad += [{**good, "claim": text} for text in ("x" * 321, "")]
    bad += [{**good, NUMBERS: {**numbers, "claim": given}} for given in ([0], [1] * 4, 1)]
    for value in bad:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(value, schema)


def test_schema_has_only_enforced_keywords() -> None:
    compiled = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(reply_schema(nanda())))
    assert llguidance.LLMatcher.validate_grammar_with_warnings(compiled) == (False, [])
    of_objects = {"type", "properties", "required", "additionalProperties"}
    schema = reply_schema(nanda())
    numbers, claim, *_ = schema["properties"].values()
    assert set(schema) == set(numbers) == of_objects
    assert set(claim) == {"type", "minLength", "maxLength"}
    assert set(numbers["properties"]["claim"]) == {"type", "items", "maxItems"}
    assert set(numbers["properties"]["claim"]["items"]) == {"type", "minimum", "maximum"}


@pytest.mark.parametrize("three", [False, True])
def test_grammar_accepts_complete_annotations(tmp_path: Path, three: bool) -> None:
    framework = load(framework_file(tmp_path)) if three else nanda()
    grammar = tagged_grammar(framework)
    assert llguidance.LLMatcher.validate_grammar_with_warnings(grammar) == (False, [])
    moves = dict.fromkeys(framework.names, "Größer als p < 0.05, a<b: \"quoted\" \\ 'so'.")
    whole = TaggedForm(framework).completion(moves)
    assert accepts(grammar, whole)
    last = framework.moves[-1].label
    assert accepts(grammar, whole.replace(f"{last}: Gr", f"{last}: " + "x" * 12))
    for broken in (
        whole.replace(f"\n{last}: {moves[framework.names[-1]]}", ""),
        whole.replace("</annotation>", ""),
        whole.replace("p < 0.05", "</annotation>"),
        whole.replace("p < 0.05", "p\n0.05"),
        whole.replace("p < 0.05", "p\x000.05"),
        whole.replace(f"{last}: Gr", f"{last}:  Gr"),
        whole.replace(f"{last}: Gr", f"{last}: " + "x" * framework.max_chars),
        f"x{whole}",
        f"{whole}x",
    ):
        assert broken != whole
        assert not accepts(grammar, broken)


def test_other_framework_needs_no_code(tmp_path: Path) -> None:
    framework = load(framework_file(tmp_path))
    assert framework.names == ("problem", "idea", "proof")
    moves = {"proof": "K. A.", "idea": " An idea. ", "problem": "A problem."}
    dumped = framework.annotation_model().model_validate(moves).model_dump()
    assert list(dumped.items()) == [
        ("problem", "A problem."), ("idea", "An idea."), ("proof", "Keine Angabe.")
    ]  # fmt: skip
    assert framework.stated(dumped) == {"problem": "A problem.", "idea": "An idea."}


def test_one_framework_has_one_model(tmp_path: Path) -> None:
    path = framework_file(tmp_path)
    assert load(path).annotation_model() is load(path).annotation_model()
    assert load(path).annotation_model() is not nanda().annotation_model()


def test_digest_is_of_the_content(tmp_path: Path) -> None:
    before = load(framework_file(tmp_path)).digest
    assert load(framework_file(tmp_path, "# a remark\n" + THREE)).digest == before
    assert load(framework_file(tmp_path, THREE.replace("what helps", "what aids"))).digest != before


@pytest.mark.parametrize(
    ("old", "new", "line", "complaint"),
    [
        ("max_chars: 60", "max_chars: many", 7, "max_chars"),
        ("max_chars: 60", "max_chats: 60", 7, "max_chats"),
        ("name: idea", "name: problem", 2, "two moves have the name 'problem'"),
        ("label: Key idea", "label: problem", 2, "two moves have the label 'problem'"),
        ("name: idea", "name: title", 10, "cannot be named 'title'"),
        ("name: idea", "name: support", 10, "cannot be named 'support'"),
        ("name: idea", "name: authors", 10, "cannot be named 'authors'"),
        ("name: idea", "name: published", 10, "cannot be named 'published'"),
        ("name: idea", "name: categories", 10, "cannot be named 'categories'"),
        ("name: idea", "name: model_dump", 10, "cannot be named 'model_dump'"),
        ("name: idea", "name: Key idea", 10, "moves.1.name"),
        ("label: Key idea", 'label: "a: b"', 10, "moves.1.label"),
        ("max_chars: 60", "max_chars: 60\nmax_chars: 70", 8, "duplicate key"),
        ("moves:", "moves: [", 9, "not YAML"),
    ],
)
def test_invalid_file_is_reported_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, complaint: str
) -> None:
    path = framework_file(tmp_path, THREE.replace(old, new, 1))
    with pytest.raises(InputError, match=complaint) as caught:
        load(path)
    assert caught.value.exit_code == 2
    assert str(caught.value.where).startswith(f"{path}:")
    if "two moves" not in complaint and "YAML" not in complaint:
        assert caught.value.where == f"{path}:{line}"


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "none.yaml")


def test_built_in_framework_is_in_use() -> None:
    assert load(NANDA) == nanda()
    assert isinstance(nanda(), Framework)
