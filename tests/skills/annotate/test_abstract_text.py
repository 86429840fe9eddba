"""The abstract in a text: signs that there is none, and abstracts that are hard to split."""

from __future__ import annotations

from pathlib import Path

import pytest
from annotate_workspace import Workspace, paper, write_table
from quoted_abstract import EXAMPLE

from harness.errors import InputError
from harness.models.registry import ServeEntry
from harness.models.weights import FileStore
from harness.testing import FakeModel, run_skill
from skills.annotate.abstract_text import title_and_abstract
from skills.annotate.papers import problem_of
from skills.annotate.plugin import Annotate
from skills.nanda.framework import nanda
from skills.nanda.sentences import MOST, split_sentences
from skills.reader.backend import ReaderBackend

GERMAN = (
    "Planer vergessen in langen Aufgaben ihre Schritte. Wir lassen vierzig Agenten in sechzig "
    "Küchen ein Protokoll führen. Mit Protokoll lösten sie 71 Prozent der Aufgaben."
)
DUTCH = (
    "In dit onderzoek laten we agenten in zestig keukens een logboek bijhouden. De resultaten zijn "
    "duidelijk: met een logboek was de kans op een vergeten stap kleiner. We have a planner in use."
)
LETTER = (
    "Dear Dr. Lindt,\n\nWe have read the manuscript on planners that you sent to us, and invite "
    "you to our workshop in Oslo in May.\n\nKind regards\nAna Moreau"
)
RECIPE = (
    "Preheat the oven and butter a tin. Mix 200 g of flour with 2 teaspoons of baking powder, stir "
    "in the apples, and bake it for 40 minutes."
)
CONTENTS = "Contents\n1 Introduction ........ 1\n2 Planners ..... 5\n3 Results ....... 12"
NUMBERED = "1 Introduction 1\n2 Planners that wait 5\n2.1 Waiting for tools 7"
REFERENCES = (
    "[1] A. Moreau. Planners that wait. Kitchens, 2021.\n[2] C. Holm. Ledgers. Steps 3(2), 2019.\n"
    "Aas, D. (2020). Dirt. Oslo Press."
)
CODE = "import os\n\ndef read(path):\n    with open(path) as file:\n        return file"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (GERMAN, "is not in English"),
        (DUTCH, "is not in English"),
        ("我们提出一种新的方法。它在六十个模拟厨房中测试了四十个代理。", "is not in English"),
        (LETTER, "looks like a letter"),
        ("Hello,\n\nthank you for the planner. It halts.", "looks like a letter"),
        ("Subject: Planners\n\nHi all,\n\nthe planner halts. Thanks!", "looks like a letter"),
        ("From: Ana\nTo: Bo\n\nThe planner halts.", "looks like a letter"),
        (RECIPE, "looks like a recipe"),
        ("Mix two cups of flour with a pinch of salt, stir, and bake it.", "looks like a recipe"),
        (
            "1 Introduction\n2 Planners\n2.1 Waiting for tools\n3 Results",
            "looks like a table of contents",
        ),
        ("Contents\n\nIntroduction\nPlanners that wait\nResults", "looks like a table of contents"),
        (CONTENTS, "looks like a table of contents"),
        (NUMBERED, "looks like a table of contents"),
        (REFERENCES, "looks like a list of references"),
        (CODE, "looks like source code"),
        (EXAMPLE, ""),
        ("Dear colleagues waste time: our planner saves it, with 200 g of memory to stir.", ""),
        ("We test it.\n1. It halts in 2021.\n2. It waits.\nfor (i = 0) it stops;\nIt wins.", ""),
        ("Hello World: we greet planners, which wait for it.", ""),
        ("Hi-C maps:\nWe map young planners for you.", ""),
        ("Subject: planners.\nMethods: we halt them.", ""),
        ("Contents of papers\nvary. We\ncount\nthem", ""),
        ("Halt halt halt.", ""),
    ],
)
def test_what_a_text_is(text: str, problem: str) -> None:
    assert problem_of(text) == problem


