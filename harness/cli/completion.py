"""Completion in the session: slash commands, then subcommands, names and options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from harness.plugins.catalogue import Catalogue

if TYPE_CHECKING:
    from harness.api.options import Flag
    from harness.api.skill import Skill


class LineCompleter(Completer):
    """Complete the word before the cursor.

    Args:
        catalogue: called at every key, since /reload replaces the catalogue.
    """

    def __init__(self, catalogue: Callable[[], Catalogue]) -> None:
        self._catalogue = catalogue

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        before = document.text_before_cursor
        if not before.startswith("/"):
            return
        name, blank, rest = before.partition(" ")
        catalogue = self._catalogue()
        if not blank:
            rows = [
                *_skills(catalogue),
                *((n, f"disabled; /skills enable {n}") for n in catalogue.disabled),
                *((n, "a plugin that is not trusted") for n in catalogue.untrusted),
            ]
            yield from _matching(before, sorted((f"/{n}", about) for n, about in rows))
        elif (found := catalogue.skills.get(name[1:])) is not None:
            yield from _arguments(found.skill, rest)
            *before_word, word = rest.split(" ")
            if not word.startswith("-"):
                yield from _matching(word, _names(catalogue, [name[1:], *before_word]))


def _skills(catalogue: Catalogue) -> list[tuple[str, str]]:
    return [(name, found.summary) for name, found in catalogue.skills.items()]


def _names(catalogue: Catalogue, words: Sequence[str]) -> list[tuple[str, str]]:
    """Return the names of skills that /help and /skills take as text."""
    waiting = [(name, file.description) for name, file in catalogue.untrusted.items()]
    match words:
        case ["help"]:
            return _skills(catalogue)
        case ["skills", "trust"]:
            return waiting
        case ["skills", "disable"]:
            loaded = [row for row in _skills(catalogue) if row[0] not in catalogue.framework]
            return [*loaded, *waiting, *((f.name, f.reason) for f in catalogue.failures)]
        case ["skills", "enable"]:
            return list(catalogue.disabled.items())
    return []


def _arguments(skill: Skill, rest: str) -> Iterator[Completion]:
    """Complete options anywhere, subcommands as the first word, choices after their option."""
    words = rest.split(" ")
    word = words[-1]
    known = _flags(skill, words[0])
    name, equals, _ = word.partition("=")
    if len(words) > 1 and words[-2] in known and known[words[-2]].choices:
        yield from _matching(word, [(choice, "") for choice in known[words[-2]].choices])
    elif equals and name in known:
        yield from _matching(word, [(f"{name}={choice}", "") for choice in known[name].choices])
    elif word.startswith("-"):
        unused = (f for f in known.values() if f.many or f.name not in words[:-1])
        yield from _matching(word, [(f.name, _about(f)) for f in unused])
    elif len(words) == 1:
        yield from _matching(word, list(skill.subcommands.items()))


def _flags(skill: Skill, subcommand: str) -> dict[str, Flag]:
    """Return the options that apply to the subcommand, or all of them if there is none."""
    from harness.api.options import GeneralOptions, flags, flags_for

    return flags_for(skill, subcommand) | flags(GeneralOptions)


def _about(flag: Flag) -> str:
    return f"{flag.metavar}  {flag.help}".strip()


def _matching(word: str, rows: Iterable[tuple[str, str]]) -> Iterator[Completion]:
    """Yield the rows that contain the word: exact matches first, then prefixes."""

    def rank(row: tuple[str, str]) -> tuple[bool, bool]:
        return row[0] != word, not row[0].startswith(word)

    found = [row for row in rows if word.lstrip("/-") in row[0]]
    for text, about in sorted(found, key=rank):
        yield Completion(text, start_position=-len(word), display_meta=about)
