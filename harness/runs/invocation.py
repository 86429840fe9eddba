"""The parsed invocation of a command, and the grammar of the line that a user types.

    line     = "/" name [subcommand] {option | "-o" path} [text] {option} [save] {option}
    save     = "save to" path {"-o" path} | "-o" path {"-o" path}      (a path may be quoted)
    option   = "--name" | "--name" value | "--name=value"

The text between the options is kept byte for byte and never split into words, so that an abstract
with quotes and line breaks passes unchanged. Only a pair of quotes around the whole text ('...',
"...", “...”, «...» and others) is removed, unless such a quote occurs inside the text. `--` ends
the options: everything after `--` is text, including quotes.

After the name of a skill with `flags_are_text`, such as a prompt skill, everything is text, except
for the files to save to at the end. Quotes in this text group the words of an argument.
Options of the harness may precede the name of a skill.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.agent_skills.skill_file import NAME
from harness.api import options as opts
from harness.api.options import Flag, GeneralOptions, ProgramOptions
from harness.api.skill import Skill, SkillOptions
from harness.errors import UsageError, did_you_mean
from harness.support.text_input import unquote

_LIKE_OPTIONS = re.compile(r"\A\s|(?:\A|\s)(?:-|save\s+to(?!\S))|\s\Z", re.IGNORECASE)
_BARE = re.compile(r"(?!--)[^\s\"'][^\s]*")
_HELP = ("-h", "--help")
SHORT = {"-c": "--continue", "-p": "--prompt"}
"""Short names of options of the program."""
_NAME = NAME.pattern
_VALUE = r""""[^"\n]*"|'[^'\n]*'|(?!--)\S+"""
_COMMAND = re.compile(rf"\s*/({_NAME})(?:\s|\Z)")
_WORD = re.compile(r"\s*(\S+)(?:\s|\Z)")
_LEADING = re.compile(
    rf"\s*(?P<flag>--{_NAME}|--|-o|-h)(?:=(?P<value>{_VALUE}))?(?=\s|\Z)", re.ASCII
)
_NEXT_VALUE = re.compile(rf"\s+({_VALUE})(?=\s|\Z)")
_SAVE_AT_END = re.compile(
    rf"(?:\A|\s)(?P<how>save\s+to|-o)(?:\s+(?P<path>{_VALUE}))?\s*\Z", re.IGNORECASE
)
_SAVE_UNQUOTED = re.compile(
    r"(?:\A|\s)(?:save to|-o) [^\"'\n]{1,200}\.[a-z]{2,7}\s*\Z", re.IGNORECASE
)
_FLAG_AT_END = re.compile(
    rf"(?:\A|\s)(?P<flag>--{_NAME}|-h)(?:(?:=|\s+)(?P<value>{_VALUE}))?\s*\Z", re.ASCII
)
LONGEST = 6_000
"""Maximum number of characters of an option or target at the end of a line; a path has at most
4,096.
"""


@dataclass(frozen=True, slots=True)
class Invocation:
    """An invocation of a command: its text, options, general options and targets.

    Attributes:
        folders: the targets that were written with a slash at the end.
        help: True if the line requests help for the command.
        joins_stdin: True if the skill appends stdin to the text (`Call.source`).
    """

    name: str
    subcommand: str
    text: str
    options: SkillOptions
    general: GeneralOptions
    targets: tuple[Path, ...] = ()
    folders: frozenset[Path] = frozenset()
    help: bool = False
    joins_stdin: bool = False


def render_line(skill: Skill, invocation: Invocation) -> str:
    """Return the line of an invocation, for display and the run log."""
    text = invocation.text
    words = [*_rendered_options(skill, invocation.options)]
    slashes = ["/" * (target in invocation.folders) for target in invocation.targets]
    targets = [quoted(f"{a}{b}") for a, b in zip(invocation.targets, slashes, strict=True)]
    head = [f"/{skill.name}", invocation.subcommand]
    first = text.split(maxsplit=1)[:1]
    as_text = without_quotes(skill, invocation.subcommand, text) != text
    if as_text or _LIKE_OPTIONS.search(text) or (first and first[0] in skill.subcommands):
        parts = [*head, *words, *(f"-o {target}" for target in targets), f"-- {text}"]
    else:
        saves = [f"{'-o' if i else 'save to'} {target}" for i, target in enumerate(targets)]
        parts = [*head, text, *words, *saves]
    return " ".join(filter(None, parts))


