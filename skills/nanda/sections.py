"""Moves that were found in a section of the paper, since its abstract does not state them.

A stored annotation has them under "sections": {move: {"section": the heading, "page": its number,
"text": the move, "source": the sentence it comes from, "support": the share of its content words in
the section, "unsupported": numbers and names that the section does not have, if any}}. The moves
themselves, their anchors and their checks are about the abstract alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def from_sections(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the moves of a record that sections state, each with its section after it."""
    stored = record.get("sections")
    found = stored.items() if isinstance(stored, Mapping) else ()
    return {move: _shown(one) for move, one in found if _is_entry(one)}


def _is_entry(stored: object) -> bool:
    return isinstance(stored, Mapping) and isinstance(stored.get("text"), str)


def _shown(entry: Mapping[str, Any]) -> str:
    section, page = entry.get("section", ""), entry.get("page", "")
    unknown = entry.get("unsupported")
    doubt = f"; not in it: {', '.join(map(str, unknown))}" if isinstance(unknown, list) else ""
    return f"{entry['text']} (section {section}, p. {page}{doubt})"
