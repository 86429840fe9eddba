"""/annotate with the embedded model, on abstracts that are hard to split into sentences."""

from __future__ import annotations

import re
from pathlib import Path

import plugin_of_everything
import pytest

from harness.errors import InputError, InvalidReply
from harness.models.backends.base import Model
from harness.testing import FakeModel, run_skill
from skills.annotate.plugin import Annotate
from skills.annotate.text_files import title_and_abstract
from skills.nanda.sentences import MOST, split_sentences

OPTIONS = {"framework": Path(plugin_of_everything.__file__).with_name("two_moves.yaml")}
"""Two moves, because each takes the model a second."""
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
            " ".join(f"Step {number} sorts." for number in range(80)),
            80,
            id="80 sentences",
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
def test_an_abstract_is_annotated(embedded: Model, text: str, count: int, tmp_path: Path) -> None:
    path = tmp_path / "abstract.md"
    path.write_text(text, encoding="utf-8")
    sentences = split_sentences(title_and_abstract(text)[1])
    assert len(sentences) == count
    assert max(map(len, sentences)) <= MOST
    try:
        stored = run_skill(Annotate(), str(path), model=embedded, options=OPTIONS).data
    except InvalidReply as error:  # the untuned model may repeat itself, or invent the moves
        assert re.search("repeats itself|no content word", str(error))  # noqa: PT017
        return
    assert stored["aim"]
    assert stored["result"]
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
