"""Help texts, made from what skills declare. The documents under docs/ are made of these too."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from harness.api.options import Flag, GeneralOptions, flags
from harness.api.skill import Skill
from harness.plugins.catalogue import Found

WIDTH = 96
USAGE = """\
Usage: agent.py [OPTION ...] [LINE]

A LINE is a command, "/annotate paper.txt save to paper.json", or plain text for the producer model.
Without one, an interactive session starts; lines piped in are run one after the other."""

EXIT_CODES = """\
Exit codes: 0 done; 1 the skill failed; 2 usage or bad input; 3 no model could serve;
4 output not written; 130 interrupted."""


def program_help(skills: Iterable[Found | Skill]) -> str:
    """What `agent.py --help` prints."""
    return "\n\n".join((USAGE, _options("Options", GeneralOptions), overview(skills), EXIT_CODES))


def overview(skills: Iterable[Found | Skill]) -> str:
    """The commands, one line each."""
    rows = [(f"/{skill.name}", skill.summary) for skill in sorted(skills, key=lambda s: s.name)]
    return f"Commands (`/help NAME` tells more):\n{_columns(rows)}"


def skill_help(skill: Skill, formats: Sequence[str] = ()) -> str:
    """What `/help NAME` prints: usage, what it is, options, formats.

    Args:
        formats: suffixes of plugins that it can be saved with too.
    """
    parts = [f"Usage: {usage(skill)}", textwrap.fill(skill.summary, WIDTH)]
    if skill.details:
        parts.append(textwrap.dedent(skill.details).strip())
    if skill.subcommands:
        parts.append("Subcommands:\n" + _columns(list(skill.subcommands.items())))
    if skill.Options.model_fields:
        parts.append(_options("Options", skill.Options))
    if saves := (*skill.saves, *formats):
        parts.append(f"Saves: {', '.join(saves)} (save to PATH, or -o PATH)")
    parts.append("General options: " + " ".join(_shape(f) for f in flags(GeneralOptions).values()))
    return "\n\n".join(parts)


def usage(skill: Skill) -> str:
    """The usage line: "/annotate [OPTION ...] TEXT|FILE [save to PATH]"."""
    words = [f"/{skill.name}"]
    if skill.subcommands:
        words.append(f"[{'|'.join(skill.subcommands)}]")
    if skill.Options.model_fields:
        words.append("[OPTION ...]")
    if skill.text != "none":
        words.append(skill.usage if skill.text == "required" else f"[{skill.usage}]")
    if skill.saves:
        words.append("[save to PATH]")
    return " ".join(words)


def _options(title: str, model: Any) -> str:
    rows = []
    for flag in flags(model).values():
        default = "" if flag.default in (None, [], ()) else f" (default: {flag.default})"
        default = " (required)" if flag.required else default
        rows.append((_shape(flag), flag.help + default))
    return f"{title}:\n{_columns(rows)}"


def _shape(flag: Flag) -> str:
    return flag.name if flag.sets is not None else f"{flag.name} {flag.metavar}"


def _columns(rows: list[tuple[str, str]]) -> str:
    """Two columns, the second one wrapped under itself."""
    left = max(len(name) for name, _ in rows) + 4
    lines = []
    for name, about in rows:
        lines += textwrap.wrap(
            about,
            WIDTH,
            initial_indent=f"  {name}".ljust(left),
            subsequent_indent=" " * left,
        ) or [f"  {name}"]
    return "\n".join(lines)
