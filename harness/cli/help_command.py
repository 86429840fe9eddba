"""/help: show help, which is generated from the declarations of skills."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from harness.api import options as opts
from harness.api.options import Flag, GeneralOptions
from harness.api.skill import Call, Result, Skill
from harness.cli.app_command import AppCommand
from harness.cli.overview import WIDTH, overview, reflowed, section
from harness.errors import UsageError, did_you_mean
from harness.runs.targets import folder_names


def program_options() -> str:
    """Return the list of options for `agent.py --help`."""
    return _options("Options", opts.flags(GeneralOptions, opts.ProgramOptions).values())


def skill_help(
    skill: Skill, formats: Sequence[str] = (), width: int = WIDTH, *, brief: bool = False
) -> str:
    """Return the text of `/help NAME`: usage, summary, details, subcommands, options, formats.

    Args:
        formats: the suffixes that plugins add to `skill.saves`.
        width: maximum width of the text in columns.
        brief: True to list the options of subcommands without their descriptions, which
            `/help NAME SUBCOMMAND` shows.
    """
    parts = [reflowed(f"Usage: {usage(skill)}", width), textwrap.fill(skill.summary, width)]
    if skill.details:
        parts.append(reflowed(textwrap.dedent(skill.details).strip(), width))
    if skill.subcommands:
        parts.append(section("Subcommands", list(skill.subcommands.items()), width))
    own = [case for case in skill.variants if case in skill.subcommands] if brief else []
    groups = opts.grouped(skill)
    if own:
        others = {(case,): [*opts.flags(skill.variants[case]).values()] for case in skill.variants}
        groups = {cases: listed for cases, listed in groups.items() if not cases} | {
            cases: listed for cases, listed in others.items() if cases[0] not in own
        }
    for cases, listed in groups.items():
        title = f"Options for {opts.case_names(skill, cases)}" if cases else "Options"
        parts.append(_options(title, listed, width))
    if own:
        named = [
            (case, " ".join(map(_shape, opts.flags(skill.variants[case]).values())))
            for case in skill.subcommands
            if case in own
        ]
        title = f"Options of subcommands (described by `/help {skill.name} SUBCOMMAND`)"
        parts.append(section(title, named, width))
    if saves := (*skill.saves, *folder_names(skill), *formats):
        parts.append(reflowed(f"Saves: {', '.join(saves)} (save to PATH, or -o PATH)", width))
    where = ", before the name" if skill.flags_are_text else ""
    return "\n\n".join((*parts, _general(width, where)))


def subcommand_help(skill: Skill, subcommand: str, width: int = WIDTH) -> str:
    """Return the text of `/help NAME SUBCOMMAND`: usage, summary, and the options that apply."""
    line = usage(skill).replace(f"[{'|'.join(skill.subcommands)}]", subcommand)
    line = line.removesuffix(" [save to PATH]")  # not every subcommand saves a result
    summary = skill.subcommands[subcommand]
    parts = [
        reflowed(f"Usage: {line}", width),
        textwrap.fill(f"{summary[:1].upper()}{summary[1:]}", width),
    ]
    own = opts.flags(skill.variants[subcommand]) if subcommand in skill.variants else {}
    if own:
        parts.append(_options(f"Options for {subcommand}", own.values(), width))
    if shared := [f for name, f in opts.flags_for(skill, subcommand).items() if name not in own]:
        parts.append(_options(f"Options of /{skill.name}", shared, width))
    more = f"`/help {skill.name}` describes arguments and formats of all subcommands."
    parts.append(textwrap.fill(more, width))
    return "\n\n".join((*parts, _general(width)))


def _general(width: int, where: str = "") -> str:
    shapes = " ".join(_shape(flag) for flag in opts.flags(GeneralOptions).values())
    return reflowed(f"General options{where}: {shapes}", width)


def usage(skill: Skill) -> str:
    """Return the usage line, such as "/annotate [OPTION ...] TEXT|FILE [save to PATH]"."""
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
    return section(title, rows, width)


def _shape(flag: Flag) -> str:
    return flag.name if flag.sets is not None else f"{flag.name} {flag.metavar}"


class Help(AppCommand):
    """The command /help, which shows help from the declarations of skills."""

    name = "help"
    summary = "List the commands, or show help on a command"
    usage = "NAME [SUBCOMMAND]"
    text = "optional"

    def run(self, call: Call) -> Result:
        catalogue, width = self._app.catalogue, self._app.screen.width(WIDTH)
        name, _, subcommand = call.text.strip().removeprefix("/").partition(" ")
        if not name:
            listed = [
                {"name": one.name, "summary": one.summary}
                for one in catalogue.skills.values()
                if one.for_users
            ]
            shown = overview(catalogue, self._app.settings, width)
            return Result(shown, {"commands": listed})
        if name not in catalogue.skills:
            raise catalogue.unknown(name)
        skill = catalogue.skills[name].skill
        schema = skill.Options.model_json_schema()
        if not (subcommand := subcommand.strip()):
            formats = list(catalogue.formats_for(skill))
            data = {
                "name": skill.name,
                "summary": skill.summary,
                "usage": usage(skill),
                "subcommands": dict(skill.subcommands),
                "options": schema,
                "general_options": GeneralOptions.model_json_schema(),
                "saves": [*skill.saves, *formats],
            }
            return Result(skill_help(skill, formats, width, brief=True), data)
        if subcommand not in skill.subcommands:
            known = ", ".join(skill.subcommands) or "none"
            raise UsageError(
                f"/{skill.name} has no subcommand {subcommand[:40]!r}",
                hint=did_you_mean(subcommand, skill.subcommands) or f"Subcommands: {known}.",
            )
        keys = [flag.key for flag in opts.flags_for(skill, subcommand).values()]
        data = {
            "name": skill.name,
            "subcommand": subcommand,
            "summary": skill.subcommands[subcommand],
            "options": {key: schema["properties"][key] for key in keys},
        }
        return Result(subcommand_help(skill, subcommand, width), data)
