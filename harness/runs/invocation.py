"""A parsed use of a command, and the line that a user would type for it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.api import options as opts
from harness.api.options import GeneralOptions
from harness.api.skill import Skill, SkillOptions
from harness.errors import UsageError
from harness.support.reading.text_input import unquote

_LIKE_OPTIONS = re.compile(r"\A\s|(?:\A|\s)(?:-|save\s+to\s)|\s\Z", re.IGNORECASE)
_BARE = re.compile(r"(?!--)[^\s\"'][^\s]*")


@dataclass(frozen=True, slots=True)
class Invocation:
    """One use of a command: its text, options, general options and targets.

    Attributes:
        folders: the targets that are written with a slash at the end.
        joins_stdin: what is piped in follows the text.
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
    """Return the line that a user would type for an invocation, for display and the run log."""
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
    """Return a value as it is written in a line: in quotes if it has blanks or quotes."""
    if _BARE.fullmatch(value):
        return value
    return f"'{value}'" if '"' in value else f'"{value}"'


def without_quotes(skill: Skill, subcommand: str, text: str) -> str:
    """Return the text of a line without the quotes around all of it, which are not part of it."""
    if subcommand in skill.phrases and text.lstrip().startswith('"'):
        return text
    bare = unquote(text.strip())
    return text if bare == text.strip() else bare


def as_targets(written: Iterable[str]) -> tuple[tuple[Path, ...], frozenset[Path]]:
    """Return targets, and those of them that have a slash at the end, which a path does not keep.

    Raises:
        UsageError: as `as_path`.
    """
    paths = {value: as_path(value) for value in written}
    folders = (path for value, path in paths.items() if unquote(value).endswith(("/", os.sep)))
    return tuple(paths.values()), frozenset(folders)


def as_path(value: str) -> Path:
    """Return the path of a target or an input file, unquoted and with `~` expanded.

    Raises:
        UsageError: it is empty, or its home folder does not exist.
    """
    path = unquote(value)
    if not path:
        raise UsageError("save to needs a path")
    try:
        return Path(path).expanduser()
    except RuntimeError as exc:  # there is no such user
        raise UsageError(f"{exc}".removesuffix("."), where=path) from exc
