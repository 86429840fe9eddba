"""The content of a SKILL.md, which `harness.agent_skills.skill_md` parses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = "SKILL.md"
NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
"""Matches the name of a skill, which is also its slash command."""
_ON = ("true", "yes", "on", "1")
_OFF = ("false", "no", "off", "0")


@dataclass(frozen=True, slots=True)
class SkillFile:
    """A usable SKILL.md.

    Attributes:
        name: the slash command. It is the name in the front matter, or the name of the folder if
            the name in the front matter cannot be a command. If neither name can be a command,
            `skill_md.slug` makes a command from the name in the front matter, or from the name of
            the folder if the front matter has no name.
        description: what the skill does and when to use it, in one line.
        fields: the fields of the front matter; all scalars are text.
        problems: deviations from the specification.
    """

    path: Path
    name: str
    description: str
    fields: Mapping[str, Any]
    problems: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def for_users(self) -> bool:
        """True if the user may call the skill: `user-invocable` is not false."""
        return self._switch("user-invocable") not in _OFF

    @property
    def for_models(self) -> bool:
        """True if a model may use the skill: `disable-model-invocation` is not true."""
        return self._switch("disable-model-invocation") not in _ON

    def _switch(self, key: str) -> str:
        return str(self.fields.get(key, "")).strip().lower()