def test_one_text(tmp_path: Path) -> None:
    used = Workspace(tmp_path)
    letter = tmp_path / "letter.txt"
    letter.write_text(f"{LETTER}\nPS: a method 1 of mine.")
    used.annotate("", letter)
    assert "letter.txt looks like a letter" in used.stderr
    with pytest.raises(InputError, match="looks like a letter") as refused:
        used.annotate("--strict", letter)
    assert (refused.value.exit_code, used.annotator.counts) == (2, {1: 1})


def test_a_table(tmp_path: Path) -> None:
    used = Workspace(tmp_path)
    rows = [paper(number) for number in range(1, 5)]
    for row in rows[1:]:
        row["abstract"] = f"{GERMAN} (method {row['arxiv_id'][-1]} )"
    write_table(used.table, *rows)
    used.annotate()
    assert (
        "text that is not in English: line 3, line 4, line 5 (--strict refuses it)" in used.stderr
    )
    assert used.stderr.count("not in English") == 1
    assert used.annotate("--strict save to strict.jsonl").result.exit_code == 1
    assert "line 5: is not in English" in used.stderr
    assert used.ids("strict.jsonl") == ["2401.00001"]


RULES = "RuleBank checks each plan of an agent against 12 rules"
LATEX = r"""\title{RuleBank}
\begin{abstract}
Agents fail, cf.~Smith et al.~\cite{smith}. We present \emph{RuleBank}, i.e. a checker in $O(n \log n)$.
\begin{itemize}
\item It has $k=12$ rules.
\item It minimises \[ L = \sum_i x_i . \] Success rises by $17\%$ vs.\ Bash (Fig. 2).
\end{itemize}
\end{abstract}
\section{Introduction} Agents are of interest."""  # noqa: E501
MARKDOWN = """# RuleBank

We present **RuleBank**, a checker of plans. It has:

- a base of `12` rules
- a parser, e.g. for Bash

## Results
1. Success rises from 41% to 58%.
2. Cost falls by 3%
"""
FORMULAS = (
    "We bound the regret by O(sqrt(T log K)), i.e. f(x) = a.b + 0.5 x^2 for x >= 1.5. For K = 12 "
    "the bound is 3.7e3 (eq. 4). No. 5 of the rules, cf. Smith et al. (2020), is tight!"
)


@pytest.mark.model
@pytest.mark.parametrize(
    ("text", "count"),
    [
        pytest.param(f"{RULES}, which raises success from 41% to 58%.", 1, id="one sentence"),
        pytest.param(
            " ".join(f"Step {number} sorts." for number in range(40)),
            40,
            id="40 sentences",
        ),
        pytest.param(" and ".join([RULES] * 25), 3, id="no full stop"),
        pytest.param("\n".join([RULES] * 20), 20, id="lines without full stops"),
        pytest.param("; ".join([RULES] * 20), 20, id="semicolons"),
        pytest.param(f"{RULES}:\n• success • cost\n• speed of every plan", 4, id="bullets"),
        pytest.param(MARKDOWN, 7, id="Markdown"),
        pytest.param(LATEX, 6, id="LaTeX"),
        pytest.param(FORMULAS, 3, id="formulas and abbreviations"),
    ],
)
def test_an_abstract_is_annotated(
    model_files: FileStore, text: str, count: int, tmp_path: Path
) -> None:
    path = tmp_path / "abstract.md"
    path.write_text(text, encoding="utf-8")
    abstract = title_and_abstract(text)[1]
    sentences = split_sentences(abstract)
    assert len(sentences) == count
    assert max(map(len, sentences)) <= MOST
    model = ReaderBackend(model_files).load(ServeEntry(backend="reader", file="nanda-reader"))
    stored = run_skill(Annotate(), str(path), model=model, form="quotes").data
    assert all(stored[name] for name in nanda().names)
    for anchor in stored["anchors"].values():
        assert set(anchor["sentences"]) <= set(range(1, count + 1))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x" * 50_000, "too few"),
        (f"{RULES} {'x' * 50_000} {RULES}", "characters are too many"),
        (f"{RULES} " * 500, "words are too many"),
        (f"{RULES}. " * 20_000, "1.1 MB, too much"),
        (f"{RULES}. " * 500, "words are too many"),
    ],
)
def test_an_abstract_that_is_too_long_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "abstract.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=problem):
        run_skill(Annotate(), str(path), model=FakeModel())
