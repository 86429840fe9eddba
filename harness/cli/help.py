"""Help texts, generated from the declarations of skills; used for docs/commands.md too."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from harness.api.options import Flag, GeneralOptions, case_names, flags, grouped
from harness.api.skill import Skill
from harness.plugins.catalogue import Found

WIDTH = 96
USAGE = """\
Usage: agent.py [OPTION ...] [LINE]

A LINE is a command, "/annotate paper.txt save to paper.json", or plain text for the producer model.
Without a LINE, an interactive session starts; piped lines run one after the other."""

EXIT_CODES = """\
Exit codes: 0 success; 1 the skill failed; 2 usage error or bad input; 3 no model available;
4 output not written; 130 interrupted."""


def program_help(skills: Iterable[Found | Skill]) -> str:
    """Return the text of `agent.py --help`."""
    options = _options("Options", flags(GeneralOptions).values())
    return "\n\n".join((USAGE, options, overview(skills), EXIT_CODES))


def overview(skills: Iterable[Found | Skill]) -> str:
    """Return the list of commands, one line each."""
    rows = [(f"/{skill.name}", skill.summary) for skill in sorted(skills, key=lambda s: s.name)]
    return f"Commands (`/help NAME` for details):\n{_columns(rows)}"


def skill_help(skill: Skill, formats: Sequence[str] = ()) -> str:
    """Return the text of `/help NAME`: usage, summary, details, subcommands, options, formats.

    Args:
        formats: suffixes of plugins' formats that the result can be saved with.
    """
    parts = [f"Usage: {usage(skill)}", textwrap.fill(skill.summary, WIDTH)]
    if skill.details:
        parts.append(textwrap.dedent(skill.details).strip())
    if skill.subcommands:
        parts.append("Subcommands:\n" + _columns(list(skill.subcommands.items())))
    for cases, listed in grouped(skill).items():
        title = f"Options for {case_names(skill, cases)}" if cases else "Options"
        parts.append(_options(title, listed))
    if saves := (*skill.saves, *formats):
        parts.append(f"Saves: {', '.join(saves)} (save to PATH, or -o PATH)")
    parts.append("General options: " + " ".join(_shape(f) for f in flags(GeneralOptions).values()))
    return "\n\n".join(parts)


def usage(skill: Skill) -> str:
    """Return the usage line: "/annotate [OPTION ...] TEXT|FILE [save to PATH]"."""
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


def _options(title: str, listed: Iterable[Flag]) -> str:
    rows = []
    for flag in listed:
        default = "" if flag.default in (None, "", [], ()) else f" (default: {flag.default})"
        default = " (required)" if flag.required else default
        rows.append((_shape(flag), flag.help + default))
    return f"{title}:\n{_columns(rows)}"


def _shape(flag: Flag) -> str:
    return flag.name if flag.sets is not None else f"{flag.name} {flag.metavar}"


def _columns(rows: list[tuple[str, str]]) -> str:
    """Return two aligned columns; the second one is wrapped."""
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
