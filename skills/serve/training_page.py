"""The page of a training run: losses, stages and settings, compared with another run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import (
    BaseModel,
    Field,
    FiniteFloat,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from harness.runs.progress import duration
from harness.support.bounded_files import read_text
from skills.corpus.html_page import facts
from skills.finetune.run_folder import MANIFEST
from skills.finetune.training.callbacks import Metrics
from skills.finetune.training.checkpoints import METRICS
from skills.serve.pages import State, key_of, message, page

MOST_BYTES = 10_000_000
Point = tuple[float, float]


def routes(state: State) -> list[Route]:
    return [Route("/compare/runs/{key}", partial(_run, state))]


def _run(state: State, request: Request) -> Response:
    """Return the page of a training run; the URL parameter `against` selects a second run."""
    runs = {run.key: run for run in run_folders(state)}
    found = runs.get(request.path_params["key"])
    if found is None:
        text = "Its folder does not exist any more. The tab Compare lists the existing runs."
        return message(request, "No such run", text)
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
        places=[_place(run.folder, state.workspace.resolve()) for run in shown],
        curve=_curve(losses),
        dev=_dev([losses[place] for place in with_dev]),
        dev_names=[names[place] for place in with_dev],
        least=[min((loss for _, loss in one.dev), default=None) for one in losses],
        has_same_dev=len({one.dev_digest for one in shown}) == 1,
        stages=_stages(shown),
        facts={name: facts(stage.facts) for name, stage in found.stages.items()},
        settings=facts(found.run),
        differing=_differing(found.run, other.run) if other else (),
    )


def _place(folder: Path, workspace: Path) -> str:
    """Return the path of a folder, relative to the workspace if the workspace contains it."""
    return f"{folder.relative_to(workspace) if folder.is_relative_to(workspace) else folder}"


def _names(runs: Sequence[RunFolder]) -> list[str]:
    """Return the names of the run folders, or the paths of the folders if two names are equal."""
    names = [run.folder.name for run in runs]
    same = len(set(names)) < len(names)
    return [f"{run.folder}" for run in runs] if same else names


def _dev(losses: Sequence[Losses]) -> list[tuple[int, list[float | None], float | None]]:
    """Return the rows of the table of dev losses.

    Returns:
        Rows of a step, the losses of the runs at this step (None for a run without a loss), and the
        first loss minus the second loss (None without two losses).
    """
    by_step = [dict(one.dev) for one in losses]
    rows = []
    for step in sorted(set().union(*by_step)):
        values = [of.get(step) for of in by_step]
        known = [value for value in values if value is not None]
        rows.append((step, values, known[0] - known[1] if len(known) == 2 else None))
    return rows


def _stages(runs: Sequence[RunFolder]) -> list[tuple[str, list[str], str]]:
    """Return the name of each stage, its duration in each run, and its end time in the first run.

    Durations and end times are texts. They are "" for a run without the stage.
    """
    rows = []
    for name in dict.fromkeys(name for run in runs for name in run.stages):
        stages = [run.stages.get(name, StageEntry()) for run in runs]
        ended = stages[0].created[:19].replace("T", " ")
        rows.append((name, [stage.duration for stage in stages], ended))
    return rows


def _differing(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the name and both values, as texts, of each setting in which two runs differ."""
    first, other = dict(facts(here)), dict(facts(there))
    return [
        (name, first.get(name, ""), other.get(name, ""))
        for name in {**first, **other}
        if first.get(name) != other.get(name)
    ]


class Losses(NamedTuple):
    """The training losses and dev losses of a run, as pairs of step and loss."""

    train: Sequence[tuple[int, float]]
    dev: Sequence[tuple[int, float]]