def _rendered_options(skill: Skill, options: SkillOptions) -> Iterator[str]:
    given = options.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for flag in opts.flags(skill.Options).values():
        value = given.get(flag.key)
        if flag.sets is not None and value == flag.sets:
            yield flag.name
        elif flag.sets is None and value is not None:
            for one in value if isinstance(value, list) else [value]:
                yield f"{flag.name} {quoted(str(one))}"


def quoted(value: str) -> str:
    """Return a value in the form in which it is written on a line.

    A value is quoted if it is empty, contains blanks, or begins with a quote or with `--`.
    """
    if _BARE.fullmatch(value):
        return value
    return f"'{value}'" if '"' in value else f'"{value}"'


def without_quotes(skill: Skill, subcommand: str, text: str) -> str:
    """Return the text of a line without quotes around the whole text.

    Subcommands in `Skill.phrases` keep straight double quotes, which mark a phrase.
    """
    if subcommand in skill.phrases and text.lstrip().startswith('"'):
        return text
    bare = unquote(text.strip())
    return text if bare == text.strip() else bare


def as_targets(written: Iterable[str]) -> tuple[tuple[Path, ...], frozenset[Path]]:
    """Return the paths of targets, and the paths that were written with a slash at the end.

    Raises:
        UsageError: as for `as_path`.
    """
    paths = {value: as_path(value) for value in written}
    folders = (path for value, path in paths.items() if unquote(value).endswith(("/", os.sep)))
    return tuple(paths.values()), frozenset(folders)


def as_path(value: str) -> Path:
    """Return the path of a target or an input file, unquoted and with `~` expanded.

    Raises:
        UsageError: the path is empty, or begins with the home folder of an unknown user.
    """
    path = unquote(value)
    if not path:
        raise UsageError("save to needs a path")
    try:
        return Path(path).expanduser()
    except RuntimeError as exc:  # raised for the home folder of an unknown user
        raise UsageError(f"{exc}".removesuffix("."), where=path) from exc


def split_command(line: str) -> tuple[str, str] | None:
    """Split a command line into the name and the remaining text; return None for plain text.

    A line is a command if its first word is one slash and a name; "/usr/lib" is text.
    """
    match = _COMMAND.match(line)
    return (match[1], line[match.end() :]) if match else None


def split_options(line: str) -> tuple[dict[str, object], str]:
    """Return the general options before a command, by key, and the command.

    A line without such options, or without a command, is returned unchanged.
    """
    parser = _Parser("", opts.flags(GeneralOptions))
    try:
        rest = parser.take_leading(line)
    except UsageError:  # the line is text that begins with hyphens
        return {}, line
    if parser.verbatim or parser.help or parser.targets or not split_command(rest):
        return {}, line
    return parser.values, rest


def parse(skill: Skill, rest: str, general: Mapping[str, object] | None = None) -> Invocation:
    """Parse the part of a line after the name of `skill`, and return the invocation.

    Args:
        general: general options before the line, by key; general options of the line override them.

    Raises:
        UsageError: an unknown option, a missing value, or an invalid value.
    """
    parser = _Parser(f"/{skill.name}", opts.flags(skill.Options, GeneralOptions))
    if skill.flags_are_text:
        return parser.invocation(skill, "", parser.take_text(rest), general or {})
    text = parser.take_leading(rest)
    subcommand = ""
    match = _WORD.match(text)
    if match and match[1] in skill.subcommands and not parser.verbatim:
        subcommand, text = match[1], parser.take_leading(text[match.end() :])
    if not parser.verbatim:
        text = without_quotes(skill, subcommand, parser.take_trailing(text))
    return parser.invocation(skill, subcommand, text, general or {})


