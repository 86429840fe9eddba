"""Completion in the session: slash commands, then their subcommands, names and options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from harness.api.options import Flag, GeneralOptions, flags
from harness.api.skill import Skill
from harness.plugins.catalogue import Catalogue


class LineCompleter(Completer):
    """Completes the word before the cursor.

    Args:
        catalogue: asked at every key, since /reload makes another one.
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
                *((n, f"is disabled; /skills enable {n}") for n in catalogue.disabled),
                *((n, "is a plugin that you have not trusted") for n in catalogue.untrusted),
            ]
            yield from _matching(before, sorted((f"/{n}", about) for n, about in rows))
        elif (found := catalogue.skills.get(name[1:])) is not None:
            yield from _arguments(found.skill, rest)
            *said, word = rest.split(" ")
            if not word.startswith("-"):
                yield from _matching(word, _names(catalogue, [name[1:], *said]))


def _skills(catalogue: Catalogue) -> list[tuple[str, str]]:
    return [(name, found.summary) for name, found in catalogue.skills.items()]


def _names(catalogue: Catalogue, said: Sequence[str]) -> list[tuple[str, str]]:
    """The names that those of the harness's own commands take that are about skills."""
    waiting = [(name, file.description) for name, file in catalogue.untrusted.items()]
    match said:
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
    """Options anywhere, subcommands as the first word, choices after their option."""
    words = rest.split(" ")
    word = words[-1]
    known = flags(skill.Options, GeneralOptions)
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


def _about(flag: Flag) -> str:
    return f"{flag.metavar}  {flag.help}".strip()


def _matching(word: str, rows: Iterable[tuple[str, str]]) -> Iterator[Completion]:
    """The rows that hold the word: an exact match first, then those that begin with it."""

    def rank(row: tuple[str, str]) -> tuple[bool, bool]:
        return row[0] != word, not row[0].startswith(word)

    held = [row for row in rows if word.lstrip("/-") in row[0]]
    for text, about in sorted(held, key=rank):
        yield Completion(text, start_position=-len(word), display_meta=about)
