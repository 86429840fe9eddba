"""The grammar of a line.

    line     = "/" name [subcommand] {option | "-o" path} [text] {option} [save] {option}
    save     = "save to" path {"-o" path} | "-o" path {"-o" path}      (a path may have quotes)
    option   = "--name" | "--name" value | "--name=value"

The text between the options is kept byte for byte and never split into words, so that an abstract
with quotes and line breaks passes unharmed. `--` ends the options: what follows is all text.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.agent_skills import skill_md
from harness.api import options as opts
from harness.api.options import Flag, GeneralOptions
from harness.api.skill import Skill, SkillOptions
from harness.errors import UsageError
from harness.support.suggestions import did_you_mean

_NAME = skill_md.NAME.pattern
_VALUE = r""""[^"\n]*"|'[^'\n]*'|(?!--)\S+"""
_COMMAND = re.compile(rf"\s*/({_NAME})(?:\s|\Z)")
_WORD = re.compile(r"\s*(\S+)(?:\s|\Z)")
_LEADING = re.compile(
    rf"\s*(?P<flag>--{_NAME}|--|-o|-h)(?:=(?P<value>{_VALUE}))?(?=\s|\Z)", re.ASCII
)
_NEXT_VALUE = re.compile(rf"\s+({_VALUE})(?=\s|\Z)")
_SAVE_AT_END = re.compile(
    rf"(?:\A|\s)(?P<how>save\s+to|-o)\s+(?P<path>{_VALUE})\s*\Z", re.IGNORECASE
)
_SAVE_UNQUOTED = re.compile(
    r"(?:\A|\s)(?:save to|-o) [^\"'\n]{1,200}\.[a-z]{2,7}\s*\Z", re.IGNORECASE
)
_FLAG_AT_END = re.compile(
    rf"(?:\A|\s)(?P<flag>--{_NAME}|-h)(?:(?:=|\s+)(?P<value>{_VALUE}))?\s*\Z", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Invocation:
    """A parsed line: which command, on what, how, and where its result goes."""

    name: str
    subcommand: str
    text: str
    options: SkillOptions
    general: GeneralOptions
    targets: tuple[Path, ...] = ()
    help: bool = False


def split_command(line: str) -> tuple[str, str] | None:
    """Split a command line into its name and the rest, or return None for plain text.

    A line is a command if its first word is one slash and a name; "/usr/lib" is text.
    """
    match = _COMMAND.match(line)
    return (match[1], line[match.end() :]) if match else None


def is_name(word: str) -> bool:
    """Whether a command could have this name."""
    return skill_md.NAME.fullmatch(word) is not None


def parse(skill: Skill, rest: str, general: Mapping[str, object] | None = None) -> Invocation:
    """Parse what follows the name of `skill`.

    Args:
        general: general options given before the line, by key; the line's own win.

    Raises:
        UsageError: an unknown option, one without its value, or a value that does not fit.
    """
    parser = _Parser(skill)
    text = parser.take_leading(rest)
    subcommand = ""
    if skill.subcommands:
        subcommand, text = _take_subcommand(skill, text)
        if subcommand:
            text = parser.take_leading(text)
    if not parser.verbatim:
        text = parser.take_trailing(text)
    general_keys = {flag.key for flag in opts.flags(GeneralOptions).values()}
    mine = {k: v for k, v in parser.values.items() if k not in general_keys}
    shared = {k: v for k, v in parser.values.items() if k in general_keys}
    if parser.help:  # a required option that is missing must not stand in the way of help
        shown = opts.build(GeneralOptions, {**(general or {}), **shared})
        return Invocation(skill.name, subcommand, text, SkillOptions(), shown, help=True)
    return Invocation(
        name=skill.name,
        subcommand=subcommand,
        text=text,
        options=opts.build(skill.Options, mine),
        general=opts.build(GeneralOptions, {**(general or {}), **shared}),
        targets=tuple(parser.targets),
    )


def trusts(rest: str) -> bool:
    """Whether `--trust` stands where options stand: before the text, or after it.

    For a plugin whose own options are not known yet, since nothing of it may run before.
    """
    before, ended, _ = f" {rest} ".partition(" -- ")
    while not ended and (match := _SAVE_AT_END.search(before)):
        before = before[: match.start()]
    words = before.split()

    def is_option(word: str) -> bool:
        return word.startswith("--")

    leading = list(itertools.takewhile(is_option, words))
    trailing = [] if ended else list(itertools.takewhile(is_option, reversed(words)))
    return "--trust" in leading + trailing


def parse_general(words: list[str]) -> tuple[dict[str, object], list[str]]:
    """Take the general options off the front of command-line words.

    Returns: the options by key, and the words that are left.

    Raises:
        UsageError: an unknown option, or one without its value.
    """
    known = opts.flags(GeneralOptions)
    values: dict[str, object] = {}
    while words and words[0].startswith("--") and words[0] not in ("--", "--help", "--version"):
        name, given, value = words[0].partition("=")
        flag = known.get(name)
        if flag is None:
            hint = did_you_mean(name, known) or "`--help` lists the options."
            raise UsageError(f"there is no option {name}", hint=hint)
        words = words[1:]
        if flag.sets is not None and given:
            raise UsageError(f"{name} takes no value")
        if flag.sets is not None:
            values[flag.key] = flag.sets
        elif given:
            values[flag.key] = value
        elif words:
            values[flag.key], words = words[0], words[1:]
        else:
            raise UsageError(f"{name} needs a value")
    return values, words[1:] if words[:1] == ["--"] else words


def _take_subcommand(skill: Skill, text: str) -> tuple[str, str]:
    match = _WORD.match(text)
    if match is None or match[1] not in skill.subcommands:
        return "", text
    return match[1], text[match.end() :]


@dataclass(slots=True)
class _Parser:
    skill: Skill
    values: dict[str, object] = field(default_factory=dict)
    targets: list[Path] = field(default_factory=list)
    trailing: dict[str, list[str]] = field(default_factory=dict)
    verbatim: bool = False
    help: bool = False
    flags: dict[str, Flag] = field(init=False)

    def __post_init__(self) -> None:
        self.flags = opts.flags(self.skill.Options, GeneralOptions)

    def take_leading(self, text: str) -> str:
        """Take the options off the front; the text after them loses its leading blanks only."""
        while match := _LEADING.match(text):
            name, value = match["flag"], match["value"]
            text = text[match.end() :]
            if name == "--":
                self.verbatim = True
                return text[1:]
            if name == "-h" or name == "--help":
                self.help = True
                continue
            needs_value = name == "-o" or self._flag(name).sets is None
            if needs_value and value is None:
                following = _NEXT_VALUE.match(text)
                if following is None:
                    raise UsageError(f"{name} needs a value")
                value, text = following[1], text[following.end() :]
            self._set(name, value)
        return text.lstrip()

    def take_trailing(self, text: str) -> str:
        """Take options off the end, and one `save to` with any `-o` after it.

        A second one before that could be the text's own words, so it is refused.
        """
        targets: list[Path] = []
        saved = False
        while True:
            if match := _SAVE_AT_END.search(text):
                if saved:
                    raise UsageError(
                        f"there is another {match['how']} before the last `save to`",
                        hint="More targets follow it with -o. For a text that ends like that, "
                        "write -o PATH -- TEXT.",
                    )
                targets.insert(0, as_path(match["path"]))
                saved = match["how"] != "-o"
            elif not ((match := _FLAG_AT_END.search(text)) and self._take_flag(match)):
                if not saved and _SAVE_UNQUOTED.search(text):
                    raise UsageError("a path with blanks needs quotes", hint='save to "my file.md"')
                self.targets += targets
                for key, values in self.trailing.items():
                    self.values[key] = [*self._many(key), *values]
                return text
            text = text[: match.start()]

    def _take_flag(self, match: re.Match[str]) -> bool:
        """Take the option at the end of the text; False if what stands there is text."""
        name, value = match["flag"], match["value"]
        if name in ("-h", "--help"):
            self.help = self.help or value is None
            return value is None
        flag = self._flag(name)
        if flag.sets is None and value is None:
            raise UsageError(f"{name} needs a value")
        if flag.sets is not None and value is not None:
            raise UsageError(
                f"{name} takes no value, and options stand before or after the text",
                hint="If it belongs to the text, put `--` before the text.",
            )
        if flag.many:  # the last one is met first
            self.trailing.setdefault(flag.key, []).insert(0, unquote(value or ""))
        else:
            self._set(name, value)
        return True

    def _flag(self, name: str) -> Flag:
        if name not in self.flags:
            raise opts.unknown(name, self.flags, self.skill.name)
        return self.flags[name]

    def _many(self, key: str) -> list[object]:
        values = self.values.get(key, [])
        return values if isinstance(values, list) else []

    def _set(self, name: str, value: str | None) -> None:
        if name == "-o":
            self.targets.append(as_path(value or ""))
            return
        flag = self._flag(name)
        if flag.key in self.values and not flag.many:
            raise UsageError(f"{name} is given twice")
        if flag.sets is not None:
            if value is not None:
                raise UsageError(f"{name} takes no value")
            self.values[flag.key] = flag.sets
        elif flag.many:
            self.values[flag.key] = [*self._many(flag.key), unquote(value or "")]
        else:
            self.values[flag.key] = unquote(value or "")


def unquote(value: str) -> str:
    """The value without the one pair of quotes around it, if it has one."""
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def as_path(value: str) -> Path:
    """The path of a target, from a line.

    Raises:
        UsageError: there is none, or its home folder does not exist.
    """
    path = unquote(value)
    if not path:
        raise UsageError("save to needs a path")
    try:
        return Path(path).expanduser()
    except RuntimeError as exc:  # there is no such user
        raise UsageError(f"{exc}".removesuffix("."), where=path) from exc
