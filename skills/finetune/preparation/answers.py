"""Check before training that completions have the form that `/annotate` reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from harness.errors import InputError
from skills.finetune.preparation.examples import Example
from skills.nanda.forms import TaggedForm, UnusableReply
from skills.nanda.framework import CLOSE_TAG, Framework


def check_answers(rows: Sequence[Example]) -> None:
    """Raise InputError for a completion without the tag at which generation stops in use."""
    for row in rows:
        if not row.completion.rstrip().endswith(CLOSE_TAG):
            raise InputError(
                f"its completion does not end with {CLOSE_TAG}, at which generation stops in use",
                where=row.where,
                hint="`/finetune dataset` writes completions as `/annotate` reads them.",
            )


def table_rows(rows: Sequence[Example], framework: Framework) -> Iterator[dict[str, str]]:
    """Yield each annotated paper as a row of a table that `/evaluate` reads: id, abstract, moves.

    Completions that `/annotate` would not accept are left out.
    """
    form = TaggedForm(framework)
    for row in rows:
        with suppress(UnusableReply, InputError):
            moves = framework.valid_moves(form.parse(row.completion))
            yield {"paper_id": row.id, "abstract": row.messages[-1]["content"], **moves}


def unreadable(rows: Sequence[Example], framework: Framework) -> Iterator[str]:
    """Yield a sentence about completions that `/annotate` would not accept, if there are any.

    They are not an error: a recipe may use other lines between the tags.
    """
    form, found = TaggedForm(framework), []
    for row in rows:
        try:
            framework.valid_moves(form.parse(row.completion))
        except UnusableReply as exc:
            found.append((row, str(exc)))
        except InputError as exc:
            found.append((row, exc.message))
    if found:
        (first, why), number = found[0], len(found)
        yield (
            f"/annotate would not accept {number:,} of the {len(rows):,} completions; the first is "
            f"{first.where} ({why})"
        )