def from_words(skill: Skill, words: Sequence[str], subcommand: str = "") -> Invocation:
    """Parse the arguments of a script as an invocation: options, and at most one text.

    Args:
        skill: the skill whose options are accepted.
        words: the arguments.
        subcommand: the subcommand of the invocation.

    Raises:
        UsageError: as for `parse`; also if there is more than one text.
    """
    parser = _Parser(f"/{skill.name}", opts.flags(skill.Options, GeneralOptions))
    texts, left = [], list(words)
    while left := parser.take_words(left):
        texts.append(left.pop(0))
    if len(texts) > 1 and not parser.help:
        raise UsageError(f"expected one {skill.usage}, got {len(texts)}: {', '.join(texts)}"[:200])
    return parser.invocation(skill, subcommand, "".join(texts[:1]), {})


def parse_general(words: Sequence[str]) -> tuple[dict[str, object], list[str]]:
    """Parse the general options and the options of the program that precede a line.

    Returns:
        The options by key, and the remaining words. `--help`, `-h` and `--version` are not parsed,
        and remain with all words after them.

    Raises:
        UsageError: an unknown option, a missing value, or -o, which is only allowed in the line.
    """
    parser = _Parser("agent.py", opts.flags(GeneralOptions, ProgramOptions), SHORT)
    special = next((i for i, w in enumerate(words) if w in ("--help", "-h", "--version")), None)
    left = parser.take_words(words[:special])
    if parser.targets:
        example = f'"/annotate FILE -o {parser.targets[0]}"'
        raise UsageError(
            "agent.py has no option -o", hint=f"The file to save to is part of the line: {example}."
        )
    rest = [] if special is None else words[special:]
    return parser.values, [*left, *rest]


def trusts(rest: str) -> bool:
    """Return True if `--trust` is among the options before or after the text.

    The line cannot be parsed: the options of an untrusted plugin are unknown, since its code must
    not run.
    """
    before, ended, _ = f" {rest} ".partition(" -- ")
    end = len(before)
    while not ended and (match := _search_end(_SAVE_AT_END, before, end)):
        end = match.start()
    words = before[:end].split()
    leading = itertools.takewhile(_is_option, words)
    trailing = itertools.takewhile(_is_option, reversed(words if not ended else []))
    return "--trust" in (*leading, *trailing)


def _is_option(word: str) -> bool:
    return word.startswith("--")


def _search_end(pattern: re.Pattern[str], text: str, end: int) -> re.Match[str] | None:
    """Return the match of a pattern that ends at `end`, or None.

    The match has at most `LONGEST` characters, apart from the blanks before `end`.
    """
    last = end
    while last and text[last - 1].isspace():
        last -= 1
    return pattern.search(text, max(0, last - LONGEST), end)


