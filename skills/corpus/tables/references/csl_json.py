"""Read and write CSL-JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.support.reading.text_input import place, shown
from skills.corpus.tables.references.item import Record
from skills.corpus.tables.references.notes import with_note
from skills.corpus.tables.references.text import decoded_lines

_HINT = 'CSL-JSON is a list of objects with "type" and "title".'


def read(path: Path) -> Iterator[Record]:
    """Yield the items of a file, and the error of each that is not one.

    Raises:
        InputError: it is not JSON, or not a list of items.
    """
    for number, found in enumerate(_items(path), start=1):
        if isinstance(found, dict) and _is_item(found):
            yield Record(number, found)
        else:
            error = InputError(
                "is not an item of CSL-JSON", where=place(path, "item", number), hint=_HINT
            )
            yield Record(number, error=error)


def noted(path: Path, take: Callable[[int], str]) -> Iterator[str]:
    """Yield the items, as JSON in pieces, with a note in each that has one.

    Args:
        take: returns the note of the item with this number.
    """
    items = _items(path)
    for number, item in enumerate(items, start=1):
        if isinstance(item, dict) and (note := take(number)):
            before = item.get("note")
            item["note"] = with_note(before if isinstance(before, str) else "", note)
    return as_json(items)


def as_json(items: Iterable[Any]) -> Iterator[str]:
    """Yield a list of items as JSON, in pieces."""
    before = "[\n"
    for item in items:
        yield before + json.dumps(item, ensure_ascii=False, indent=2)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _items(path: Path) -> list[Any]:
    try:
        found = json.loads("".join(decoded_lines(path)))
    except json.JSONDecodeError as exc:
        raise InputError(
            f"is not JSON ({exc.msg})",
            where=f"{place(path, 'line', exc.lineno)}, column {exc.colno}",
            hint=_HINT,
        ) from exc
    except (ValueError, RecursionError) as exc:
        raise InputError(f"cannot be read as JSON ({exc})", where=shown(path), hint=_HINT) from exc
    if isinstance(found, dict):  # as the API of Zotero answers
        found = found.get("items")
    if not isinstance(found, list) or not any(map(_is_item, found)):
        raise InputError("is not CSL-JSON", where=shown(path), hint=_HINT)
    return found


def _is_item(found: Any) -> bool:
    return isinstance(found, dict) and isinstance(found.get("type"), str)