class _Tolerant(BaseModel):
    """A pydantic model that replaces the invalid value of an optional field by the default."""

    @field_validator("*", mode="wrap")
    @classmethod
    def _or_default(
        cls, value: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        field = cls.model_fields[info.field_name or ""]
        try:
            return validate(value)
        except ValidationError:
            if field.is_required():
                raise
            return field.get_default()


class StageEntry(_Tolerant):
    """The entry of a stage in the manifest of a run."""

    seconds: FiniteFloat | None = None
    created: str = ""
    facts: dict[str, Any] = {}
    outputs: dict[str, dict[str, Any]] = {}

    @property
    def duration(self) -> str:
        """The duration of the stage as text, or "" if it is unknown."""
        return "" if self.seconds is None else duration(self.seconds)


class RunFolder(_Tolerant):
    """A training run, as its manifest describes it.

    Attributes:
        key: the key of the run in URLs.
        folder: the run folder.
        stages: the stages by name, in the order of execution.
        run: the settings of the run.
    """

    key: str = ""
    folder: Path = Path()
    stages: dict[str, StageEntry] = Field(min_length=1)
    run: dict[str, Any] = {}

    @property
    def dev_digest(self) -> str:
        """The SHA-256 of the prepared dev rows; if it is unknown, the key of the run."""
        outputs = self.stages["prepare"].outputs if "prepare" in self.stages else {}
        return str(outputs.get("prepared/dev.jsonl", {}).get("sha256", self.key))

    def losses(self) -> Losses:
        """Return the recorded losses; losses that are not finite numbers are left out."""
        lines = Metrics(self.folder / METRICS).read()
        train, dev = (
            [(line["step"], line[name]) for line in lines if _is_finite(line.get(name))]
            for name in ("loss", "dev_loss")
        )
        return Losses(train, dev)


def run_folders(state: State) -> list[RunFolder]:
    """Return the training runs in the workspace, its subfolders, and folders of shipped models."""
    here, shipped = state.workspace, state.settings.shipped_registry.parent
    manifests = [here / MANIFEST, *sorted(here.glob(f"*/{MANIFEST}"))]
    manifests += sorted(shipped.glob(f"*/{MANIFEST}"))
    found = []
    for path in dict.fromkeys(one.resolve() for one in manifests):
        try:
            run = RunFolder.model_validate_json(read_text(path, MOST_BYTES))
        except (OSError, ValueError):  # no manifest, or another file of this name
            continue
        found.append(run.model_copy(update={"key": key_of(path), "folder": path.parent}))
    return found


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


WIDTH, HEIGHT = 640.0, 200.0


class Line(NamedTuple):
    """A line of the chart.

    Attributes:
        kind: the CSS classes, "training" or "dev", followed by "other" for the second run.
        points: pairs of step and loss; in a `Curve`, pairs of coordinates.
    """

    kind: str
    points: Sequence[Point]


class Curve(NamedTuple):
    """A chart of losses.

    Attributes:
        last: the last step.
        rules: the y coordinate and the label of each horizontal line.
    """

    lines: Sequence[Line]
    last: float
    rules: Sequence[tuple[float, str]]


def _curve(runs: Sequence[Losses]) -> Curve | None:
    """Return a chart of the losses of one or two runs, or None without losses."""
    lines = [
        Line(f"{kind}{' other' if place else ''}", points)
        for place, one in enumerate(runs)
        for kind, points in (("training", one.train), ("dev", one.dev))
        if points
    ]
    if not lines:
        return None
    losses = [loss for line in lines for _, loss in line.points]
    last = max(step for line in lines for step, _ in line.points) or 1
    gap = _round_gap((max(losses) - min(losses)) / 4)
    digits = max(0, -math.floor(math.log10(gap)))
    low, high = math.floor(min(losses) / gap), math.ceil(max(losses) / gap)
    high = max(high, low + 1)

    def placed(step: float, loss: float) -> Point:
        return WIDTH * step / last, HEIGHT * (high - loss / gap) / (high - low)

    return Curve(
        [Line(line.kind, [placed(*point) for point in line.points]) for line in lines],
        last,
        [
            (placed(0, number * gap)[1], f"{number * gap:.{digits}f}")
            for number in range(low, high + 1)
        ],
    )


def _round_gap(wanted: float) -> float:
    """Return the first of 0.001, 0.002, 0.005, 0.01, 0.02, ... that is at least `wanted`."""
    power = 10.0 ** math.floor(math.log10(max(wanted, 0.001)))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= wanted)
