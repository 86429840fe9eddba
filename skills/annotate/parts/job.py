"""A job whose parts are written by several processes: what each of them has to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.models.served import ServedModel
from skills.annotate.generate import Prepared, prepare
from skills.annotate.parts.folder import PartsFolder
from skills.corpus.options import Wording
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper

_SAMPLE = Paper("id", "sample", "", "We present one method, and it is faster than another one.")
"""A paper that identifies a job by the content key of its request."""


@dataclass(frozen=True, slots=True)
class PartsJob:
    """How to annotate papers, and where to write the parts; it is sent to the nodes.

    Attributes:
        id_column: the name of the input's column of ids.
        run: the run that may write parts (`PartsFolder.take_over`).
    """

    framework: Framework
    folder: PartsFolder
    id_column: str
    run: str
    max_tokens: int | None = None
    wording: Wording | None = None

    def prepare(self, paper: Paper, model: ServedModel) -> Prepared:
        """Make the request for a paper."""
        return prepare(paper, self.framework, model, self.max_tokens, self.wording)

    def identity(self, model: ServedModel) -> dict[str, Any]:
        """Return what two runs must share to write into one folder.

        `key` alone decides: it is the content key of one fixed abstract, and so differs if anything
        does that determines annotations. The rest names the difference.
        """
        made = self.prepare(_SAMPLE, model).provenance
        named = ("framework", "resolved", "form", "digests", "sampling", "decoding")
        return {"key": made["key"], **{name: made[name] for name in named}}
