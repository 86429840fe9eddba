"""TeX in titles and moves as plain text."""

from __future__ import annotations

import pytest

from skills.corpus.tex import escaped, plain, plain_field, typographic


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
    plain_field(unit * 5_000)


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        (r"{{The {LLM}}} of {M{\"u}ller}", "The LLM of Müller"),
        (r"M\"{u}ller, Erd{\H o}s, \v{S}m{\'\i}d, {\v S}", "Müller, Erdős, Šmíd, Š"),
        (r"Fran{\c c}ois S{\o}rensen \O{} {\ss} \L ukasz", "François Sørensen Ø ß Łukasz"),
        (r"5\%, 10~GB, 2\,300 \& 1--2 ``x''", "5%, 10 GB, 2 300 & 1–2 “x”"),  # noqa: RUF001
        (r"in $O(n \log n)$, {$\approx$}52\%", "in O(n log n), ≈52%"),
        (r"{\textless}p{\textgreater} \{a\}", "<p> {a}"),
        ("``a `b' c'' --- don't `x", "“a ‘b’ c” — don't `x"),  # noqa: RUF001
        ("cost $5 to $10, it's 'so'", "cost $5 to $10, it's 'so'"),
    ],
)
def test_a_field_of_bibtex_becomes_plain_text(tex: str, text: str) -> None:
    assert plain_field(tex) == text


@pytest.mark.parametrize(
    ("tex", "title"),
    [
        ("``Ask'' -- `Twice' --- or 3--5", "“Ask” – ‘Twice’ — or 3–5"),  # noqa: RUF001
        ("The --help of {a}, don't `stop", "The --help of {a}, don't `stop"),
    ],
)
def test_marks_of_tex_in_a_title_are_typographic(tex: str, title: str) -> None:
    assert typographic(tex) == title


@pytest.mark.parametrize("text", ["a_b {c} ~d ^e # f 100% $5 & C:\\ é <|>", "}{", "$x$", "\\em"])
def test_what_is_escaped_is_read_again(text: str) -> None:
    written = escaped(text)
    assert plain_field(written) == text
    assert "{" not in written.replace("{}", "")  # BibTeX also counts braces after a backslash
