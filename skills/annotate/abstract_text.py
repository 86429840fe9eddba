"""Read text files with an abstract, find its title, and recognize text that is no abstract."""

from __future__ import annotations

import re
from pathlib import Path

from harness.agent_skills import skill_md
from harness.errors import InputError, UsageError
from harness.support import text_input
from harness.support.text_input import SUFFIXES
from skills.corpus import table
from skills.nanda.text import set_of

TITLE_WORDS = 30
"""The maximum length of a title in the first line; the longest in gold_train.csv has 21 words."""

# Possessive where two parts may take the same characters: a line is searched once.
_HEADING = re.compile(r"#{1,6}[ \t]+(?P<text>[^\n]+)(?:\n|\Z)")
_CLOSING = re.compile(r"(?<![ \t#])[ \t]*+#*+[ \t]*+\Z")
_LABEL_LINE = re.compile(
    r"^[ \t]*+(?:#{1,6}[ \t]++)?[*_]{0,2}abstract[*_]{0,2}[ \t]*+[:.]?[*_]{0,2}[ \t]*+#*+[ \t]*+$",
    re.IGNORECASE | re.MULTILINE,
)
_LABEL = re.compile(
    r"\s*[*_]{0,2}abstract"
    r"(?:(?:[*_]{0,2}\s*(?:[:.]|\s[-–]|[–—])[*_]{0,2}|[*_]{1,2})\s+|[*_]{0,2}\s*—[*_]{0,2})",  # noqa: RUF001
    re.IGNORECASE,
)
_FRONT_MATTER = re.compile(
    r"---[ \t]*\n(?P<yaml>.*?)^(?:---|\.\.\.)[ \t]*$", re.DOTALL | re.MULTILINE
)
_COMMENT = re.compile(r"(?<!\\)%[^\n]*+(?:\n[ \t]*+(?!\n))?")
"""A comment of LaTeX, with the end of its line and the indentation of the next one."""
_NEXT_HEADING = re.compile(r"^#{1,6}[ \t]+\S", re.MULTILINE)
FUNCTION_WORDS = set_of(
    """
    and are been between both but by can during each from how into it its more most not other our
    such than that the their there these they this those through to under using were which while who
    with within without
    """
)
"""Words of English without those that Danish, Dutch, French, German or Portuguese have, too."""
LEAST_ENGLISH = 0.05
"""Share of `FUNCTION_WORDS` below which a text is not English: abstracts have .078 or more."""
FEWEST = 20
"""Words or letters from which these shares are reliable."""
HEAD = 10_000
"""Characters that are examined."""
ENOUGH = 3
"""Lines or entries that show what a text is."""
_CONTENTS = re.compile(
    r"(?:(?<!\.)\.{4,}|(?:\. ){4,}|\u2026{2,})\s*(?:\d+|[ivxl]+)\b"  # "Results ..... 12"
    r"|^\s*\d{1,2}(?:\.\d{1,2})*\.?\s+[A-Z].{0,80}\s\d{1,3}\s*$",  # "2.1 Results 12"
    re.MULTILINE,
)
_CONTENTS_TITLE = re.compile(r"\W*(?:table of )?contents\W*\n", re.IGNORECASE)
_ENTRY = re.compile(
    r"^(?:[Cc]hapter )?\d{1,2}(?:\.\d{1,2})*[.:]?[ \t]+[A-Z][^.!?\n]{0,80}$", re.MULTILINE
)
"""An entry of a table of contents without page numbers: "2.1 Results"."""
_STOP = re.compile(r"[.!?]$", re.MULTILINE)
_CODE = re.compile(
    r"^\s*(?:#include\b.*|(?:from|import) [\w.]+.*|(?:class|def|fn|func|function) \w+.*[{:(].*"
    r"|(?:const|let|return|var)\b.*|(?:for|if|while|with)\b.*[{:]|[})\]]+;?|.*[;{]"
    r"|[\w.\[\]]+ ?[-+*]?= .*|[\w.]+\(.*\);?)\s*$",
    re.MULTILINE,
)
_REFERENCE = re.compile(
    r"^\s*(?:\[\d+\]|\d{1,3}\.|[^\W\d_]+,(?: [A-Z]\.)+).*\b(?:19|20)\d\d\b.*$", re.MULTILINE
)
_SALUTATION = re.compile(
    r"\s*(?:(?:dear|hello|hi)(?:\s[^\n]{1,60}?)?|to whom it may concern)[,:!\n]"
    r"|\s*(?:from|subject|to|cc|date|sent): [^\n]+\n",
    re.IGNORECASE,
)
_TO_READER = re.compile(r"\b(?:your?|thanks?|regards)\b|^(?:from|subject|to):", re.I | re.M)
_INGREDIENT = re.compile(
    r"\b(?:\d[\d/.,]*\s?|(?:an?|half|one|two|three|four|five|six|eight|ten)\s)"
    r"(?:cups?|dl|g|grams?|kg|ml|ounces?|oz|pinch|tablespoons?|tbsp|teaspoons?|tsp)\b(?=\s[a-z]{2})",
    re.IGNORECASE,
)
_COOKING = re.compile(
    r"\b(?:bake|boil|chop|drain|fry|garnish|knead|pour|preheat|serve|simmer|sprinkle|stir|whisk)\b",
    re.IGNORECASE,
)


