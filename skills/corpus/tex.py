"""Convert TeX in titles, names and abstracts to plain text, and escape plain text for TeX."""

from __future__ import annotations

import functools
import re
from typing import Any

_STYLES = re.compile(
    r"\\(?:(?:text|math)[a-z]+|emph|underline|boldsymbol|operatorname|mbox|bm|url|[bist][fclt])"
    r"\s?\{([^{}]{1,300})\}"
)
"""Matches a command that only changes the style of its argument."""
_DEPTH = 4
"""Maximum number of nested style commands that are removed."""
_TEX = re.compile(
    # By pandoc's rule for dollar signs, "$5 to $10" is not a formula.
    r"\$(?=\S)[^$\n]{1,200}(?<=\S)\$(?!\d)"
    r"|\\[cvHkrubdt] [A-Za-z]"
    r"|\\(?:[OoLlij]|ss|AE|ae|OE|oe|AA|aa)(?![A-Za-z]) ?"
    r"|\\[A-Za-z]+\*?(?:\{[^{}]{0,300}\})*"
    r"|\\[\"'`^~=.]\{?\\?[A-Za-z]\}?"
    r"|\\[%&$#_{},;! -]"
)
_MARKS = re.compile(r"---?|~|``|''|[{}]")
_PLAIN = {
    "---": "\N{EM DASH}",
    "--": "\N{EN DASH}",
    "~": " ",
    "``": "\N{LEFT DOUBLE QUOTATION MARK}",
    "''": "\N{RIGHT DOUBLE QUOTATION MARK}",
    "{": "",
    "}": "",
}
_QUOTED = re.compile(r"`(?=\w)([^`\n]{1,300}?)'(?!\w)")
_DASHES = re.compile(r"(?<=\s)---?(?=\s)|(?<=\w)---?(?=\w)|``|''")
"""Matches TeX's quotation marks, and dashes in "a -- b" and "3--5" but not in "--help"."""
_KEPT = str.maketrans("{}~", "\ue000\ue001\ue002")
"""Replaces the braces and tildes of converted commands by private-use characters.

`plain_field` converts all other braces and tildes, and then reverses this replacement.
"""
_RESTORED = str.maketrans("\ue000\ue001\ue002", "{}~")
_UNKNOWN = {
    "textless": "<",
    "textgreater": ">",
    "textbraceleft": "{",
    "textbraceright": "}",
    "textasciicircum": "^",
    "textbar": "|",
    "textunderscore": "_",
}
"""The texts of commands that pylatexenc lacks or converts to another text."""
_BRACED_ACCENT = re.compile(r"(\\[\"'`^~=.]|\\[cvHkrubdt](?![A-Za-z]))\{\{?(\\?[A-Za-z])\}?\}")
_NEEDS_TEX = re.compile(r"[\\{}~`]|--|``|''|\$")
_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\textbraceleft{}",  # BibTeX counts "\{" as a brace
        "}": r"\textbraceright{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{char: f"\\{char}" for char in "$%&#_"},
    }
)


def plain(text: str) -> str:
    """Return a text with TeX formulas, accents and commands converted to plain text.

    "$10^{-21}$" becomes "10^-21", and "G\\"odel" becomes "Gödel". An unknown command is replaced by
    its arguments.
    """
    if "\\" not in text and "$" not in text:
        return text
    for _ in range(_DEPTH):
        text = _STYLES.sub(r"\1", text)
    return _TEX.sub(lambda found: _converted(found.group()), text)


def plain_field(text: str) -> str:
    """Return the plain text of a BibTeX field, without the braces that protect case."""
    if not _NEEDS_TEX.search(text):
        return text
    for _ in range(_DEPTH):
        text = _STYLES.sub(r"\1", text)
    text = _BRACED_ACCENT.sub(r"\1{\2}", text)
    # Commands are converted first, since the next step also removes the braces of arguments.
    text = _TEX.sub(lambda found: _converted(found.group()).translate(_KEPT), text)
    text = _quoted(_MARKS.sub(lambda found: _PLAIN[found.group()], text))
    return text.translate(_RESTORED)


def typographic(title: str) -> str:
    """Return a title with typographic quotation marks and dashes in place of TeX's marks."""
    if "--" not in title and "`" not in title:
        return title
    return _quoted(_DASHES.sub(lambda found: _PLAIN[found.group()], title))


def _quoted(text: str) -> str:
    """Return a text with "`" and "'" around words replaced by typographic quotation marks."""
    return _QUOTED.sub("\N{LEFT SINGLE QUOTATION MARK}\\1\N{RIGHT SINGLE QUOTATION MARK}", text)


def escaped(text: str) -> str:
    """Return plain text as TeX for a BibTeX field, with the special characters escaped."""
    return text.translate(_ESCAPES)


@functools.lru_cache(maxsize=4096)
def _converted(tex: str) -> str:
    return str(_converter().latex_to_text(tex, tolerant_parsing=True)).strip("\n")


@functools.cache
def _converter() -> Any:
    from pylatexenc import latex2text

    commands = latex2text.get_default_latex_context_db()
    added = [latex2text.MacroTextSpec(name, simplify_repl=char) for name, char in _UNKNOWN.items()]
    commands.add_context_category("added", macros=added, prepend=True)
    return latex2text.LatexNodes2Text(commands, math_mode="text", keep_comments=True)
