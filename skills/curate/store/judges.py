"""Judges in the corpus database: vote form, thresholds, and who judged last."""

from __future__ import annotations

import json
import sqlite3

from harness.models.served import ServedModel
from skills.corpus.db.connection import transaction
from skills.corpus.db.rows import insert, now, one, stored_json
from skills.curate.curator import Judge
from skills.curate.panel.panel import Panel
from skills.curate.panel.vote_mode import VoteForm
from skills.curate.store.verdicts import Criteria
from skills.nanda.framework import sha256_of


def judge_id(model: ServedModel) -> str:
    """Identify a judge by the digests of its weights, or by where it is served."""
    serve = model.resolution.chosen.serve
    return sha256_of(dict(model.digests) or f"{serve.backend}/{serve.where}")


def other_judge(db: sqlite3.Connection, source: str, model: ServedModel) -> str | None:
    """Return the judge of the last run on this input that had votes, if it is not `model`."""
    row = one(
        db,
        "SELECT model, settings FROM runs WHERE skill = 'curate' AND input = ? AND ("
        " EXISTS (SELECT 1 FROM ballots WHERE run_id = runs.id AND status = 'done') OR EXISTS"
        " (SELECT 1 FROM verdicts WHERE run_id = runs.id AND ballot_id IS NOT NULL))"
        " ORDER BY id DESC LIMIT 1",
        [source],
    )
    settings = stored_json(row["settings"]) if row else {}
    if row is None or settings.get("judge", "") == judge_id(model):
        return None
    return f"{row['model']} ({settings['served']})"


def load_form(db: sqlite3.Connection, model: ServedModel, panel: Panel) -> VoteForm | None:
    """Return how this judge votes in this panel, if it was measured before."""
    row = one(
        db,
        "SELECT * FROM judge_forms WHERE judge = ? AND panel = ?",
        [judge_id(model), _panel_id(panel)],
    )
    if row is None or (row["prefill"] and not model.continues_prefill):
        return None  # an earlier version took an ignored prefill for a continued one
    stored = stored_json(row["measured"])  # an older corpus has the masses alone
    masses = stored["masses"] if isinstance(stored.get("masses"), dict) else stored
    return VoteForm(row["kind"], row["prefill"], row["mass"], masses, stored.get("items") or 0)


def save_form(db: sqlite3.Connection, model: ServedModel, panel: Panel, form: VoteForm) -> VoteForm:
    """Store how a judge votes, for later runs.

    Returns:
        the stored form: the first, if another process measured at the same time.
    """
    with transaction(db):
        if known := load_form(db, model, panel):
            return known
        key = [judge_id(model), _panel_id(panel)]
        db.execute("DELETE FROM judge_forms WHERE judge = ? AND panel = ?", key)
        insert(
            db,
            "judge_forms",
            judge=judge_id(model),
            panel=_panel_id(panel),
            kind=form.kind,
            prefill=form.prefill,
            mass=form.mass,
            measured=json.dumps(
                {"masses": dict(form.measured), "compared": None, "items": form.items}
            ),
            created_at=now(),
        )
    return form


def load_criteria(db: sqlite3.Connection, judge: Judge, min_votes: int) -> Criteria:
    """Return the newest calibration of this judge and form for `min_votes`, or the defaults."""
    row = one(
        db,
        "SELECT * FROM calibrations WHERE judge = ? AND panel = ? AND min_votes = ?"
        " ORDER BY id DESC LIMIT 1",
        [judge_id(judge.model), _vote_id(judge), min_votes],
    )
    if row is None:
        return Criteria(judge.panel.thresholds, min_votes)
    names = ("input", "reject_rate", "achieved", "annotations", "why", "created_at")
    calibrated = {name: row[name] for name in names}
    return Criteria(tuple(stored_json(row["thresholds"])), min_votes, calibrated)


def save_criteria(db: sqlite3.Connection, judge: Judge, criteria: Criteria) -> None:
    """Store calibrated thresholds for later runs."""
    with transaction(db):
        insert(
            db,
            "calibrations",
            judge=judge_id(judge.model),
            panel=_vote_id(judge),
            thresholds=json.dumps(criteria.thresholds),
            min_votes=criteria.min_votes,
            **{**(criteria.calibrated or {}), "created_at": now()},
        )


def _panel_id(panel: Panel) -> str:
    """Identify a panel with the prefills that were compared."""
    return sha256_of([panel.digest, list(panel.prefills)])


def _vote_id(judge: Judge) -> str:
    """Identify panel and form: another form has other scores, and needs other thresholds."""
    return sha256_of([judge.panel.digest, judge.form.kind, judge.form.prefill])
