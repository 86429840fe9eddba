"""An action that a model requests, as the user sees it before allowing it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["read", "write", "run", "mcp", "activate", "instructions"]
_VERBS: dict[Kind, str] = {
    "read": "read",
    "write": "write",
    "run": "run",
    "mcp": "call",
    "activate": "use the skill",
    "instructions": "follow the instructions in",
}
LINES = 1000
"""Lines of a detail that are shown."""


@dataclass(frozen=True, slots=True)
class Permission:
    """Something a model wants to do.

    Attributes:
        subject: the absolute path, the whole command, or the name of the tool or skill.
        detail: what the user has to see to decide, such as a diff.
        skill: the skill on whose instructions the model acts, or "".
        folder: the folder of that skill, whose files its commands may name.
    """

    kind: Kind
    subject: str
    detail: str = ""
    skill: str = ""
    folder: Path | None = None

    def __str__(self) -> str:
        """Return it as the end of a sentence: "run `git diff`"."""
        subject = visible(self.subject)
        return f"{_VERBS[self.kind]} {f'`{subject}`' if self.kind == 'run' else subject}"

    @property
    def who(self) -> str:
        return f"/{self.skill}" if self.skill else "the model"

    def shown_detail(self) -> Iterator[str]:
        """Yield the lines of the detail; the last one states how many are missing, if any are."""
        lines = self.detail.splitlines()
        for line in lines[:LINES]:
            yield visible(line.replace("\t", "    "))
        if len(lines) > LINES:
            yield f"... ({len(lines) - LINES:,} more lines)"


def visible(text: str) -> str:
    """Return text with line feeds and invisible characters as escapes, so that it hides nothing."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
