"""Reading YAML files into pydantic models; every error names the file and line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
import yaml.constructor
import yaml.reader
from pydantic import BaseModel, ValidationError

from harness.errors import HarnessError, UsageError

M = TypeVar("M", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """Adds the position to errors in values, such as an invalid date or `!!int abc`."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError) as exc:
            problem = f"{str(node.value)[:40]!r} is not a valid {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from exc


def load(path: Path, model: type[M], error: type[HarnessError] = UsageError) -> M:
    """Read `path` and validate it as `model`.

    Raises:
        error: the file cannot be read, is not YAML, has a duplicate key, or does not match the
            model; the message names the first line at fault and the number of other errors.
    """
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.load(text, _Loader)  # noqa: S506  a subclass of SafeLoader
    except OSError as exc:
        raise error(f"cannot be read ({exc.strerror})", where=str(path)) from exc
    except UnicodeDecodeError as exc:
        raise error("is not UTF-8 text", where=str(path)) from exc
    except yaml.YAMLError as exc:
        raise _syntax_error(exc, path, text, error) from exc
    except RecursionError as exc:
        raise error("is nested too deeply", where=str(path)) from exc
    try:
        for key, line in repeated_keys(root):
            raise error(f"duplicate key {key!r}", where=f"{path}:{line}")
        return model.model_validate(data if data is not None else {})
    except RecursionError as exc:
        raise error("is nested too deeply, or contains itself", where=str(path)) from exc
    except ValidationError as exc:
        raise _validation_error(exc, root, path, error) from exc


def where(path: Path, *loc: str | int) -> str:
    """Return "FILE:LINE" of a place in a file that `load` has read."""
    root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
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
    if isinstance(exc, yaml.reader.ReaderError):
        line = text.count("\n", 0, exc.position) + 1
        return error(
            f"contains the invalid character {text[exc.position]!a}", where=f"{path}:{line}"
        )
    mark = getattr(exc, "problem_mark", None)
    where = f"{path}:{mark.line + 1}" if mark else str(path)
    return error(f"is not YAML: {getattr(exc, 'problem', None) or exc}", where=where)


def _validation_error(
    exc: ValidationError, root: yaml.Node | None, path: Path, error: type[HarnessError]
) -> HarnessError:
    # A misspelt key causes two errors, and the one about the key itself is the clearer one.
    first, *rest = sorted(exc.errors(), key=lambda e: e["type"] != "extra_forbidden")
    field = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(rest)} more)" if rest else ""
    problem = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
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
