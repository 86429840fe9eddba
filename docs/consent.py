"""The tables of docs/permissions.md: actions of a model, and programs that only read.

A page marks the place of a table, whose lines docs/generate.py replaces:

    <!-- table: consent -->
    <!-- end of the table -->
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from harness.programs import HARMLESS

_MARKED = re.compile(
    r"(?<=^<!-- table: )(\w+)( -->\n).*?(?=^<!-- end of the table -->$)", re.M | re.S
)


class Rule(NamedTuple):
    """An action of a model in the table of consent.

    Attributes:
        what: the action of a model.
        asked: whether the user is asked: "no", "yes", "each time" or "refused".
        always: the actions that an "always" answer covers.
    """

    what: str
    asked: str
    always: str = ""


RULES = {
    "read": Rule(
        "reads a file of the project or of an active skill, with a tool such as `read_file` or a "
        "command such as `/annotate`",
        "no",
    ),
    "read elsewhere": Rule(
        "reads any other file, or the configuration and data of the harness, with a tool or a "
        "command",
        "yes",
        "the folder of the file; only the file if its folder contains the project",
    ),
    "write": Rule(
        "writes a file with `write_file`",
        "yes",
        "the folder of the file; only the file if its folder is the project or contains it",
    ),
    "write instructions": Rule("writes a file of `.git` or an `AGENTS.md`", "each time"),
    "write controls": Rule(
        "writes a file that controls the harness: trust, permissions, registry, skills, "
        "`mcp.json`, `hooks.json`",
        "refused",
    ),
    "command": Rule(
        "calls a command of the harness that writes files, trains, or makes other lasting changes",
        "each time",
    ),
    "run to read": Rule(
        "runs a program that only reads",
        "yes",
        "this program with [reviewed options](permissions.md#programs-that-only-read), on any file "
        "of the project",
    ),
    "run": Rule(
        "runs another program",
        "yes",
        "exactly this line; an answer that was given for the sandbox applies only there",
    ),
    "run anything": Rule(
        "runs a shell, or a program whose line does not show which programs it runs, and which "
        "files it reads and writes",
        "each time",
    ),
    "mcp": Rule("calls a tool of an MCP server", "yes", "this tool"),
    "activate": Rule(
        "uses a prompt skill of the project", "yes", "all prompt skills of the project"
    ),
    "instructions": Rule("follows `AGENTS.md`", "yes", "these files, also after changes"),
}


def fill(page: str) -> str:
    """Return the page with its marked tables replaced."""
    return _MARKED.sub(lambda match: f"{match[1]}{match[2]}{TABLES[match[1]]}", page)


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in lines)


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`" if text else ""


TABLES: Mapping[str, str] = {
    "consent": _table(
        ("a model ...", "you are asked", 'an "always" answer covers'), RULES.values()
    ),
    "programs": _table(
        ("program", "options, as a regular expression", "why"),
        ((_code(name), _code(options), why) for name, (options, why) in HARMLESS.items()),
    ),
}
