"""Help texts, generated from the declarations of skills; used for docs/commands.md too."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from harness.api.options import (
    Flag,
    GeneralOptions,
    ProgramOptions,
    case_names,
    flags,
    flags_for,
    grouped,
)
from harness.api.skill import Skill
from harness.plugins.catalogue import Catalogue, Found
from harness.plugins.locations import owner

if TYPE_CHECKING:
    from harness.settings import Settings

WIDTH = 96
MOST_LINES = 4
"""Maximum number of lines for the skills of a project, and for those of the user, in `/help`."""
USAGE = """\
Usage: agent.py [OPTION ...] [LINE]

A LINE is a command, "/annotate paper.txt save to paper.json", or plain text for the producer model.
Without a LINE, an interactive session starts; piped lines run one after the other. The word mcp
serves the skills to other agents (docs/mcp.md)."""

EXIT_CODES = """\
Exit codes: 0 success; 1 the skill failed; 2 usage error or bad input; 3 no model available;
4 output not written; 130 interrupted."""


def program_help(catalogue: Catalogue, settings: Settings) -> str:
    """Return the text of `agent.py --help`."""
    options = _options("Options", flags(GeneralOptions, ProgramOptions).values())
    return "\n\n".join((USAGE, options, overview(catalogue, settings), EXIT_CODES))


def overview(catalogue: Catalogue, settings: Settings, width: int = WIDTH) -> str:
    """Return the commands, then the project's and the user's skills, in a screenful of lines."""
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
    """Return the list of commands, one line each."""
    rows = [(f"/{skill.name}", skill.summary) for skill in sorted(skills, key=lambda s: s.name)]
    return _section("Commands (`/help NAME` for details)", rows, width)


def _named(title: str, skills: list[Found], width: int) -> str:
    """Return a few skills with the beginning of their summaries, or the names of many."""
    if not skills:
        return ""
    names = sorted(f"/{skill.name}" for skill in skills)
    if len(names) <= MOST_LINES:
        room = max(width - max(map(len, names)) - 4, 20)
        rows = sorted((f"/{skill.name}", skill.summary) for skill in skills)
        cut = [(name, textwrap.shorten(about, room, placeholder="...")) for name, about in rows]
        return _section(title, cut, width)
    title = f"{title} ({len(names)}; `/skills TEXT` searches them)"
    lines = textwrap.wrap(
        " ".join(names), width - 2, break_on_hyphens=False, break_long_words=False
    )
    if len(lines) > MOST_LINES:
        lines[MOST_LINES - 1 :] = [f"... and {len(' '.join(lines[MOST_LINES - 1 :]).split())} more"]
    return "\n".join([f"{title}:", *(f"  {line}" for line in lines)])


def skill_help(
    skill: Skill, formats: Sequence[str] = (), width: int = WIDTH, *, brief: bool = False
) -> str:
    """Return the text of `/help NAME`: usage, summary, details, subcommands, options, formats.

    Args:
        formats: suffixes of plugins' formats that the result can be saved with.
        brief: only name the options of subcommands, which `/help NAME SUBCOMMAND` describes.
    """
    parts = _opening(usage(skill), skill.summary, width)
    if skill.details:
        parts.append(_reflowed(textwrap.dedent(skill.details).strip(), width))
    if skill.subcommands:
        parts.append(_section("Subcommands", list(skill.subcommands.items()), width))
    named = _named_options(skill) if brief else []
    groups = grouped(skill)
    if named:
        alone = {(case,): [*flags(skill.variants[case]).values()] for case in _alone(skill)}
        groups = {cases: listed for cases, listed in groups.items() if not cases} | alone
    for cases, listed in groups.items():
        title = f"Options for {case_names(skill, cases)}" if cases else "Options"
        parts.append(_options(title, listed, width))
    if named:
        title = f"Options of subcommands (described by `/help {skill.name} SUBCOMMAND`)"
        parts.append(_section(title, named, width))
    if saves := (*skill.saves, *formats):
        listed_saves = f"Saves: {', '.join(saves)} (save to PATH, or -o PATH)"
        parts.append(_reflowed(listed_saves, width))
    where = ", before the name" if skill.flags_are_text else ""
    return "\n\n".join((*parts, _general(width, where)))


def subcommand_help(skill: Skill, subcommand: str, width: int = WIDTH) -> str:
    """Return the text of `/help NAME SUBCOMMAND`: usage, summary, and the options that apply."""
    line = usage(skill).replace(f"[{'|'.join(skill.subcommands)}]", subcommand)
    line = line.removesuffix(" [save to PATH]")  # not every subcommand saves
    parts = _opening(line, _sentence(skill.subcommands[subcommand]), width)
    own = flags(skill.variants[subcommand]) if subcommand in skill.variants else {}
    if own:
        parts.append(_options(f"Options for {subcommand}", own.values(), width))
    if shared := [f for name, f in flags_for(skill, subcommand).items() if name not in own]:
        parts.append(_options(f"Options of /{skill.name}", shared, width))
    more = f"`/help {skill.name}` describes arguments and formats of all subcommands."
    parts.append(textwrap.fill(more, width))
    return "\n\n".join((*parts, _general(width)))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _opening(line: str, summary: str, width: int) -> list[str]:
    return [_reflowed(f"Usage: {line}", width), textwrap.fill(summary, width)]


def _general(width: int, where: str = "") -> str:
    shapes = " ".join(_shape(flag) for flag in flags(GeneralOptions).values())
    return _reflowed(f"General options{where}: {shapes}", width)


def _alone(skill: Skill) -> list[str]:
    """Return the variants that are not subcommands: `/finetune` without one."""
    return [case for case in skill.variants if case not in skill.subcommands]


def _named_options(skill: Skill) -> list[tuple[str, str]]:
    """Return the subcommands that have options of their own, with these."""
    return [
        (case, " ".join(map(_shape, flags(skill.variants[case]).values())))
        for case in skill.subcommands
        if case in skill.variants
    ]


def usage(skill: Skill) -> str:
    """Return the usage line: "/annotate [OPTION ...] TEXT|FILE [save to PATH]"."""
    words = [f"/{skill.name}"]
    if skill.subcommands:
        words.append(f"[{'|'.join(skill.subcommands)}]")
    if skill.Options.model_fields:
        words.append("[OPTION ...]")
    if skill.text != "none":
        marked = skill.text == "required" or skill.usage[:1] in ("[", "<")
        words.append(skill.usage if marked else f"[{skill.usage}]")
    if skill.saves:
        words.append("[save to PATH]")
    return " ".join(words)


def _options(title: str, listed: Iterable[Flag], width: int = WIDTH) -> str:
    rows = []
    for flag in listed:
        default = "" if flag.default in (None, "", [], ()) else f" (default: {flag.default})"
        default = " (required)" if flag.required else default
        rows.append((_shape(flag), flag.help + default))
    return _section(title, rows, width)


def _shape(flag: Flag) -> str:
    return flag.name if flag.sets is not None else f"{flag.name} {flag.metavar}"


def _section(title: str, rows: list[tuple[str, str]], width: int) -> str:
    return f"{textwrap.fill(f'{title}:', width)}\n{_columns(rows, width)}"


def _columns(rows: list[tuple[str, str]], width: int = WIDTH) -> str:
    """Return two aligned columns, the second one wrapped; one below the other if it is narrow."""
    left = max(len(name) for name, _ in rows) + 4
    stacked = left > width // 2
    lines: list[str] = []
    for name, about in rows:
        if stacked:
            below = textwrap.indent(textwrap.fill(about, width - 6), " " * 6)
            lines += filter(None, (f"  {name}", below))
        else:
            first = f"  {name}".ljust(left)
            lines += textwrap.wrap(
                about, width, initial_indent=first, subsequent_indent=" " * left
            ) or [f"  {name}"]
    return "\n".join(lines)


def _reflowed(text: str, width: int) -> str:
    """Return text that is formatted for `WIDTH`, with its lines joined and wrapped if narrower.

    An indented line, as of an example, is wrapped by itself.
    """
    if width >= WIDTH:
        return text
    parts: list[str] = []
    for indented, lines in itertools.groupby(text.splitlines(), lambda line: line[:1] in " "):
        if indented:
            parts += [_wrapped(line, width) for line in lines]
        else:
            parts.append(textwrap.fill(" ".join(lines), width))
    return "\n".join(parts)


def _wrapped(line: str, width: int) -> str:
    blanks = min(len(line) - len(line.lstrip()), 6)
    words = " ".join(line.split())
    return textwrap.fill(words, width, initial_indent=" " * blanks, subsequent_indent=" " * 6)
