"""The page of a training run: its loss and stages, beside those of another run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skills.corpus.report.data import facts
from skills.serve.compare.loss_curve import Curve, Line, curve
from skills.serve.compare.run_folders import Losses, RunFolder, run_folders
from skills.serve.pages import message, page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from skills.serve.state import State


def run_page(state: State, request: Request) -> Response:
    """Show a run; the parameter `against` names another one to compare it with."""
    runs = {run.key: run for run in run_folders(state)}
    found = runs.get(request.path_params["key"])
    if found is None:
        return message(
            request,
            HTTPStatus.NOT_FOUND,
            "No such run",
            "Its folder is no longer there. The tab Compare lists the runs that are.",
        )
    other = runs.get(request.query_params.get("against", ""))
    shown = [found] if other is None else [found, other]
    names = _names(shown)
    losses = [run.losses() for run in shown]
    with_dev = [place for place, one in enumerate(losses) if one.dev]
    return page(
        request,
        "compare/run.html",
        title=f"Training run {found.folder.name}",
        found=found,
        other=other,
        others=[run for run in runs.values() if run is not found],
        names=names,
        places=[_place(run.folder, state.workspace) for run in shown],
        curve=_curve(losses),
        dev=_dev([losses[place] for place in with_dev]),
        dev_names=[names[place] for place in with_dev],
        least=[min((loss for _, loss in one.dev), default=None) for one in losses],
        has_same_dev=len({one.dev_digest for one in shown}) == 1,
        stages=_stages(shown),
        facts={name: facts(entry.get("facts") or {}) for name, entry in found.stages.items()},
        settings=facts(found.run),
        differing=_differing(found.run, other.run) if other else (),
    )


def _place(folder: Path, workspace: Path) -> str:
    """Return the path of a folder, from the workspace if it is in there."""
    workspace = workspace.resolve()
    return f"{folder.relative_to(workspace) if folder.is_relative_to(workspace) else folder}"


def _names(runs: Sequence[RunFolder]) -> list[str]:
    """Return the names of the folders, with what is above them if they are the same."""
    names = [run.folder.name for run in runs]
    same = len(set(names)) < len(names)
    return [f"{run.folder}" for run in runs] if same else names


def _curve(losses: Sequence[Losses]) -> Curve | None:
    lines = [
        Line(f"{kind}{' other' if place else ''}", points)
        for place, one in enumerate(losses)
        for kind, points in (("training", one.train), ("dev", one.dev))
        if points
    ]
    return curve(lines) if lines else None


def _dev(losses: Sequence[Losses]) -> list[tuple[int, list[float | None], float | None]]:
    """Return the steps with a dev loss: that of each run, and the difference of two."""
    by_step = [dict(one.dev) for one in losses]
    rows = []
    for step in sorted(set().union(*by_step)):
        values = [of.get(step) for of in by_step]
        known = [value for value in values if value is not None]
        rows.append((step, values, known[0] - known[1] if len(known) == 2 else None))
    return rows


def _stages(runs: Sequence[RunFolder]) -> list[tuple[str, list[str], str]]:
    """Return each stage with the time it took in each run, and when the first run ended it."""
    names = dict.fromkeys(name for run in runs for name in run.stages)
    return [
        (
            name,
            [_seconds(run.stages.get(name, {}).get("seconds")) for run in runs],
            str(runs[0].stages.get(name, {}).get("created", ""))[:19].replace("T", " "),
        )
        for name in names
    ]


def _seconds(value: Any) -> str:
    if not isinstance(value, int | float):
        return ""
    return f"{value:.1f} s" if value < 60 else f"{value / 60:,.0f} min"


def _differing(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the settings in which two runs differ."""
    first, other = dict(facts(here)), dict(facts(there))
    return [
        (name, first.get(name, ""), other.get(name, ""))
        for name in {**first, **other}
        if first.get(name) != other.get(name)
    ]
