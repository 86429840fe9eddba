"""Fill the marked code blocks of the documents from files that the tests run.

A mark above a block names its source:

    <!-- snippet: tests/data/writing/walkthrough.sh#make -->  the lines between `# -- start make --`
                                                              and `# -- end make --` of that file
    <!-- snippet: tests/data/writing/session.txt -->           the whole file
    <!-- snippet: new-skill:package/pyproject.toml -->         a file that `/new-skill --package
                                                               summarize` creates
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import get_args

from harness.agent_skills import scaffold

ROOT = Path(__file__).resolve().parent.parent
MADE = "new-skill:"
_MARKED = re.compile(
    r"^(?P<mark><!-- snippet: (?P<source>[^#\s]+)(?:#(?P<name>[\w-]+))? -->)\n"
    r"```(?P<language>\w+)\n.*?^```$",
    re.MULTILINE | re.DOTALL,
)


def fill(page: str) -> str:
    """Return the page with every marked block replaced by its source.

    Raises:
        ValueError: a source does not exist.
    """

    def block(match: re.Match[str]) -> str:
        text = _cut(match["source"], match["name"])
        return f"{match['mark']}\n```{match['language']}\n{text}```"

    return _MARKED.sub(block, page)


def _cut(source: str, name: str | None) -> str:
    text = _made(source) if source.startswith(MADE) else _read(source)
    if name is None:
        return text
    region = re.search(
        rf"^[ \t]*# -- start {name} --\n(.*?)^[ \t]*# -- end {name} --$",
        text,
        re.MULTILINE | re.DOTALL,
    )
    if region is None:
        raise ValueError(f"{source} has no snippet {name}")
    return textwrap.dedent(region[1]).strip("\n") + "\n"


def _made(source: str) -> str:
    kind, _, path = source.removeprefix(MADE).partition("/")
    for known in get_args(scaffold.Kind):
        if known == kind and path in (files := scaffold.files("summarize", known)):
            return files[path]
    raise ValueError(f"/new-skill does not create {source}")


def _read(source: str) -> str:
    path = ROOT / source
    if not path.is_file():
        raise ValueError(f"there is no file {source}")
    return path.read_text(encoding="utf-8")
