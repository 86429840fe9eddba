"""YAML into pydantic, with every complaint naming file and line."""

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
    """Says of every value where it stands, also of those that the parser itself breaks over: a day
    that does not exist, `!!int abc`."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError) as exc:
            problem = f"{str(node.value)[:40]!r} is no {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from exc


def load(path: Path, model: type[M], error: type[HarnessError] = UsageError) -> M:
    """Read `path` as one `model`.

    Raises:
        error: the file cannot be read, is no YAML, repeats a key, or does not fit the model; the
            message names the first line at fault and counts the rest.
    """
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.load(text, _Loader)  # noqa: S506  it is a safe one
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
            raise error(f"{key!r} stands twice", where=f"{path}:{line}")
        return model.model_validate(data if data is not None else {})
    except RecursionError as exc:
        raise error("holds itself, by an anchor or by depth", where=str(path)) from exc
    except ValidationError as exc:
        raise _misfit(exc, root, path, error) from exc


def where(path: Path, *loc: str | int) -> str:
    """ "FILE:LINE" of a place in a file that `load` has read."""
    root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    return f"{path}:{_line(root, loc)}"


def _syntax_error(
    exc: yaml.YAMLError, path: Path, text: str, error: type[HarnessError]
) -> HarnessError:
    if isinstance(exc, yaml.reader.ReaderError):
        line = text.count("\n", 0, exc.position) + 1
        return error(f"holds the character {text[exc.position]!a}", where=f"{path}:{line}")
    mark = getattr(exc, "problem_mark", None)
    where = f"{path}:{mark.line + 1}" if mark else str(path)
    return error(f"is not YAML: {getattr(exc, 'problem', None) or exc}", where=where)


def repeated_keys(node: yaml.Node | None) -> Iterator[tuple[str, int]]:
    """The keys that stand twice in one mapping, each with its line of the text.

    YAML forbids that, yet the parser lets the last one win.
    """
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


def _misfit(
    exc: ValidationError, root: yaml.Node | None, path: Path, error: type[HarnessError]
) -> HarnessError:
    # A misspelt key causes two complaints, and the one about the key itself tells more.
    first, *rest = sorted(exc.errors(), key=lambda e: e["type"] != "extra_forbidden")
    field = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(rest)} more)" if rest else ""
    said = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
    message = f"{field}: {said}{more}" if field else f"{first['msg']}{more}"
    return error(message, where=f"{path}:{_line(root, first['loc'])}")


def _line(node: yaml.Node | None, loc: Sequence[Any]) -> int:
    """The line of `loc`, or of the innermost part of it that stands in the file."""
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
