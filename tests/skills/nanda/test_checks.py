"""Test the checks of moves against abstracts."""

from __future__ import annotations

import csv
import io
import itertools
import json
import unicodedata
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from repository import SHARED

from skills.nanda import anchors, checks, doubts, sentences, unsupported
from skills.nanda import text as text_module
from skills.nanda.checks import DOUBTS, check, copied, duplicate_moves, source_sentence, support
from skills.nanda.framework import nanda
from skills.nanda.text import content_words, flatten, stem
from skills.nanda.unsupported import unsupported_names, unsupported_numbers

GOLD = SHARED / "gold_dev.csv"
ABSTRACT = (
    "Large language models (LLMs) fail at long plans. We present DryRun, which lets GPT-4o and "
    "Llama-3.1-8B rehearse 1,250 commands in twenty-three shells (e.g. bash). On ShellTasks, "
    "DryRun raises success from 41.30 % to 58.9% for reinforcement learning agents in Malmö."
)


@pytest.mark.parametrize(
    "text",
    [
        "1250 commands", "1,250 commands", "41.3% and 58.9 %", "41.30%", "23 shells", "20 shells",
        "three shells", "GPT-4o wins", "seven things", "no figures", "Llama-3.1-8B at 58.9.",
    ],
)  # fmt: skip
def test_supported_numbers(text: str) -> None:
    assert unsupported_numbers(ABSTRACT, text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("41.4% and 58.9%", ["41.4"]),
        ("12,500 commands", ["12500"]),
        ("250 commands", ["250"]),
        ("589 of 58.9", ["589"]),
        ("0.589, then .589, then 0.589 again", ["0.589", ".589"]),
        ("a 2.5x gain for top-7 and 7", ["2.5", "7"]),
        ("GPT-5 is a name and 5 a number", ["5"]),
        ("32 shells", ["32"]),
    ],
)
def test_unsupported_numbers(text: str, found: list[str]) -> None:
    assert unsupported_numbers(ABSTRACT, text) == found


def test_numbers_in_tokenized_text() -> None:
    assert unsupported_numbers("over 80, 000 images and 70\u202f000 more", "80,000 and 70000") == []
    assert unsupported_numbers("93{,}000 lines", "93,000 lines") == []


@pytest.mark.parametrize(
    "text",
    [
        "DryRun helps an LLM.", "LLM-based planning with dryrun.", "GPT 4o, GPT-4o-based agents.",
        "Llama-3.1-8B, Llama 3.1 8B.", "Agents use RL.", "It runs in Malmo.", "LLMs use Bash.",
        "The LLMs' plans; DryRun's gain.", "All lower case here.", "Success in 4x4 grids.",
    ],
)  # fmt: skip
def test_supported_names(text: str) -> None:
    assert unsupported_names(ABSTRACT, text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It beats GPT-4 and GPT-5.", ["GPT-4", "GPT-5"]),
        ("Llama-3.1-70B runs.", ["Llama-3.1-70B"]),
        ("A BERT-based planner, and BERT again.", ["BERT"]),
        ("WetRun helps.", ["WetRun"]),
        ("It runs in Berlin. Berlin begins this.", ["Berlin"]),
        ("XAI is new.", ["XAI"]),
        ("Self-Refine is new. Step-wise plans are not.", ["Self-Refine"]),
        ("Some Node.js tools.", ["Node.js"]),
    ],
)
def test_unsupported_names(text: str, found: list[str]) -> None:
    assert unsupported_names(ABSTRACT, text) == found


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("of_abstract", ["NFC", "NFD"])
def test_accents_and_soft_hyphens_are_normalized(form: str, of_abstract: str) -> None:
    abstract = (
        "We let Gödel ma\u00adchines re\u00adhearse café plans by rein\u00adforcement learning."
    )
    abstract = unicodedata.normalize(of_abstract, abstract)
    text = unicodedata.normalize(form, "It lets the Gödel machines rehearse café plans by RL.")
    assert unsupported_names(abstract, text) == []
    assert support(abstract, text) == round(6 / 7, 3), "only the letters of RL are present"
    assert copied(abstract, text) == round(6 / 10, 3)
    assert source_sentence(abstract, text)["score"] == round(7 / 10, 3)


def test_support_counts_content_words_in_any_inflection() -> None:
    assert support(ABSTRACT, "Commands are rehearsed in a shell") == 1.0
    assert support(ABSTRACT, "Bananas are rehearsed in a shell") == 0.667
    assert support(ABSTRACT, "Bananas ripen") == 0.0
    assert support(ABSTRACT, "the of and") == 1.0


def test_copied_counts_runs_of_five_words() -> None:
    run = "lets GPT-4o and Llama"
    assert copied(ABSTRACT, f"It {run} act") == round(5 / 7, 3), "GPT and 4o are two words"
    assert copied(ABSTRACT, "It lets GPT and it lets Llama act") == 0.0
    assert copied(ABSTRACT, ABSTRACT) == 1.0
    assert copied(ABSTRACT, "...") == 0.0
    assert copied(ABSTRACT, "Long plans.") == 1.0, "a short quote"


def test_source_is_the_sentence_with_most_words_in_order() -> None:
    found = source_sentence(ABSTRACT, "DryRun raised the success to 58.9%")
    assert found["index"] == 2
    assert found["text"].startswith("On ShellTasks, DryRun raises")
    assert found["score"] == round(5 / 6, 3), "DryRun raise success to 58.9, of six words"
    assert source_sentence(ABSTRACT, "zebra") == {
        "index": 0, "score": 0.0, "text": "Large language models (LLMs) fail at long plans."
    }  # fmt: skip


