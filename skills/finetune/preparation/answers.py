"""Whether what a data set teaches is what `/annotate` reads: seen before hours are spent on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import ValidationError

from harness.errors import InputError
from skills.finetune.preparation.examples import Example
from skills.nanda.framework import CLOSE_TAG, Framework
from skills.nanda.reply_formats import TaggedForm, UnusableReply


def check_answers(rows: Sequence[Example]) -> None:
    """Refuse completions without the tag at which a model is stopped in use.

    Raises:
        InputError: naming the first.
    """
    for row in rows:
        if not row.completion.rstrip().endswith(CLOSE_TAG):
            raise InputError(
                f"its completion does not end with {CLOSE_TAG}, at which a model is stopped in use",
                where=row.where,
                hint="`/finetune dataset` writes completions as `/annotate` reads them.",
            )


def unread(rows: Sequence[Example], framework: Framework) -> Iterator[str]:
    """A sentence about completions that `/annotate` would not take for an annotation, if any.

    They are no error: a recipe may have other lines between the tags.
    """
    form, model = TaggedForm(framework), framework.annotation_model()
    found = []
    for row in rows:
        try:
            model.model_validate(form.parse(row.completion))
        except UnusableReply as exc:
            found.append((row, str(exc)))
        except ValidationError as exc:
            error = exc.errors()[0]
            found.append((row, f"{error['loc'][0]}: {error['msg']}"))
    if found:
        (first, why), number = found[0], len(found)
        yield (
            f"{number:,} of the {len(rows):,} completions {'is' if number == 1 else 'are'} no "
            f"annotation that /annotate takes; the first is {first.where} ({why})"
        )
