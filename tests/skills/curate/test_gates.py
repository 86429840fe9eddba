"""The gates: each finds its own fault only, and gold annotations pass."""

from __future__ import annotations

import csv

import pytest
from repository import SHARED

from skills.curate.gates import REASONS, Finding, find, phrases
from skills.nanda.framework import Framework, Move, nanda
from skills.nanda.paper import Paper
from skills.nanda.text import words

DATA = SHARED
NANDA = nanda()
PAPER = Paper(
    "id",
    "dryrun",
    "",
    "Language agents that operate a shell break things, since they cannot take a command back. "
    "We present DryRun, a planner that rehearses every command in a copy-on-write snapshot before "
    "it touches the real machine. On ShellTasks, a suite of 1,250 administration tasks, DryRun "
    "raises the success rate of an open 8B model from 41.3% to 58.9%, and halves the number of "
    "destructive commands compared to a planner without rehearsal. Rehearsal doubles the time per "
    "task. Safe shell agents therefore need no larger models, which makes them affordable for "
    "small teams.",
)
GOOD = {
    "claim": "Rehearsing every command in a snapshot makes agents that operate a shell safe.",
    "evidence": "On 1,250 administration tasks of ShellTasks the success rate rises from 41.3% to "
    "58.9%, with half as many destructive commands.",
    "method": "DryRun runs each planned command in a copy-on-write snapshot before the real "
    "machine is touched.",
    "scope": "Language agents with an open 8B model that do administration tasks in a shell.",
    "limitation": "Each task takes double the time when its commands are rehearsed.",
    "comparison": "A planner without rehearsal has a larger number of destructive commands.",
    "implication": "Small teams can afford safe shell agents, since no larger models are needed.",
    "novelty": "A planner that takes commands back by rehearsal rather than by a larger model.",
}
UNSTATED = NANDA.not_stated


def findings(**changed: str) -> tuple[Finding, ...]:
    return find(PAPER, {**GOOD, **changed}, NANDA)


def codes(**changed: str) -> list[tuple[str, str]]:
    return [(finding.code, finding.move) for finding in findings(**changed)]


def framework(max_chars: int, *names: str) -> Framework:
    moves = [
        Move(name=name, label=name.title(), definition="a part", write="that part")
        for name in names
    ]
    return NANDA.model_copy(update={"max_chars": max_chars, "moves": tuple(moves)})


def test_a_good_annotation_passes() -> None:
    assert findings() == ()
    assert findings(limitation="not mentioned", comparison=" n/a ", title="Zebra 77") == ()


def test_an_empty_or_overlong_move_does_not_fit_the_schema() -> None:
    assert findings(scope=" \n ") == (Finding("schema", "scope", "it is missing or empty"),)
    assert findings(scope="x" * 1321) == (
        Finding("schema", "scope", "it has 1,321 characters, over 480"),
    )
    assert ("schema", "scope") not in codes(scope="x" * 480)
    assert codes(scope="shell " * 53) == [("length", "scope")], "318 characters"
    assert codes(scope="shell " * 81) == [("schema", "scope")], "485 characters"


def test_a_missing_move_does_not_fit_the_schema() -> None:
    lacking = {move: text for move, text in GOOD.items() if move != "novelty"}
    assert find(PAPER, lacking, NANDA) == (Finding("schema", "novelty", "it is missing or empty"),)
    found = find(PAPER, {}, NANDA)
    assert [(finding.code, finding.move) for finding in found] == [
        ("schema", move) for move in NANDA.names
    ]


def test_claim_and_method_must_be_stated() -> None:
    assert codes(claim="Not stated.", method="NOT SPECIFIED", scope="N/A") == [
        ("not-stated", "claim"), ("not-stated", "method"),
    ]  # fmt: skip


def test_another_framework_has_its_own_moves_and_lengths() -> None:
    other = framework(320, "problem", "answer")
    assert find(PAPER, {"problem": UNSTATED, "answer": GOOD["claim"]}, other) == ()
    assert find(PAPER, {"problem": UNSTATED, "answer": UNSTATED}, other) == (
        Finding("not-stated", "", "every move is 'Not stated.'"),
    )
    assert find(PAPER, {"tool": "DryRun"}, framework(40, "tool")) == ()
    (found,) = find(PAPER, {"tool": "a b c d e f"}, framework(40, "tool"))
    assert found == Finding("length", "tool", "it has 6 words, not 0 to 5")


