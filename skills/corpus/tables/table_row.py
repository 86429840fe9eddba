"""A row of a table of papers, as it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from harness.errors import InputError
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of a table: a paper, and its annotation where the table has one.

    Attributes:
        where: the row for messages: "papers.csv, line 7" (its first line), "papers.parquet, row 3".
        paper: its abstract is "" if the row has none.
        moves: the moves that have a column, as the file writes them; "" for an empty cell.
        anchors, confidence, suggestions, sections, provenance: of the stored annotation, if the row
            has them.
        error: in a part of a job, why the paper has no annotation
            (`skills.annotate.parquet_output.parts_folder`).
        repeat: an earlier row without an error has the same id and the same abstract.
    """

    where: str
    paper: Paper
    moves: Mapping[str, str] = field(default_factory=dict)
    _: KW_ONLY
    anchors: Mapping[str, Any] | None = None
    confidence: Mapping[str, Any] | None = None
    suggestions: Mapping[str, Any] | None = None
    sections: Mapping[str, Any] | None = None
    provenance: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    repeat: bool = False

    @property
    def has_moves(self) -> bool:
        return any(text.strip() for text in self.moves.values())

    @property
    def abstract_sha256(self) -> str:
        """The digest of the annotated abstract according to the provenance, "" if unknown."""
        made_from = (self.provenance or {}).get("input")
        return str(made_from.get("sha256", "")) if isinstance(made_from, dict) else ""

    def valid_moves(self, framework: Framework) -> dict[str, str]:
        """Return the moves as they are stored.

        Raises:
            InputError: a move does not fit, or the annotation was made with another framework.
        """
        made_with = (self.provenance or {}).get("framework")
        name = made_with.get("name") if isinstance(made_with, dict) else None
        if isinstance(name, str) and name != framework.name:
            raise InputError(
                f"was made with the framework {name}, not {framework.name}",
                where=self.where,
                hint="`--framework FILE` selects the one it was made with.",
            )
        return framework.valid_moves(self.moves, self.where)
