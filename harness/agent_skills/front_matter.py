"""The front matter of a SKILL.md: YAML in which every scalar is text, exactly as written.

`version: 1.0` is "1.0" and `name: on` is "on", as in the specification's own reader. Invalid YAML
is an error, except for two frequent faults whose meaning is clear: a duplicate key, and a value
that has to be quoted and is not, such as `Use for: x`, `[a] [b]` or `**/*.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError

FIRST_LINE = 2
"""Line number of the front matter within its file."""
_UNQUOTED = re.compile(
    r"""^([A-Za-z][\w-]*):[ \t]+([^\s"'\[{|>&*!#%@`].*: .*|\[[^\]\n]*\][ \t]*[^\s#].*|[*@%`].*)$""",
    re.M,
)


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """The parsed text between the two lines of `---`.

    Attributes:
        lines: the line number of each field.
        problems: the faults that were tolerated.
    """

    path: Path
    fields: Mapping[str, Any]
    lines: Mapping[str, int]
    problems: tuple[str, ...] = ()

    def text(self, key: str) -> str:
        """Return the field's text, stripped, or "" if there is none."""
        value = self.fields.get(key)
        return value.strip() if isinstance(value, str) else ""

    def kind(self, key: str) -> str | None:
        """Return "list" or "mapping" for a field that is not text, else None."""
        value = self.fields.get(key, "")
        if isinstance(value, str):
            return None
        return "list" if isinstance(value, list) else "mapping"

    def where(self, key: str) -> str:
        line = self.lines.get(key)
        return f"{self.path}:{line}" if line else str(self.path)


def parse(text: str, path: Path, *, lenient: bool) -> FrontMatter:
    """Parse the text between the two lines of `---`.

    Raises:
        UsageError: it is not a YAML mapping.
    """
    from harness.support.reading.yaml_models import repeated_keys

    problems: list[str] = []
    try:
        root, fields = _load(text, path)
    except UsageError:
        quoted = _UNQUOTED.sub(lambda m: f"{m[1]}: {json.dumps(m[2].rstrip())}", text)
        if not lenient or quoted == text:
            raise
        root, fields = _load(quoted, path)
        problems += [_unquoted(m[1], m[2]) for m in _UNQUOTED.finditer(text)]
    for key, _ in repeated_keys(root):
        problems.append(f"duplicate key {key[:80]!r}; the last one is used")
    lines = {key.value: key.start_mark.line + FIRST_LINE for key, _ in root.value} if root else {}
    return FrontMatter(path, fields, lines, tuple(problems))


def _unquoted(key: str, value: str) -> str:
    what = f"begins with {value[0]!r}" if value[0] in "[*@%`" else "contains ': '"
    return f"{key} {what} and is not quoted"


def _load(text: str, path: Path) -> tuple[Any, dict[str, Any]]:
    """Return the root node, or None for empty text, and the fields."""
    import yaml

    from harness.support.reading import bounded_yaml

    try:
        root, fields = bounded_yaml.parse(text, bounded_yaml.TextLoader)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = mark.line + FIRST_LINE if mark else 1
        problem = getattr(exc, "problem", None) or str(exc).partition("\n")[0]
        if not isinstance(exc, bounded_yaml.Excess):
            problem = f"is not YAML: {problem}"
        raise UsageError(f"front matter {problem}", where=f"{path}:{line}") from exc
    except TypeError as exc:  # a key that is a list
        raise UsageError("front matter is not a plain mapping", where=str(path)) from exc
    if root is None:
        return None, {}
    if not isinstance(root, yaml.MappingNode) or not all(isinstance(k, str) for k in fields):
        raise UsageError("front matter is not a mapping", where=str(path))
    return root, fields