def test_a_move_has_the_length_of_a_sentence() -> None:
    assert findings(scope="Shell tasks of language agents.") == (
        Finding("length", "scope", "it has 5 words, not 6 to 45"),
    )
    assert codes(scope="Shell tasks for language agents only.") == []
    assert codes(scope="Safe shell agents.") == [], "a passage of the abstract"
    assert codes(scope="From 41.3% to 58.9%.") == [], "the same with numbers"
    assert codes(scope="Since they cannot.") == [("length", "scope")], "a passage without content"
    assert codes(scope=" ".join(["a to of in on at by is"] * 6)) == [("length", "scope")]


def test_two_moves_with_the_same_content() -> None:
    reordered = (
        "In a snapshot, rehearsing every command makes language agents that operate a shell "
    )
    assert findings(novelty=f"{reordered}safer.") == (
        Finding("repeated", "novelty", "it has the same content as claim"),
    )


def test_two_moves_may_share_a_quote_and_three_may_not() -> None:
    quote = dict.fromkeys(("claim", "novelty"), PAPER.abstract.partition(". ")[0] + ".")
    assert ("repeated", "novelty") not in codes(**quote)
    found = codes(**quote, method=quote["claim"])
    assert [move for code, move in found if code == "repeated"] == ["method", "novelty", "novelty"]


def test_numbers_and_names_missing_from_the_abstract() -> None:
    found = findings(scope="Language agents with an open 70B model in 95 shells of GPT-4 and 12.")
    assert [finding.detail for finding in found] == [
        "the number 70 is not in the abstract",
        "the number 95 is not in the abstract",
        "the number 12 is not in the abstract",
        "the name GPT-4 is not in the abstract",
    ]
    assert {finding.move for finding in found} == {"scope"}


def test_the_text_of_another_paper() -> None:
    bread = "Sourdough loaves of a village bakery rise overnight and taste better at dawn."
    other = dict.fromkeys(NANDA.names, UNSTATED) | {"claim": bread, "method": f"{bread} Twice so."}
    found = find(PAPER, other, NANDA)
    assert ("other-text", "") in {(finding.code, finding.move) for finding in found}
    assert "filler" not in {finding.code for finding in found}, "it is not padded beside"
    assert ("other-text", "implication") in codes(implication=bread)


def test_mostly_foreign_text_is_another_text() -> None:
    bread = "Sourdough loaves of a village bakery rise overnight and taste better at dawn."
    swapped = {move: f"{bread} {move}" for move in ("claim", "evidence", "method", "scope")}
    assert ("other-text", "") in codes(**swapped)
    del swapped["scope"], swapped["method"]
    assert [move for code, move in codes(**swapped) if code == "other-text"] == [
        "claim",
        "evidence",
    ]


def test_a_move_is_not_judged_by_a_handful_of_words() -> None:
    assert codes(scope="It is for those who have bread and what is to be with it.") == []


def test_a_copied_abstract_is_rejected() -> None:
    sentences = PAPER.abstract.replace(", and halves", ". It halves").split(". ")
    copied = dict(zip(NANDA.names, [*sentences, *[UNSTATED] * 8], strict=False))
    (found,) = find(PAPER, copied, NANDA)
    assert (found.code, found.move) == ("copied", "")
    assert found.detail.endswith("of its words are in the abstract, in its order")


def test_an_annotation_that_quotes_in_another_order_passes() -> None:
    """Moves that quote are copied as well (/annotate, extractive wording)."""
    sentences = PAPER.abstract.replace(", and halves", ". It halves").split(". ")
    quoted = dict(zip(NANDA.names, [*sentences[::-1], *[UNSTATED] * 8], strict=False))
    assert "copied" not in {finding.code for finding in find(PAPER, quoted, NANDA)}


def test_one_copied_move_or_a_short_copy_passes() -> None:
    verbatim = {
        "claim": "Language agents that operate a shell break things, since they cannot take a "
        "command back.",
        "method": "DryRun is a planner that rehearses every command in a copy-on-write snapshot "
        "before it touches the real machine.",
        "limitation": "Rehearsal doubles the time per task, and that is a price.",
    }
    assert codes(**verbatim) == []
    short = "Language agents that operate a shell break things, since they cannot take a command"
    few = {"claim": f"{short} back.", "method": "DryRun, a planner that rehearses every command"}
    assert find(PAPER, dict.fromkeys(NANDA.names, UNSTATED) | few, NANDA) == ()


PADDED = {
    "claim": "Rehearsing every command in a snapshot makes agents safe, befitting modern habits.",
    "novelty": "A planner that takes commands back by rehearsal, close to countless hearts.",
    "scope": "Language agents in a shell, surely pleasing curious onlookers.",
}


