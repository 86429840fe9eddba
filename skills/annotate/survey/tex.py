"""Turn TeX in a title or an abstract into plain text."""

from __future__ import annotations

import functools
import re
from typing import Any

_STYLES = re.compile(
    r"\\(?:(?:text|math)[a-z]+|emph|underline|boldsymbol|operatorname|mbox|bm|url|[bist][fclt])"
    r"\s?\{([^{}]{0,300})\}"
)
"""Commands that change only the look of their argument."""
_DEPTH = 4
"""The deepest nesting of such commands that is resolved."""
_TEX = re.compile(
    # The rule of pandoc: "$5 to $10" is not a formula.
    r"\$(?=\S)[^$\n]{1,200}(?<=\S)\$(?!\d)"
    r"|\\[A-Za-z]+\*?(?:\{[^{}]{0,300}\})*"
    r"|\\[\"'`^~=.]\{?[A-Za-z]\}?"
    r"|\\[%&$#_{} ]"
)


def plain(text: str) -> str:
    """Return `text` with formulas, accents and other TeX commands as plain text.

    "$10^{-21}$" becomes "10^-21", and "G\\"odel" "Gödel". Unknown commands are replaced with their
    argument.
    """
    if "\\" not in text and "$" not in text:
        return text
    for _ in range(_DEPTH):
        text = _STYLES.sub(r"\1", text)
    return _TEX.sub(lambda found: _converted(found.group()), text)


def _converted(tex: str) -> str:
    return str(_converter().latex_to_text(tex, tolerant_parsing=True)).strip("\n")


@functools.cache
def _converter() -> Any:
    from pylatexenc.latex2text import LatexNodes2Text

    return LatexNodes2Text(math_mode="text", keep_comments=True)