@dataclass(slots=True)
class _Parser:
    """A parser that collects the options and targets of a command.

    Attributes:
        command: the name of the command, for messages.
        flags: the known options by name.
        short: the full names of short options.
        values: the values of the parsed options by key.
        targets: the paths of the parsed targets.
        verbatim: True if `--` was parsed, so that the rest is text.
        help: True if `-h` or `--help` was parsed.
    """

    command: str
    flags: Mapping[str, Flag]
    short: Mapping[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    targets: list[str] = field(default_factory=list)
    verbatim: bool = False
    help: bool = False

    def invocation(
        self, skill: Skill, subcommand: str, text: str, general: Mapping[str, object]
    ) -> Invocation:
        """Validate the values and return the invocation."""
        keys = {flag.key for flag in opts.flags(GeneralOptions).values()}
        own = {k: v for k, v in self.values.items() if k not in keys}
        shared = {k: v for k, v in self.values.items() if k in keys}
        # A required option may be missing in a request for help.
        options = SkillOptions() if self.help else opts.build(skill.Options, own)
        merged = opts.build(GeneralOptions, {**general, **shared})
        saved = as_targets([] if self.help else self.targets)
        return Invocation(skill.name, subcommand, text, options, merged, *saved, self.help)

    def take_leading(self, text: str) -> str:
        """Parse the options at the beginning of a text; return the text after the options.

        `--` ends the options, and is not part of the returned text.
        """
        at = 0
        while match := _LEADING.match(text, at):
            name, value = match["flag"], match["value"]
            at = match.end()
            if name == "--":
                self.verbatim = True
                return text[at + 1 :]
            if value is None and self._takes_value(name) and (given := _NEXT_VALUE.match(text, at)):
                value, at = given[1], given.end()
            self._set(name, None if value is None else unquote(value))
        return text[at:].lstrip()

    def take_text(self, text: str) -> str:
        """Parse the targets after the text of a skill with `flags_are_text`; return the text."""
        if text.strip() in _HELP:
            self.help = True
            return ""
        if (match := _LEADING.match(text)) and match["flag"] == "--":
            return text[match.end() + 1 :]
        return self.take_trailing(text.lstrip(), flags=False)

    def take_trailing(self, text: str, *, flags: bool = True) -> str:
        """Parse the options and targets at the end of a text; return the text before them.

        The targets are any number of `-o PATH`, with at most one `save to PATH` before them.
        Another `save to` or `-o` before the `save to` is an error, since it could belong to the
        text.
        """
        found: list[tuple[str, str | None]] = []  # in reverse order, the last option first
        saved, end = False, len(text)
        while True:
            match = _search_end(_SAVE_AT_END, text, end)
            if match and (flags or match["path"]):  # the text may end with "save to"
                if saved:
                    raise UsageError(
                        f"there is another {match['how']} before the last `save to`",
                        hint="Give more targets with -o after the path. If the text itself ends "
                        f"with a target, write {'-o PATH ' * flags}-- TEXT.",
                    )
                found.append(("-o", match["path"] or ""))
                saved = match["how"] != "-o"
            elif flags and (match := self._option_at_end(text, end)):
                found.append((match["flag"], match["value"]))
            else:
                break
            end = match.start()
        text = text[:end]
        if not saved and _SAVE_UNQUOTED.search(text):
            raise UsageError(
                "a path with blanks needs quotes", hint='Write `save to "my file.md"`.'
            )
        for name, value in reversed(found):
            self._set(name, None if value is None else unquote(value))
        return text

    def take_words(self, words: Sequence[str]) -> list[str]:
        """Parse the options at the beginning of a list of words; return the remaining words."""
        left = list(words)
        while left and not self.verbatim:
            name, equals, given = left[0].partition("=")
            name = self.short.get(name, name)
            if not name.startswith("--") and name not in ("-o", "-h"):
                break
            left.pop(0)
            if name == "--":
                self.verbatim = True
                break
            value = given if equals else None
            if value is None and left and self._takes_value(name):
                value = left.pop(0)
            self._set(name, value)
        return left

    def _option_at_end(self, text: str, end: int) -> re.Match[str] | None:
        """Return the match of an option that ends at `end`, or None if no option ends there.

        Raises:
            UsageError: the option is unknown, or has a value but takes no value.
        """
        match = _search_end(_FLAG_AT_END, text, end)
        if match is None:
            return None
        name, value = match["flag"], match["value"]
        if name in _HELP:
            return match if value is None else None
        if value is not None and not self._takes_value(name):
            raise UsageError(
                f"{name} takes no value, and options go before or after the text",
                hint="If the option belongs to the text, put `--` before the text.",
            )
        return match

    def _flag(self, name: str) -> Flag:
        if name not in self.flags:
            known = did_you_mean(name, self.flags) or f"`{self.command} --help` lists the options."
            raise UsageError(
                f"{self.command} has no option {name}",
                hint=f"{known} If the option belongs to the text, put `--` before the text.",
            )
        return self.flags[name]

    def _takes_value(self, name: str) -> bool:
        return name == "-o" or (name not in _HELP and self._flag(name).sets is None)

    def _set(self, name: str, value: str | None) -> None:
        if name in _HELP:
            self.help = True
            return
        if (value is None) == self._takes_value(name):
            raise UsageError(f"{name} {'needs a' if value is None else 'takes no'} value")
        if name == "-o":
            self.targets.append(value or "")
            return
        flag = self._flag(name)
        if flag.many:
            self.values.setdefault(flag.key, []).append(value)
        elif flag.key in self.values:
            raise UsageError(f"{name} is given twice")
        else:
            self.values[flag.key] = value if flag.sets is None else flag.sets
