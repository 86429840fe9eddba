"""TeX in titles and moves as plain text."""

from __future__ import annotations

import pytest

from skills.annotate.survey.tex import plain


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        (r"a $10^{-21}$ strain", "a 10^-21 strain"),
        (r"$\beta$-stable noise", "β-stable noise"),
        (r"it takes $O(n \log n)$ steps", "it takes O(n log n) steps"),
        (r"up by $\uparrow5.68\%$", "up by ↑5.68%"),
        (r"G\"odel and Erd\H{o}s", "Gödel and Erdős"),
        (r"\textbf{We \emph{show}} \texttt{code}", "We show code"),
        (r"$_\text{RC}$ and $\mathbb{R}^d$", "_RC and R^d"),
        (r"17.8\% of $N = 501$ patients", "17.8% of N = 501 patients"),
        (r"\unknown{it} works", "it works"),
        # Not TeX
        ("it costs $5 to $10 an hour", "it costs $5 to $10 an hour"),
        ("$5/$10 and 17.8% of all", "$5/$10 and 17.8% of all"),
        ("a_b {c} ~d ^e # f", "a_b {c} ~d ^e # f"),
        ("C:\\", "C:\\"),
    ],
)
def test_tex_becomes_plain_text(tex: str, text: str) -> None:
    assert plain(tex) == text


@pytest.mark.parametrize("unit", ["{", "$", "$x", "\\", "\\textbf{", "\\alpha", "$x$", "}{"])
def test_hostile_text_is_no_problem(unit: str) -> None:
    plain(unit * 5_000)
