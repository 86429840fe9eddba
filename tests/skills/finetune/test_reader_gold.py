"""The table that a reader is trained on: places of moves, unusable rows, refusals before work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from finetune_tables import table

from harness.errors import InputError
from harness.testing import assert_refuses, fake_app
from skills.finetune.reader_gold import FEWEST, exact_spans, read_gold
from skills.nanda.framework import nanda

ABSTRACT = (
    "Many ledgers are sorted by hand. We present Tally, which sorts ledgers by rules. "
    "METHODS: It needs no labels. The rules sort ledgers in a second."
)


def quoted(abstract: str, text: str) -> list[str]:
    return [abstract[start:end] for start, end in exact_spans(abstract, text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It needs no labels.", ["It needs no labels"]),
        ("which sorts ledgers by rules", ["which sorts ledgers by rules"]),
        (
            "The rules sort ledgers in a second ... many ledgers are sorted by hand.",
            ["Many ledgers are sorted by hand", "The rules sort ledgers in a second"],
        ),
        ("[Tally] needs no labels.", ["It needs no labels"]),
        ("It needs no label.", []),
        ("Ledgers.", []),  # occurs three times
        ("It needs no labels ... and much else.", []),
        ("...", []),
    ],
)
def test_passages_word_for_word(text: str, found: list[str]) -> None:
    assert quoted(ABSTRACT, text) == found


def test_a_known_place_decides_between_equal_words() -> None:
    last = ABSTRACT.index("The rules")
    [(start, end)] = exact_spans(ABSTRACT, "ledgers", [[last, len(ABSTRACT)]])
    assert start > last
    assert ABSTRACT[start:end] == "ledgers"


def row(number: int, **changed: str) -> dict[str, str]:
    abstract = f"We sort ledger {number} by rules. It takes {number} seconds on any machine."
    moves = dict.fromkeys(nanda().names, "Not stated.")
    quotes = {"method": f"We sort ledger {number} by rules.", "evidence": "Any machine sorts fast."}
    return {"id": f"p{number}", "title": "", "abstract": abstract, **moves, **quotes, **changed}


def test_labels_of_a_table(tmp_path: Path) -> None:
    path = table(tmp_path / "gold.csv", (row(number) for number in range(FEWEST)))
    gold = read_gold(path, nanda())
    assert len(gold.papers) == FEWEST
    assert not gold.left_out
    digests = [one.paper.sha256 for one in gold.papers]
    assert digests == sorted(digests)
    one = gold.papers[0]
    method, evidence = one.anchors["method"], one.anchors["evidence"]
    assert method is not None
    assert evidence is not None
    assert (method["by"], evidence["by"]) == ("reviewer", "lexical")
    [(start, end)] = method["spans"]
    assert re.fullmatch(r"We sort ledger \d+ by rules", one.paper.abstract[start:end])
    assert one.anchors["limitation"] is None
    assert (one.exact, one.stated) == (1, 2)
    again = read_gold(path, nanda())
    assert again.digest == gold.digest
    table(path, (row(number, method="Not stated.") for number in range(FEWEST)))
    assert read_gold(path, nanda()).digest != gold.digest


def test_a_move_that_shares_no_words_has_no_label(tmp_path: Path) -> None:
    rows = (row(number, claim="Zebras graze.") for number in range(FEWEST))
    gold = read_gold(table(tmp_path / "gold.csv", rows), nanda())
    assert "claim" not in gold.papers[0].anchors


def test_too_few_papers_are_refused_with_the_reasons(tmp_path: Path) -> None:
    rows = [row(number) for number in range(FEWEST - 1)]
    rows += [row(100, abstract=""), row(101, claim=""), {**row(0), "id": "other"}]
    path = table(tmp_path / "gold.csv", rows)
    with pytest.raises(InputError) as caught:
        read_gold(path, nanda())
    message = str(caught.value)
    assert f"has {FEWEST - 1} usable papers, and a reader needs {FEWEST}" in message
    for reason in ("1 row: has no abstract", "1 row: claim is empty", "repeats an abstract"):
        assert reason in message
    assert "gold.csv, line 21" in message


@pytest.mark.parametrize("missing", ["abstract", "claim"])
def test_a_missing_column_is_refused(tmp_path: Path, missing: str) -> None:
    rows = [row(number) for number in range(FEWEST)]
    for one in rows:
        del one[missing]
    with pytest.raises(InputError, match=missing):
        read_gold(table(tmp_path / "gold.csv", rows), nanda())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "a reader needs a name"),
        ("--as-name My_Reader!", "is not a valid model name"),
        ("--as-name nanda-annotator", "is the name of a shipped model"),
        ("--as-name mine --preset lesson", "--preset does not apply to a reader"),
        ("--as-name mine --gold x.csv", "--gold does not apply to a reader"),
        ("--as-name mine", "has 1 usable paper, and a reader needs 20"),
    ],
)
def test_refusals_before_the_work(tmp_path: Path, options: str, message: str) -> None:
    path = table(tmp_path / "gold.csv", [row(1)])
    app = fake_app(tmp_path / "home")
    assert_refuses(app, f'/finetune "{path}" --reader {options}', message)
    assert not (Path.cwd() / "finetune_output").exists()


@pytest.mark.parametrize(
    ("text", "message"), [("", "there is no table"), ("missing.csv", "missing.csv: ")]
)
def test_a_missing_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    app = fake_app(tmp_path / "home")
    assert_refuses(app, f"/finetune {text} --reader --as-name mine", message)


def test_an_entry_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    app = fake_app(tmp_path / "home")
    app.settings.user_registry.write_text(MINE, encoding="utf-8")
    path = table(tmp_path / "gold.csv", (row(number) for number in range(FEWEST)))
    line = f'/finetune "{path}" --reader --as-name mine'
    assert_refuses(app, line, "mine exists already, and was not written by /finetune register")


MINE = """\
version: 1
models:
  mine:
    tasks: [annotate]
    serve: [{backend: fake, model: annotator}]
"""
