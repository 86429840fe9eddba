"""The jobs that annotate for a comparison: those of /annotate, which leave the corpus as it was.

What they make is kept there under its content key, and what /annotate has made is not made again.
The current annotation of a paper stays the current one: a model that is only compared does not take
its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from harness.errors import InvalidReply
from harness.models.backends.base import OnText
from skills.annotate.generate import Prepared, prepare, read_moves, stored_form
from skills.annotate.table.job import AnnotateJob, PlannedRow
from skills.corpus.content_key import key_of
from skills.corpus.db import store
from skills.corpus.records import Annotated
from skills.evaluate.annotators import Pace
from skills.evaluate.variations import Variation
from skills.nanda.paper import Paper
from skills.nanda.reply_formats import UnusableReply

FREE = "unconstrained"


class ComparedJob(AnnotateJob):
    """The papers, annotated by one model under its own constraint, with a repair if need be."""

    def _save(self, row: PlannedRow, record: dict[str, Any]) -> None:
        item = Annotated(row.paper, record)
        store.save(self.db, item, self.framework, self.run_id, unless_any=True)

    def _is_due(self, state: store.State | None) -> bool:
        """What failed is done again on request, and what is not done yet always: a paper that was
        never asked about would be measured as one without an answer."""
        return state is None or (state == "failed" and self.call.options.retry_failed)

    def _link(self) -> None:
        """Nothing is to become current."""

    def pace_so_far(self) -> Pace:
        """What all runs of this job on this input took so far."""
        rows = self.db.conn.execute(
            "SELECT summary FROM runs WHERE skill = 'annotate' AND input = ? AND model = ?"
            " AND settings = ? AND summary IS NOT NULL",
            [
                self.source.name,
                self.model.resolution.resolved,
                json.dumps(self._settings(), ensure_ascii=False),
            ],
        )
        summaries = [json.loads(row["summary"]) for row in rows]
        # Papers that failed took their time as well.
        ended = sum(one.get("made", 0) + one.get("failed_now", 0) for one in summaries)
        seconds = sum(one.get("seconds", 0.0) for one in summaries)
        memory = max((one.get("memory") or 0 for one in summaries), default=0)
        return Pace(ended / seconds * 60 if ended and seconds else None, ended, memory or None)


@dataclass
class RepeatedJob(ComparedJob):
    """The papers, asked about once more in every one of `variations`, all papers in each.

    They have annotations already: what is said here takes no place in the corpus.
    """

    variations: Sequence[Variation] = field(kw_only=True)

    def requests(self) -> Iterator[Callable[[], Prepared]]:
        """Yield the requests of all papers in the first variation, then in the second, ..."""
        for variation in self.variations:
            for paper in self.source.papers:
                yield partial(self._varied, paper, variation)

    def _varied(self, paper: Paper, variation: Variation) -> Prepared:
        made = prepare(paper, variation.framework, self.model, self.call.options.max_tokens)
        sampling = {**made.provenance["sampling"], **variation.sampling}
        provenance = {**made.provenance, "sampling": sampling}
        return replace(
            made,
            request=replace(made.request, **variation.sampling),
            provenance={**provenance, "key": key_of(provenance)},
        )

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "variations": len(self.variations)}


class FreeJob(ComparedJob):
    """The papers, each asked for once and without constraint: is the answer right by itself?

    An answer is kept where it is a valid annotation, else it is a failure; nothing is repaired.
    """

    def requests(self) -> Iterator[Callable[[], Prepared]]:
        """Yield the request of each paper, without constraint and under a key of its own."""
        for paper in self.source.papers:
            yield partial(self._unconstrained, paper)

    def _unconstrained(self, paper: Paper) -> Prepared:
        made = prepare(paper, self.framework, self.model, self.call.options.max_tokens)
        provenance = {
            **made.provenance,
            "schema_sha256": None,
            "sampling": {**made.provenance["sampling"], "attempts": 1},
        }
        return replace(
            made,
            request=replace(made.request, json_schema=None, grammar=None),
            provenance={**provenance, "key": key_of(provenance)},
        )

    def _generate(self, prepared: Prepared, on_text: OnText | None) -> dict[str, Any]:
        reply = self.model.generate(prepared.request, on_text)
        try:
            moves = read_moves(prepared.form, reply)
        except UnusableReply as exc:
            raise InvalidReply(f"the first answer is no annotation: {exc}", raw=reply.text) from exc
        # `read_moves` returns the moves in the framework's order.
        in_order = tuple(prepared.form.parse(reply.text)) == self.framework.names
        return stored_form(prepared, moves, [reply], in_order=in_order)

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "constraint": FREE}
