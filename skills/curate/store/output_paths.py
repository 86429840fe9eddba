"""The files that a run writes, and the check that none of them overwrites an input."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from harness.api.skill import Call
from harness.errors import UsageError
from harness.runs.targets import refuse_sources
from skills.corpus.tables.parquet.files import refuse_targets

SUFFIX = "_curated"
"""The optional end of a target's name, which the names of the files beside it lack."""


def beside(target: Path) -> dict[str, Path]:
    """Return the files beside a target by role: agent_rejected.csv for agent_curated.csv."""
    stem = target.stem.removesuffix(SUFFIX) or target.stem
    names = {
        "rejected": f"{stem}_rejected.csv",
        "log": f"{stem}_curation_log.jsonl",
        "report": f"{stem}_curation_report.html",
    }
    return {role: target.with_name(name) for role, name in names.items()}


def dataset(build: Path | None) -> dict[str, Path]:
    """Return the files of `--build` by role: the training set and its manifest."""
    if build is None:
        return {}
    from skills.finetune.data.manifest import manifest_path

    return {"dataset": build, "manifest": manifest_path(build)}


def check(call: Call, table: Path | None, corpus: Path) -> None:
    """Check that no two outputs are the same file, and that none is an input.

    Raises:
        UsageError: naming the file.
    """
    from skills.finetune.dataset_command import refuse_inputs

    built = dataset(call.options.build).values()
    besides = {path for target in call.targets for path in beside(target).values()}
    outputs = [*call.targets, *sorted(besides), *built]
    counts = Counter(path.resolve() for path in outputs)
    for path in outputs:
        if counts[path.resolve()] > 1:
            raise UsageError(
                "is written more than once by this command",
                where=str(path),
                hint="Save to another file, or give --build another name.",
            )
    refuse_sources(outputs, input=table, corpus=corpus)
    if table is not None:
        refuse_targets(outputs, table)
    if built:
        refuse_inputs(outputs, call.options)
