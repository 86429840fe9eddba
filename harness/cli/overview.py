"""The list of commands for `agent.py --help` and `/help`, and the layout of help texts.

The module does not import option models, since the import of Pydantic would double the start-up
time.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness.plugins.catalogue import Catalogue, Found
from harness.plugins.locations import owner

if TYPE_CHECKING:
    from harness.api.skill import Skill
    from harness.settings import Settings

WIDTH = 96
"""Maximum width of a help text in columns."""


MOST_LINES = 4
"""Maximum number of lines of each section of `/help` about project skills or user skills."""
USAGE = """\
Usage: agent.py [OPTION ...] [LINE]

A LINE is a command, such as "/annotate paper.txt save to paper.json", or plain text for the
producer model. Without a LINE, a session starts; piped lines run one after the other. `mcp` serves
the skills to other agents (docs/mcp.md), `acp` serves an editor (docs/editors.md), and `completion
bash` prints the script that makes Tab complete lines in a shell (docs/shell.md)."""

EXIT_CODES = """\
Exit codes: 0 success; 1 the skill failed; 2 usage error or bad input; 3 no model available;
4 output not written; 130 interrupted."""


def section(title: str, rows: list[tuple[str, str]], width: int) -> str:
    """Return a title and a list with two aligned columns, of which the second is wrapped.

    If the first column needs more than half of the width, each text of the second column is below
    the text of the first column.
    """
    left = max(len(name) for name, _ in rows) + 4
    lines = [textwrap.fill(f"{title}:", width)]
    for name, about in rows:
        if left > width // 2:
            below = textwrap.indent(textwrap.fill(about, width - 6), " " * 6)
            lines += filter(None, (textwrap.fill(f"  {name}", width), below))
        else:
            first = f"  {name}".ljust(left)
            lines += textwrap.wrap(
                about, width, initial_indent=first, subsequent_indent=" " * left
            ) or [f"  {name}"]
    return "\n".join(lines)


def reflowed(text: str, width: int) -> str:
    """Return a text that was written for `WIDTH` columns; rewrap it if `width` is smaller.

    An indented line, such as an example, is wrapped separately.
    """
    if width >= WIDTH:
        return text
    parts: list[str] = []
    for indented, lines in itertools.groupby(text.splitlines(), lambda line: line[:1] in " "):
        if indented:
            for line in lines:
                blanks = " " * min(len(line) - len(line.lstrip()), 6)
                words = " ".join(line.split())
                parts.append(
                    textwrap.fill(words, width, initial_indent=blanks, subsequent_indent=" " * 6)
                )
        else:
            parts.append(textwrap.fill(" ".join(lines), width))
    return "\n".join(parts)


def program_help(catalogue: Catalogue, settings: Settings, options: str) -> str:
    """Return the text of `agent.py --help`, which includes the list of options."""
    return "\n\n".join((USAGE, options, overview(catalogue, settings), EXIT_CODES))


def overview(catalogue: Catalogue, settings: Settings, width: int = WIDTH) -> str:
    """Return the list of commands, and the skills of the project and of the user."""
    groups: dict[str, list[Found]] = {"program": [], "project": [], "user": []}
    for found in catalogue.skills.values():
        if found.for_users:
            groups[owner(found.origin, settings)].append(found)
    parts = [
        commands(groups["program"], width),
        _named("Skills of this project", groups["project"], width),
        _named("Your skills", groups["user"], width),
    ]
    return "\n\n".join(filter(None, parts))


def commands(skills: Iterable[Found | Skill], width: int = WIDTH) -> str:
    """Return the list of commands with their summaries."""
    rows = [(f"/{skill.name}", skill.summary) for skill in sorted(skills, key=lambda s: s.name)]
    return section("Commands (`/help NAME` for details)", rows, width)


def _named(title: str, skills: list[Found], width: int) -> str:
    """Return a section about skills, or "" without skills.

    The section has a line with a short summary for each skill. For more than `MOST_LINES` skills,
    it has only names, in at most `MOST_LINES` lines.
    """
    if not skills:
        return ""
    names = sorted(f"/{skill.name}" for skill in skills)
    if len(names) <= MOST_LINES:
        room = max(width - max(map(len, names)) - 4, 20)
        rows = sorted((f"/{skill.name}", skill.summary) for skill in skills)
        cut = [(name, textwrap.shorten(about, room, placeholder="...")) for name, about in rows]
        return section(title, cut, width)
    title = f"{title} ({len(names)}; `/skills TEXT` searches them)"
    lines = textwrap.wrap(
        " ".join(names), width - 2, break_on_hyphens=False, break_long_words=False
    )
    if len(lines) > MOST_LINES:
        lines[MOST_LINES - 1 :] = [f"... and {len(' '.join(lines[MOST_LINES - 1 :]).split())} more"]
    return "\n".join([f"{title}:", *(f"  {line}" for line in lines)])
