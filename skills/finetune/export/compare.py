"""The stage `compare`: make the model the default of /annotate if it is better.

The new model and the current default annotate gold papers that were held out from training.
`/evaluate` measures both models. The annotations are stored in OUT/held_out.db, so that an
interrupted comparison can be continued.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import SkillFailed
from harness.models.pool import ModelPool, Models
from harness.models.weights import FileStore
from harness.plugins.loader import node_backends
from harness.plugins.plugin_table import import_shipped
from harness.support.bounded_files import file_sha256
from skills.finetune.export.register import (
    TASK,
    file_of,
    is_cut,
    register,
    registration_of,
    trained,
    usable_registry,
)
from skills.finetune.run_folder import Entry, StageContext
from skills.finetune.tokenization.prepare import HELD_OUT

FEWEST, MOST = 20, 60
"""Minimum and maximum number of compared papers."""
METRIC = "agreement"
"""The metric that decides: ROUGE-L against the gold.

A paper that failed counts as 0. A move counts as 0 if only the annotation or only the gold states
the move.
"""
DATABASE = "held_out.db"


def compare(context: StageContext) -> Entry:
    """Compare the new model with the default of /annotate, and return the stage's entry.

    A better model becomes the default. A comparison needs `FEWEST` papers and complete training.

    Raises:
        InputError: the GGUF is missing, or it is older than the training.
        ModelUnavailable: /annotate has no other model to compare with.
        HarnessError: a model cannot be served, or the comparison failed or was interrupted.
    """
    wanted, entry = registration_of(context), context.run_dir.entry("compare")
    table, name = context.run_dir.prepared / HELD_OUT, wanted.name
    settings = context.call.settings
    without = usable_registry(settings, without=file_of(settings.user_registry, name))
    default = without.serving(TASK)
    # Perform the stage again if the new model won before, but no longer has the task.
    stands = entry is None or not entry.facts["better"] or bool(wanted.model["tasks"])
    inputs = {
        "name": name,
        "serve": wanted.model["serve"],
        "files": wanted.files,
        "default": {default: without.models[default].model_dump(mode="json")},
        "held_out": file_sha256(table) if table.is_file() else None,
    }
    summary = "compare the model with the default of /annotate"
    stage = context.begin("compare", summary, inputs, stands=stands)
    if stage.unchanged is not None:
        return stage.unchanged
    papers = len(table.read_text(encoding="utf-8").splitlines()) if table.is_file() else 0
    facts: dict[str, Any] = {"default": default, "papers": papers, "better": False}
    cut = is_cut(trained(context.run_dir))
    if cut or papers < FEWEST:
        few = f"a comparison needs {FEWEST} held-out gold papers, and this run has {papers}"
        reason = "its training was cut short" if cut else few
        outcome = f"{name} is not compared with {default}: {reason}"
        return stage.record(facts={**facts, "outcome": outcome})
    found = _evaluated(context, table, (name, default))
    new, old = (one["metrics"][METRIC]["overall"]["value"] for one in found["annotators"][:2])
    figure = found["differences"][0]["metrics"][METRIC]["overall"]
    better = figure["low"] is not None and figure["low"] > 0
    interval = figure["why"] or f"95% interval {figure['low']:+.3f} to {figure['high']:+.3f}"
    outcome = (
        f"{name} is {'' if better else 'not shown to be '}better than {default} on "
        f"{found['papers']} held-out papers: agreement with the gold {new:.3f} and {old:.3f}, "
        f"difference {figure['value']:+.3f} ({interval})"
    )
    if better:
        options = context.call.options.model_copy(update={"default": True})
        register(replace(context, call=replace(context.call, options=options)))
    facts |= {"papers": found["papers"], "better": better, "outcome": outcome}
    return stage.record(facts={**facts, METRIC: [new, old], "difference": figure})


def _evaluated(context: StageContext, table: Path, models: Sequence[str]) -> Mapping[str, Any]:
    """Run `/evaluate` with `models` on a table, and return the data of its result."""
    call, settings = context.call, context.call.settings
    known = usable_registry(settings)
    files = FileStore(known.files, settings.cache_dir, call.screen.notice)
    pool = ModelPool(known, node_backends(files))
    skill = import_shipped(settings.shipped_skills, "evaluate").Evaluate()
    options = skill.Options(
        models=",".join(models),
        db=context.run_dir.folder / DATABASE,
        framework=context.framework_file,
        limit=MOST,
        consistency=0,
        retry_failed=True,
    )
    own = replace(
        call,
        text=str(table),
        source="line",
        subcommand="",
        options=options,
        models=Models(pool, notice=call.screen.notice, cancel=call.cancel),
    )
    try:
        result = skill.run(own)
    finally:
        pool.close()
    if result.exit_code:  # without this check, papers that timed out would have a metric of 0
        raise SkillFailed(
            "some held-out papers could not be annotated",
            where=str(table),
            hint=f"`/finetune compare {context.run_dir.folder}` continues the comparison.",
        )
    found: Mapping[str, Any] = result.data
    return found
