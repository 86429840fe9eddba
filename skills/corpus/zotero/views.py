"""Show what was, or would be, written into Zotero."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from skills.corpus.zotero.plan import ACTIONS, Step
from skills.corpus.zotero.record import Entry
from skills.nanda.text import counted, flatten

LISTED = 40
"""Notes that are shown one by one; `--json` has all."""
_TITLE = 60


def preview(planned: Sequence[Step]) -> str:
    """Return how many notes of each kind there are, and the first ones with their items."""
    counts = Counter(step.action for step in planned)
    total = [f"{counts[action]:,} {words}" for action, words in ACTIONS.items() if counts[action]]
    shown = [step for step in planned if step.action != "unchanged"]
    head = f"{counted(len(planned), 'note')}: {', '.join(total)}"
    return "\n".join([head, *_first(map(_line, shown))])


def pushed(planned: Sequence[Step], failed: Mapping[str, str], *, dry_run: bool) -> str:
    """Return what was written, or would be."""
    if dry_run:
        return f"{preview(planned)}\nNothing was written: --dry-run."
    due = [step for step in planned if step.data]
    done = [step for step in due if step.key not in failed]
    counts = Counter(step.action for step in done)
    left = Counter(step.action for step in planned if not step.data)
    made = (
        f"Created {counted(counts['create'], 'note')} and updated {counts['update']:,} in Zotero."
    )
    lines = [made if due else "There is nothing to write."]
    lines += [f"{count:,} {ACTIONS[action]}" for action, count in left.items()]
    lines += _first(
        f"failed   {_named(step)}: {failed[step.key]}" for step in due if step.key in failed
    )
    if done:
        lines.append("`/corpus zotero-undo` removes them.")
    return "\n".join(lines)


def undone(deleted: Sequence[Entry], kept: Sequence[tuple[Entry, str]], *, dry_run: bool) -> str:
    """Return which notes were deleted, or would be, and which stay."""
    verb = "Would delete" if dry_run else "Deleted"
    lines = [f"{verb} {counted(len(deleted), 'note')} in Zotero."]
    lines += _first(f"kept     {entry.library}/items/{entry.note}: {why}" for entry, why in kept)
    return "\n".join(lines)


def _first(lines: Iterable[str]) -> list[str]:
    """Return the first `LISTED` lines, and how many more there are."""
    known = list(lines)
    more = [f"... and {len(known) - LISTED:,} more"] * (len(known) > LISTED)
    return [*known[:LISTED], *more]


def _line(step: Step) -> str:
    tags = ", ".join(step.wanted.note.tags) if step.data else ""
    return f"{step.action:<9}{_named(step)}{'  ' * bool(tags)}{tags}"


def _named(step: Step) -> str:
    title = flatten(step.wanted.title)
    short = title if len(title) <= _TITLE else f"{title[: _TITLE - 4]} ..."
    return f"{step.wanted.item}  {short}"
