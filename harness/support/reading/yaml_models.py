"""Reading YAML files into pydantic models; every error names the file and line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
import yaml.reader
from pydantic import BaseModel, ValidationError

from harness.errors import HarnessError, UsageError
from harness.support.reading import bounded_yaml
from harness.support.reading.bounded_files import read_text

M = TypeVar("M", bound=BaseModel)
MAX_BYTES = 1_000_000
"""Maximum size of a file."""
MAX_SHOWN = 200
"""Maximum characters of a message that come from the file."""


def load(path: Path, model: type[M], error: type[HarnessError] = UsageError) -> M:
    """Read `path` and validate it as `model`.

    Raises:
        error: the file cannot be read, is not YAML, has a duplicate key, exceeds a limit, or does
            not match the model; the message names the first line at fault and the number of other
            errors.
    """
    root, found = _parsed(path, error)
    for key, line in repeated_keys(root):
        raise error(f"duplicate key {key[:MAX_SHOWN]!r}", where=f"{path}:{line}")
    try:
        return model.model_validate(found if found is not None else {})
    except ValidationError as exc:
        raise _validation_error(exc, root, path, error) from exc


def data(path: Path, error: type[HarnessError] = UsageError) -> Any:
    """Return the content of a file as it is, None if it is empty.

    Raises:
        error: the file cannot be read, is not YAML or exceeds a limit.
    """
    return _parsed(path, error)[1]


def _parsed(path: Path, error: type[HarnessError]) -> tuple[yaml.Node | None, Any]:
    try:
        text = read_text(path, MAX_BYTES)
        return bounded_yaml.parse(text)
    except OSError as exc:
        raise error(f"cannot be read ({exc.strerror})", where=str(path)) from exc
    except UnicodeDecodeError as exc:
        raise error("is not UTF-8 text", where=str(path)) from exc
    except yaml.YAMLError as exc:
        raise _syntax_error(exc, path, text, error) from exc


def where(path: Path, *loc: str | int) -> str:
    """Return "FILE:LINE" of a place in a file that `load` has read."""
    root, _ = _parsed(path, UsageError)
    return f"{path}:{_line(root, loc)}"


def repeated_keys(node: yaml.Node | None) -> Iterator[tuple[str, int]]:
    """Yield the duplicate keys of all mappings, each with its line; PyYAML ignores duplicates."""
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from repeated_keys(child)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if str(key.value) in seen:
            yield str(key.value), key.start_mark.line + 1
        seen.add(str(key.value))
        yield from repeated_keys(value)


def _syntax_error(
    exc: yaml.YAMLError, path: Path, text: str, error: type[HarnessError]
) -> HarnessError:
    if (invalid := yaml.reader.Reader.NON_PRINTABLE.search(text)) is not None:
        line = text.count("\n", 0, invalid.start()) + 1
        return error(f"contains the invalid character {invalid[0]!a}", where=f"{path}:{line}")
    mark = getattr(exc, "problem_mark", None)
    # libyaml places what is missing at the end on the line after the last one.
    where = f"{path}:{min(mark.line + 1, len(text.splitlines()))}" if mark else str(path)
    problem = (getattr(exc, "problem", None) or str(exc).partition("\n")[0])[:MAX_SHOWN]
    if isinstance(exc, bounded_yaml.Excess):
        return error(problem, where=where)
    return error(f"is not YAML: {problem}", where=where)


def _validation_error(
    exc: ValidationError, root: yaml.Node | None, path: Path, error: type[HarnessError]
) -> HarnessError:
    # A misspelt key causes two errors, and the one about the key itself is the clearer one.
    first, *rest = sorted(exc.errors(), key=lambda e: e["type"] != "extra_forbidden")
    field = ".".join(str(part) for part in first["loc"])[:MAX_SHOWN]
    more = f" (and {len(rest)} more)" if rest else ""
    problem = "unknown key" if first["type"] == "extra_forbidden" else first["msg"][:MAX_SHOWN]
    message = f"{field}: {problem}{more}" if field else f"{problem}{more}"
    return error(message, where=f"{path}:{_line(root, first['loc'])}")


def _line(node: yaml.Node | None, loc: Sequence[Any]) -> int:
    """Return the line of `loc`, or of its innermost part that is in the file."""
    if node is None:
        return 1
    line: int = node.start_mark.line + 1
    if not loc:
        return line
    head, *tail = loc
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(head):
                here: int = key.start_mark.line + 1
                return max(here, _line(value, tail)) if tail else here
    if isinstance(node, yaml.SequenceNode) and isinstance(head, int) and head < len(node.value):
        return _line(node.value[head], tail)
    return line
