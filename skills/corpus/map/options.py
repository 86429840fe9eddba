"""The options of /corpus map, and the files it saves."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from harness.api.skill import SkillOptions
from harness.errors import UsageError

PICTURES = (".svg", ".png")
SAVES = (".html", ".json", *PICTURES)


class MapOptions(SkillOptions):
    move: tuple[str, ...] = Field(
        (), description="clusters and timeline of this move, without a matrix; may be repeated"
    )
    rows: str | None = Field(None, description="the move of the rows (default: method)")
    columns: str | None = Field(None, description="the move of the columns (default: scope)")
    clusters: int | None = Field(
        None, ge=2, le=30, description="clusters of each move (default: chosen, 12 at most)"
    )


def check_target(target: Path, subcommand: str) -> None:
    """Check that a target is not of a kind that only another subcommand of /corpus saves.

    Raises:
        UsageError: it is.
    """
    suffix, is_map = target.suffix.lower(), subcommand == "map"
    if (is_map and suffix not in SAVES) or (not is_map and suffix in PICTURES):
        raise UsageError(
            f"/corpus {subcommand} saves no {suffix} file",
            where=str(target),
            hint=f"A map is saved as {', '.join(SAVES)}."
            if is_map
            else "`/corpus map` draws pictures.",
        )
