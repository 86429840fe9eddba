"""The front matter of a SKILL.md: YAML in which every scalar is text, as it is written.

So `version: 1.0` is "1.0" and `name: on` is "on", as in the specification's own reader. What breaks
the rules of YAML is an error, but for two faults that others' files have often and that leave no
doubt of what was meant: a value with ": " in it without quotes, and a key that stands twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.errors import UsageError
from harness.support.yaml_models import repeated_keys

FIRST_LINE = 2
"""Of the front matter within its file."""
_PLAIN_VALUE = re.compile(r"""^([A-Za-z][\w-]*):[ \t]+([^\s"'\[{|>&*!#%@`].*: .*)$""", re.M)


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """What stands between the two lines of ---.

    Attributes:
        problems: the faults that were overlooked.
    """

    path: Path
    fields: Mapping[str, Any]
    lines: Mapping[str, int]
    problems: tuple[str, ...] = ()

    def text(self, key: str) -> str:
        """The field's text without blanks around it; "" where there is none."""
        value = self.fields.get(key)
        return value.strip() if isinstance(value, str) else ""

    def kind(self, key: str) -> str | None:
        """What the field is where it is no text, in a word."""
        value = self.fields.get(key, "")
        if isinstance(value, str):
            return None
        return "list" if isinstance(value, list) else "mapping"

    def where(self, key: str) -> str:
        line = self.lines.get(key)
        return f"{self.path}:{line}" if line else str(self.path)


def parse(text: str, path: Path, *, lenient: bool) -> FrontMatter:
    """Parse the text between the two lines of ---.

    Raises:
        UsageError: it is no YAML, or no mapping.
    """
    problems: list[str] = []
    try:
        root, fields = _load(text, path)
    except UsageError:
        quoted = _PLAIN_VALUE.sub(lambda m: f"{m[1]}: {json.dumps(m[2].rstrip())}", text)
        if not lenient or quoted == text:
            raise
        root, fields = _load(quoted, path)
        problems += [
            f"the {m[1]} has ': ' in it and no quotes" for m in _PLAIN_VALUE.finditer(text)
        ]
    for key, _ in repeated_keys(root):
        problems.append(f"{key!r} stands twice; the last one counts")
    lines = {key.value: key.start_mark.line + FIRST_LINE for key, _ in root.value} if root else {}
    return FrontMatter(path, fields, lines, tuple(problems))


def _load(text: str, path: Path) -> tuple[yaml.MappingNode | None, dict[str, Any]]:
    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
        fields = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  it makes text, never objects
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = mark.line + FIRST_LINE if mark else 1
        problem = getattr(exc, "problem", None) or str(exc).partition("\n")[0]
        raise UsageError(f"front matter is not YAML: {problem}", where=f"{path}:{line}") from exc
    except (RecursionError, TypeError) as exc:  # held by itself, or a key that is no text
        raise UsageError("front matter is no plain mapping", where=str(path)) from exc
    if root is None:
        return None, {}
    if not isinstance(root, yaml.MappingNode) or not all(isinstance(k, str) for k in fields):
        raise UsageError("front matter is no mapping", where=str(path))
    return root, fields
