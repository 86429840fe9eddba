"""Completion in the session: slash commands, then their subcommands and options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from harness.options import Flag, GeneralOptions, flags
from harness.skills import Skill


class LineCompleter(Completer):
    """Completes the word before the cursor.

    Args:
        skills: asked at every key, since /reload changes them.
        disabled: the same for the names that are disabled.
    """

    def __init__(
        self,
        skills: Callable[[], Mapping[str, Skill]],
        disabled: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._skills = skills
        self._disabled = disabled

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        before = document.text_before_cursor
        if not before.startswith("/"):
            return
        name, blank, rest = before.partition(" ")
        skills = self._skills()
        if not blank:
            rows = [(f"/{n}", skills[n].summary) for n in skills]
            rows += [(f"/{n}", f"is disabled; /skills enable {n}") for n in self._disabled()]
            yield from _matching(before, sorted(rows))
        elif name[1:] in skills:
            yield from _arguments(skills[name[1:]], rest)


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