def test_duplicates_are_found_in_any_order_of_words() -> None:
    moves = {
        "claim": "A planner rehearses each command in a snapshot.",
        "method": "In a snapshot, a planner rehearses each command.",
        "scope": "Shell tasks of administrators.",
    }
    assert duplicate_moves(moves) == [["claim", "method", 1.0]]


def test_all_checks_are_flat_json() -> None:
    moves = {"claim": "DryRun beats GPT-9 by 77%.", "scope": "LLMs in shells."}
    found = check(ABSTRACT, moves)
    assert json.loads(json.dumps(found)) == found
    assert found["unsupported_numbers"] == {"claim": ["77"]}
    assert found["unsupported_names"] == {"claim": ["GPT-9"]}
    assert found["duplicate_moves"] == []
    for measure in ("support", "copied", "source"):
        assert list(found[measure]) == ["claim", "scope"]
    assert check(ABSTRACT, {}) == {
        "unsupported_numbers": {}, "unsupported_names": {}, "duplicate_moves": [],
        **{key: {} for key in DOUBTS},
        "support": {}, "copied": {}, "source": {},
    }  # fmt: skip


@pytest.mark.skipif(not GOLD.exists(), reason="../shared with the gold data is missing")
def test_checks_of_the_gold_data() -> None:
    with GOLD.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = [check(row["abstract"], nanda().stated(row)) for row in rows]
    fields = [share for row in found for share in row["support"].values()]
    assert sum(len(row["unsupported_numbers"]) for row in found) == 0
    assert sum(len(row["unsupported_names"]) for row in found) <= len(fields) // 100
    assert sum(len(row["duplicate_moves"]) for row in found) == 0
    assert 0.9 < sum(fields) / len(fields) < 0.97
    others = rows[1:] + rows[:1]
    strange = [
        share
        for row, other in zip(rows, others, strict=True)
        for share in check(other["abstract"], nanda().stated(row))["support"].values()
    ]
    assert sum(strange) / len(strange) < 0.35, "another abstract supports a move far less"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("agents", "agent"), ("evaluates", "evaluated"), ("evaluating", "evaluate"),
        ("planned", "plan"), ("studies", "study"), ("classes", "class"), ("paper's", "paper"),
        ("processes", "process"), ("running", "runs"), ("called", "calls"), ("boxes", "box"),
    ],
)  # fmt: skip
def test_stems_of_inflections_are_equal(one: str, other: str) -> None:
    assert stem(one) == stem(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("evaluation", "evaluate"), ("need", "nee"), ("string", "strs"), ("model", "mode"),
        ("analysis", "analysi"), ("4", "4s"), ("bus", "bu"), ("1.0", "1"),
    ],
)  # fmt: skip
def test_stems_of_other_words_differ(one: str, other: str) -> None:
    assert stem(one) != stem(other)


def test_content_words() -> None:
    assert content_words("The agents' plans, used with 3.5 tools, don't fail.") == [
        "agent", "plan", "3.5", "tool", "don't", "fail"
    ]  # fmt: skip


def test_flatten_ascii_and_unicode_agree() -> None:
    assert flatten(" a\r\n\tb\x00c\x7f ") == "a b c"
    assert flatten(" ä\r\n\tb\x00c\x7f ") == "ä b c"


@pytest.mark.skipif(not GOLD.exists(), reason="../shared with the gold data is missing")
def test_what_is_kept_of_earlier_texts_changes_nothing() -> None:
    given = [
        (row["abstract"], nanda().stated({name: row[name] for name in nanda().names}))
        for row in itertools.islice(
            csv.DictReader(io.StringIO(GOLD.read_text(encoding="utf-8"))), 12
        )
    ]
    kept = [
        function
        for module in (anchors, checks, doubts, sentences, text_module, unsupported)
        for function in vars(module).values()
        if isinstance(function, text_module.Kept)
    ]
    assert len(kept) > 8

    def afresh(abstract: str, moves: Mapping[str, str]) -> dict[str, Any]:
        for function in kept:
            function._of_texts.cache_clear()
            function._of_long.cache_clear()
        return check(abstract, moves)

    expected = list(itertools.starmap(afresh, given))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(check, *zip(*given * 4, strict=True))) == expected * 4


def test_a_quote_is_searched_only_for_lost_negations() -> None:
    first = "We compared seven models with and without a grammar that admits only known units."
    abstract = f"We study models. {first} Nobody observed that agents wait."
    move = f"{first[:-1]} ... We study models."
    assert doubts.find_doubts(abstract, {"claim": move})["turned_words"] == {"claim": ["without"]}
    assert doubts.find_doubts(abstract, {"claim": move}, {"claim"})["turned_words"] == {}
    changed = move.replace("seven", "9 of 12")
    assert check(abstract, {"claim": changed})["unsupported_numbers"] == {"claim": ["9", "12"]}
    denied = "We did not observe that agents wait."
    assert check(denied, {"claim": "Agents wait."})["lost_negations"] == {
        "claim": ["agents", "wait"]
    }


def test_a_quote_of_another_sentence_than_its_anchor_is_searched_for_lost_negations() -> None:
    abstract = (
        "Agents often plan ahead in shell tasks. We found no evidence that careful planning helps "
        "large agents."
    )
    claim = {"claim": "Careful planning helps large agents."}
    given = {"claim": anchors.anchor_of(abstract, [1], "reviewer")}
    found = check(abstract, claim, given)["lost_negations"]
    assert found == check(abstract, claim)["lost_negations"]
    assert "planning" in found["claim"]