def test_filler_in_three_moves() -> None:
    assert findings(**PADDED) == (
        Finding("filler", "", "3 moves have passages of words that are not in the abstract"),
    )


@pytest.mark.parametrize("spared", PADDED)
def test_foreign_passages_in_two_moves_are_not_filler(spared: str) -> None:
    assert codes(**{move: text for move, text in PADDED.items() if move != spared}) == []


def test_one_long_passage_is_filler() -> None:
    four = "Small teams can afford safe shell agents and a brighter sunnier happier tomorrow."
    assert codes(implication=four) == []
    text = (
        "Small teams can afford safe shell agents and a brighter sunnier happier richer tomorrow."
    )
    assert findings(implication=text) == (
        Finding("filler", "implication", "5 content words in a row are not in the abstract"),
    )


def test_a_phrase_of_its_own_in_two_moves_is_filler() -> None:
    changed = {
        move: f"{GOOD[move].rstrip('.')} in really exciting ways."
        for move in ("claim", "implication")
    }
    assert findings(**changed) == (
        Finding(
            "filler",
            "",
            "moves repeat the phrase 'in really exciting ways', which is not in the abstract",
        ),
    )


def test_a_phrase_twice_in_one_move_is_not_filler() -> None:
    text = (
        "Small teams rehearse commands in really exciting ways, and open shell agents operate "
        "machines in really exciting ways."
    )
    assert codes(implication=text) == []


def test_a_stock_phrase_is_filler_unless_the_abstract_has_it() -> None:
    text = "It is worth noting that safe shell agents need no larger models."
    assert findings(implication=text) == (
        Finding(
            "filler",
            "implication",
            "'it is worth noting' is a stock phrase, and not in the abstract",
        ),
    )
    own = Paper("id", "own", "", f"{PAPER.abstract} It is worth noting this.")
    assert find(own, GOOD | {"implication": text}, NANDA) == ()


def test_every_code_has_its_meaning() -> None:
    spoiled = [
        findings(claim=""),
        findings(claim=UNSTATED),
        findings(claim="Agents rehearse."),
        findings(claim=GOOD["novelty"]),
        findings(claim="DryRun of GPT-5 helps 77 language agents in a shell."),
        findings(claim="Sourdough loaves of a village bakery rise overnight and taste better."),
        findings(claim=f"It is worth noting that {GOOD['claim']}"),
    ]
    found = {finding.code for some in spoiled for finding in some} | {"copied"}
    assert found == set(REASONS)
    assert all(text.endswith(".") for text in REASONS.values())


def test_findings_come_in_the_order_of_the_codes() -> None:
    found = codes(claim="", method=UNSTATED, scope="Shells.", novelty="DryRun of 7 ZebraNets, 9.")
    order = [list(REASONS).index(code) for code, _ in found]
    assert len(set(order)) == 5
    assert order == sorted(order)


@pytest.mark.skipif(not DATA.exists(), reason="the gold data of ../shared is missing")
@pytest.mark.parametrize(
    ("name", "column"), [("gold_dev", "arxiv_id"), ("gold_train_cs", "paper_id")]
)
def test_the_gold_passes(name: str, column: str) -> None:
    with (DATA / f"{name}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:120]
    passed = [not find(Paper("id", row[column], "", row["abstract"]), row, NANDA) for row in rows]
    assert sum(passed) / len(rows) >= 0.9


def test_stock_phrases_are_written_as_they_are_compared() -> None:
    assert all(" ".join(words(phrase)) == phrase for phrase in phrases()["stock"])


def test_a_long_quote_and_equal_quotes_of_several_passages_pass() -> None:
    first = "On TaskBench " + "and on tasks of other kinds " * 10 + "it halts."
    abstract = f"We present RuleBank. {first} It needs no oracle."
    quoted = f"{first[:-1]} ... It needs no oracle."
    moves = dict.fromkeys(nanda().names, "Not stated.") | {"claim": quoted, "evidence": quoted}
    moves["method"] = "We present RuleBank."
    found = find(Paper("id", "1", "RuleBank", abstract, {}), moves, nanda())
    assert not [one for one in found if one.code in ("length", "repeated", "schema")]
    changed = quoted.replace("halts", "stops")
    written = find(Paper("id", "1", "RuleBank", abstract, {}), moves | {"claim": changed}, nanda())
    assert ("length", "claim") in [(one.code, one.move) for one in written]
