"""Test the splitting of text into sentences."""

from __future__ import annotations

import pytest

from skills.nanda.sentences import (
    MOST,
    heading_end,
    sentence_spans,
    split_sentences,
    without_headings,
)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One. Two! Three? Four", 4),
        ("We use tools, e.g. Bash. It works.", 2),
        ("Smith et al. (2020) show it. So do we.", 2),
        ("As in Jones et al. We agree.", 2),
        ("It is 0.93. Then 1.5.", 2),
        ("See Fig. 2 and Sec. 3. Done.", 2),
        ("No. 5 is first. The answer is no. We stop.", 3),
        ("By J. Smith of the U.S. Army. End.", 2),
        ("It melts at 23.4(2) K. Single crystals break at 14 T. Nobody knows why.", 3),
        ("Used in the U.S. The end.", 2),
        ('He said "Yes." (Really.) Good.', 3),
        ("mT5 wins. iPhone loses.", 2),
        ("What? Why... No. 3 vs. GPT.", 3),
        ("We grew Hordeum sp. PB01 and cv. Golden Promise for ca. 12 days, max. 40.", 1),
        ("They are Hordeum sp. The others are not.", 2),
        ("A heading without stop\n\nThe text. More.", 3),
        ("Hard\nwrapped text. With\ntwo sentences.", 2),
        ("Node.js at https://x.org/a.b is used. It is.", 2),
        ("  \n ", 0),
        ("One.\n\n\u200b\n\nTwo.", 2),
        ("", 0),
        ("It halts (p < .05).MAIN RESULTS: It waits.Conclusions: It wins.", 3),
    ],
)
def test_sentences(text: str, count: int) -> None:
    assert len(split_sentences(text)) == count


@pytest.mark.parametrize(
    "text",
    [
        # Lists: each item is a sentence; the label of an item is not.
        "Findings:|\n- It works|\n- It fails",
        "We find|\n  1. gains;|\n  2) losses",
        "It has: 1. The rule.| 2. The base.",
        "A. Rules win.| B. Bases lose.",
        "Uses| • rules| • bases",
        r"\begin{itemize}| \item Rules| \item A base \end{itemize}",
        "For (i) rules; (ii) bases, we win.| End.",
        "For classes A, B, C.| We win.",
        # Markdown
        "# Title|\n**Claim.**| We *win.*| End.",
        "We win|\n## 2. Method|\nIt is #1.| Go.",
        "`e.g.` Bash and *e.g.* Git.| End.",
        # LaTeX
        r"\begin{itemize}| \item It works.  \end{itemize}| We win.",
        r"Let \[ x = 1. \]| So $y=2.$| We win.",
        "Let $$ x = 1. $$| So we win.| $$ y = 2 $$ is it.|\n$$ z = 3.\n$$| End.",
        "Let $$ x = 1. $$ where x is small.| End.",
        r"By \emph{e.g.} Bash, \textit{vs.} Git.| End.",
        r"See Smith et al.~\cite{a} and Fig.~2.| End.",
        r"It \emph{works.}| $x$ is 2.",
        # Missing and superfluous blanks
        "It helps LLMs.|The gain is 5.82.|We win.",
        "System.Text, e.g.The Node.JS of x.Y.",
        "Called a “rule. ”| We win (etc. ) here .",
    ],
)
def test_sentences_of_lists_markdown_and_latex(text: str) -> None:
    sentences = [sentence.strip() for sentence in text.split("|")]
    assert split_sentences(text.replace("|", "")) == sentences


@pytest.mark.parametrize(
    ("separator", "length"),
    [("\n", len("word " * 9)), ("; ", len("word " * 9) + 1), (" ", len("word " * 100))],
)
def test_a_sentence_that_is_too_long_is_cut(separator: str, length: int) -> None:
    text = separator.join(["word " * 8 + "word"] * 100)
    parts = split_sentences(text)
    assert max(map(len, parts)) <= length
    assert " ".join(parts).split() == text.split()


def test_a_long_sentence_is_whole_up_to_the_limit() -> None:
    text = ("rule;\n" * MOST)[: MOST - 1] + "."
    assert split_sentences(text) == [text]


def test_spans_are_those_of_the_sentences_and_leave_only_white_space() -> None:
    text = "  # Title\nOne. Two of\nit!\n\n - three\n" + "four; " * MOST
    spans = sentence_spans(text)
    assert [text[start:end] for start, end in spans] == split_sentences(text)
    outside = [0, *(place for span in spans for place in span), len(text)]
    gaps = [text[outside[i] : outside[i + 1]] for i in range(0, len(outside), 2)]
    assert not "".join(gaps).strip()


@pytest.mark.parametrize(
    ("heading", "rest"),
    [
        ("CONCLUSIONS: ", "We halt."),
        ("Materials and Methods: ", "we halt."),
        ("Design/methodology/approach – ", "The planner halts."),  # noqa: RUF001
        ("Methods - ", "We halt."),
        ("Results.", ""),
        ("**Results.** ", "We halt."),
        ("[Goal] ", "We halt."),
        ("MAIN OUTCOME MEASURES ", "The halts."),
        ("AIMS:", "We halt."),
        ("CONCLUSIONS AND RELEVANCE: ", "We halt."),
        ("WAITING AND HALTING: ", "We halt."),
        ("Aim of the study: ", "We halt."),
        ("Authors' conclusions: ", "We halt."),
        ("Ethics and dissemination: ", "We halt."),
        ("Systematic review registration: ", "CRD1."),
        ("What is known: ", "Planners halt."),
        ("Keywords: ", "planners, halts."),
        ("Background\n", "Planners halt."),
        ("## Our planner", ""),
        ("", "Results show that planners halt."),
        ("", "Background - noise in kitchens - halts planners."),
        ("", "Purpose-built planners halt."),
        ("", "Our method: it halts."),
        ("", "Methods\nthat halt are rare."),
        ("", "Results. They halt."),
        ("", "SWE-Bench: we halt."),
        ("", "DNA: we halt."),
        ("", "SWE AND RNA: we halt."),
    ],
)
def test_the_heading_of_a_sentence(heading: str, rest: str) -> None:
    text = f"It waits. {heading}{rest}".replace(" Background\n", "\nBackground\n")
    assert text[heading_end(text, 10) :] == rest


def test_text_without_its_headings() -> None:
    text = "BACKGROUND: Planners halt. Results. They wait.\n\n## Goals\nWe win."
    assert without_headings(text).split() == ["Planners", "halt.", "They", "wait.", "We", "win."]
