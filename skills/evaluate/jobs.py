"""The annotation jobs of a comparison.

Annotations are stored in the corpus under their content keys and shared with /annotate, but the
current annotation of a paper stays current: a model that is only compared does not replace it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

from harness.errors import InvalidReply
from harness.models.backends.base import OnText
from harness.runs.progress import ProgressEstimate
from skills.annotate.annotator import Prepared, stored_form
from skills.annotate.job import AnnotateJob, PlannedRow
from skills.corpus.content_key import key_of
from skills.corpus.db import store
from skills.corpus.db.progress import ANNOTATE
from skills.corpus.db.rows import stored_json
from skills.corpus.records import Annotated
from skills.evaluate.variations import Variation
from skills.nanda.forms import UnusableReply
from skills.nanda.paper import Paper

FREE = "unconstrained"


@dataclass
class ComparedJob(AnnotateJob):
    """Annotates the papers as /annotate does.

    Attributes:
        pace, update: the progress of the whole comparison, and what refreshes it.
    """

    command: ClassVar[str] = "evaluate"

    pace: ProgressEstimate = field(kw_only=True)
    update: Callable[[], None] = field(kw_only=True)

    def notice(self, text: str) -> None:
        """Print nothing: the comparison is announced and reported as a whole."""

    def _announce(self, due: int) -> None:
        """Take what is done already out of the progress."""
        every = sum(total.weight for total in self.plan.totals().values())
        _, left = self._due()
        self.pace.rows -= len(self.plan) - due
        self.pace.weight -= every - left
        self.update()

    def _in_planning(self) -> contextlib.AbstractContextManager[Callable[[str], None]]:
        """Show nothing: the comparison has one bar for all of its phases."""
        return contextlib.nullcontext(lambda status: None)

    @contextlib.contextmanager
    def _in_progress(
        self, due: int, weight: int
    ) -> Iterator[tuple[ProgressEstimate, Callable[[], None]]]:
        yield self.pace, self.update

    def _save(self, row: PlannedRow, record: dict[str, Any]) -> None:
        item = Annotated(row.paper, record)
        store.save(self.db, item, self.framework, self.run_id, unless_any=True)

    def _is_due(self, state: store.State | None) -> bool:
        # With --retry-failed too, new papers are due: a missing one would count as unanswered.
        return state is None or (state == "failed" and self.call.options.retry_failed)

    def _link(self) -> None:
        """Leave the current annotations as they are."""

    def speed(self) -> dict[str, Any]:
        """Return papers a minute, their number, and memory, over all runs of this job."""
        rows = self.db.execute(
            "SELECT settings, summary FROM runs WHERE skill IN (?, ?)"
            " AND input = ? AND model = ? AND summary IS NOT NULL",
            [*ANNOTATE, self.source.name, self.model.resolution.resolved],
        )
        settings = json.loads(json.dumps(self._settings()))
        summaries = [
            stored_json(row["summary"])
            for row in rows
            # Each run also states how many papers were due in it.
            if {**stored_json(row["settings"]), "due": None} == {**settings, "due": None}
        ]
        # Papers that failed took time as well.
        papers = sum(one.get("made", 0) + one.get("failed_now", 0) for one in summaries)
        seconds = sum(one.get("seconds", 0.0) for one in summaries)
        memory = max((one.get("memory") or 0 for one in summaries), default=0)
        rate = round(papers / seconds * 60, 1) if papers and seconds else None
        return {"papers_per_minute": rate, "papers": papers, "memory": memory or None}


@dataclass
class RepeatedJob(ComparedJob):
    """Annotates papers that have an annotation again, in each of `variations`."""

    variations: Sequence[Variation] = field(kw_only=True)

    def requests(self) -> Generator[tuple[Paper, Callable[[], Prepared]], None, None]:
        """Yield the requests of all papers in the first variation, then in the second, ..."""
        for variation in self.variations:
            for paper in self.source.papers:
                yield paper, partial(self._varied, paper, variation)

    def _varied(self, paper: Paper, variation: Variation) -> Prepared:
        made = self._prepared(paper, variation.framework)
        return _changed(made, variation.sampling, variation.sampling)

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "variations": len(self.variations)}


class FreeJob(ComparedJob):
    """Annotates the papers without constrained output, in one attempt each."""

    def requests(self) -> Generator[tuple[Paper, Callable[[], Prepared]], None, None]:
        """Yield the request of each paper, without constraint and under a key of its own."""
        for paper in self.source.papers:
            yield paper, partial(self._unconstrained, paper)

    def _unconstrained(self, paper: Paper) -> Prepared:
        made = self._prepared(paper, self.framework)
        request = {"json_schema": None, "grammar": None}
        return _changed(made, request, {"attempts": 1}, schema_sha256=None, decoding=None)

    def _generate(self, prepared: Prepared, on_text: OnText) -> dict[str, Any]:
        reply = self.model.generate(prepared.request, on_text)
        try:
            moves = prepared.form.read(reply, prepared.paper.abstract)
        except UnusableReply as exc:
            raise InvalidReply(
                f"the first answer is not a valid annotation: {exc}", raw=reply.text
            ) from exc
        # `read` returns the moves in the framework's order.
        in_order = tuple(prepared.form.parse(reply.text)) == self.framework.names
        return stored_form(prepared, moves, [reply], in_order=in_order)

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "constraint": FREE}


def _changed(
    made: Prepared, request: Mapping[str, Any], sampling: Mapping[str, Any], **provenance: Any
) -> Prepared:
    """Return a changed request with its provenance, under a content key of its own."""
    known = {**made.provenance, **provenance}
    known["sampling"] = {**known["sampling"], **sampling}
    known["key"] = key_of(known)
    return replace(made, request=replace(made.request, **request), provenance=known)
