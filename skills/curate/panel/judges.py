"""Who judges, how it is asked, and who judged before, as the corpus database knows it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.models.pool import ServedModel
from skills.corpus.db.connection import transaction
from skills.corpus.db.rows import insert, now, one
from skills.curate.curator import Judge, VoteForm
from skills.curate.panel.panel import Panel
from skills.nanda.framework import sha256_of

if TYPE_CHECKING:
    from sqlite_utils import Database


def judge_of(model: ServedModel) -> str:
    """What tells one judge from another: the digests of its weights, else where it is served."""
    serve = model.resolution.chosen.serve
    return sha256_of(dict(model.digests) or f"{serve.backend}/{serve.where}")


def asked(judge: Judge) -> str:
    """What tells one way of asking a judge from another: the panel, and the form."""
    return sha256_of([judge.panel.digest, *way_of(judge.form)])


def way_of(form: VoteForm) -> list[str]:
    """What of a form makes a vote another one."""
    return [form.kind, form.prefill]


@dataclass(frozen=True, slots=True)
class JudgeBefore:
    """Who judged an input last.

    Attributes:
        judge: as of `judge_of`.
        model, served: its name in the registry, and where it was served.
    """

    judge: str
    model: str
    served: str


def judge_before(db: Database, source: str) -> JudgeBefore | None:
    """Who judged this input in the last run that came to a vote; None if there was none."""
    row = one(
        db,
        "SELECT model, settings FROM runs WHERE skill = 'curate' AND input = ? AND ("
        " EXISTS (SELECT 1 FROM ballots WHERE run_id = runs.id AND status = 'done') OR EXISTS"
        " (SELECT 1 FROM verdicts WHERE run_id = runs.id AND ballot_id IS NOT NULL))"
        " ORDER BY id DESC LIMIT 1",
        [source],
    )
    if row is None:
        return None
    settings = json.loads(row["settings"])
    return JudgeBefore(settings.get("judge", ""), row["model"], settings["served"])


def known_form(db: Database, model: ServedModel, panel: Panel) -> VoteForm | None:
    """How this judge is asked by this panel, if it has been measured."""
    row = one(
        db,
        "SELECT * FROM judge_forms WHERE judge = ? AND panel = ?",
        [judge_of(model), _compared(panel)],
    )
    if row is None:
        return None
    kept = json.loads(row["measured"])  # an older corpus has the masses alone
    masses = kept["masses"] if isinstance(kept.get("masses"), dict) else kept
    return VoteForm(row["kind"], row["prefill"], row["mass"], masses)


def keep_form(db: Database, model: ServedModel, panel: Panel, form: VoteForm) -> VoteForm:
    """Keep how a judge is asked, so that it is asked the same from now on.

    Returns: the form that holds: the first, where another process has measured meanwhile.
    """
    with transaction(db):
        if known := known_form(db, model, panel):
            return known
        insert(
            db,
            "judge_forms",
            judge=judge_of(model),
            panel=_compared(panel),
            kind=form.kind,
            prefill=form.prefill,
            mass=form.mass,
            measured=json.dumps({"masses": dict(form.measured), "compared": None}),
            created_at=now(),
        )
    return form


def _compared(panel: Panel) -> str:
    """The panel with the beginnings that were compared."""
    return sha256_of([panel.digest, list(panel.prefills)])