def read(path: Path) -> str:
    """Return the text of a file.

    Raises:
        InputError: its suffix is not supported, or see `text_input.read_text`.
    """
    where = str(path)
    if path.suffix and path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"/annotate does not read {path.suffix} files",
            where=where,
            hint=f"It reads an abstract from {' and '.join(SUFFIXES)}, and a table of papers from "
            f"{', '.join(table.SUFFIXES)}; save it as one of these.",
        )
    return text_input.read_text(
        path, what="an abstract", shorten="Give only the abstract, not the whole paper."
    )


def title_and_abstract(text: str) -> tuple[str, str]:
    """Return the title, or "", and the abstract.

    The title is a heading "# ..." at the beginning, or a short first line without a full stop that
    is followed by an empty line and more text. The abstract is the text after a line "Abstract" up
    to the next heading, or LaTeX's environment of this name, else the whole rest without a label
    "Abstract:". Title and abstract in YAML front matter take precedence.
    """
    body = text.replace("\r\n", "\n").replace("\r", "\n").strip("\ufeff \t\n\f\v")
    given, body = _without_front_matter(body)
    title = ""
    _, environment, after = body.partition(r"\begin{abstract}")
    if environment:
        return given, _COMMENT.sub("", after.partition(r"\end{abstract}")[0]).strip()
    if not _LABEL_LINE.match(body):
        title, body = _split_title(body)
    if label := _LABEL_LINE.search(body):
        after = body[label.end() :]
        following = _NEXT_HEADING.search(after)
        body = after[: following.start()] if following else after
    elif label := _LABEL.match(body):
        body = body[label.end() :]
    return given or title, body.strip()


def _without_front_matter(text: str) -> tuple[str, str]:
    """Return the title in the front matter, or "", and its abstract or the text after it."""
    found = _FRONT_MATTER.match(text)
    if found is None:
        return "", text
    try:
        parsed = skill_md.parse_front_matter(found["yaml"], Path(), lenient=True)
    except UsageError:  # text between two horizontal rules
        return "", text
    keys = {key.casefold(): key for key in parsed.fields}
    if not keys or any(re.search(r"\s", key) for key in keys):
        return "", text
    title, abstract = (parsed.text(keys.get(name, name)) for name in ("title", "abstract"))
    return _clean(title), abstract or text[found.end() :].lstrip()


def _split_title(text: str) -> tuple[str, str]:
    if heading := _HEADING.match(text):
        return _clean(_CLOSING.sub("", heading["text"], count=1)), text[heading.end() :]
    first, gap, rest = text.partition("\n\n")
    title = first.strip()
    short = len(title.split()) <= TITLE_WORDS and "\n" not in title and not title.endswith(".")
    if gap and rest.strip() and short and not _LABEL.match(first):
        return _clean(title), rest
    return "", text


def _clean(title: str) -> str:
    title = re.sub(r"^title:\s*", "", title.strip(), flags=re.IGNORECASE)
    bold = re.fullmatch(r"(\*\*|__)(.+)\1", title)
    return " ".join((bold[2] if bold else title).split())


def problem_of(text: str) -> str:
    """Return why a text is hardly an English abstract ("looks like a letter"), or ""."""
    kept = [*filter(None, map(str.strip, text[:HEAD].splitlines()))]
    text, lines = "\n".join(kept), len(kept)
    numbered = len(_ENTRY.findall(text)) >= max(ENOUGH, 0.7 * lines)
    titled = _CONTENTS_TITLE.match(text) and lines > ENOUGH and not _STOP.search(text)
    if numbered or titled or len(_CONTENTS.findall(text)) >= ENOUGH:
        return "looks like a table of contents"
    if len(_CODE.findall(text)) >= max(ENOUGH, 0.5 * lines):
        return "looks like source code"
    if len(_REFERENCE.findall(text)) >= max(ENOUGH, 0.5 * lines):
        return "looks like a list of references"
    if (greeting := _SALUTATION.match(text)) and _TO_READER.search(text, greeting.end()):
        return "looks like a letter"
    if len(_INGREDIENT.findall(text)) > 1 and len({*map(str.lower, _COOKING.findall(text))}) > 1:
        return "looks like a recipe"
    letters = [char for char in text if char.isalpha()]
    words = re.findall(r"[^\W\d_]+", text.casefold())
    is_foreign = len(letters) >= FEWEST and sum(map(str.isascii, letters)) < 0.5 * len(letters)
    few = sum(word in FUNCTION_WORDS for word in words) < LEAST_ENGLISH * len(words)
    return "is not in English" if is_foreign or (few and len(words) >= FEWEST) else ""
