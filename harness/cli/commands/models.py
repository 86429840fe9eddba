"""/models: the models, and whether each can be served; /model: the one that chats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from harness.api.skill import Call, Impact, Result, SkillOptions
from harness.cli.commands.base import AppCommand
from harness.errors import ModelUnavailable
from harness.models.resolution import Candidate, Choice
from harness.terminal.tables import table

TASK = "chat"


class Place(BaseModel):
    """A place that serves a model."""

    model_config = ConfigDict(defer_build=True)

    backend: str
    where: str
    available: bool
    reason: str
    unfit_for: list[str]


class RegisteredModel(BaseModel):
    model_config = ConfigDict(defer_build=True)

    id: str
    summary: str
    tasks: list[str]
    fallback: str | None
    serve: list[Place]
    trained_on: dict[str, Any]
    scores: dict[str, Any]


class RegisteredModels(BaseModel):
    model_config = ConfigDict(defer_build=True)

    models: list[RegisteredModel]


class ModelsCommand(AppCommand):
    """Probes every serve entry of the registry without loading any."""

    name = "models"
    summary = "Show every model, where it could be served, and whether it can be now"
    text = "none"
    tool = True
    impact: ClassVar[dict[str, Impact]] = {"": "reads"}
    output = RegisteredModels

    def run(self, call: Call) -> Result:
        models = [self._describe(model_id) for model_id in self._app.pool.registry.models]
        rows = [
            (
                "" if i else model["id"],
                "" if i else ", ".join(model["tasks"]),
                place["backend"],
                place["where"],
                _available(place),
                place["reason"],
            )
            for model in models
            for i, place in enumerate(model["serve"])
        ]
        headers = ("model", "tasks", "backend", "where", "available", "")
        return Result(table(headers, rows), {"models": models})

    def _describe(self, model_id: str) -> dict[str, Any]:
        entry = self._app.pool.registry.models[model_id]
        places = []
        for serve in entry.serve:
            found = self._app.pool.probe(Candidate(model_id, serve))
            places.append(
                {
                    "backend": serve.backend,
                    "where": serve.where,
                    "available": found.available,
                    "reason": found.reason,
                    "unfit_for": list(serve.unfit_for),
                }
            )
        return {
            "id": model_id,
            "summary": entry.summary,
            "tasks": list(entry.tasks),
            "fallback": entry.fallback,
            "serve": places,
            "trained_on": dict(entry.trained_on),
            "scores": dict(entry.scores),
        }


def _available(place: Mapping[str, Any]) -> str:
    if not place["available"]:
        return "no"
    return f"yes, but unfit for {', '.join(place['unfit_for'])}" if place["unfit_for"] else "yes"


class ModelCommand(AppCommand):
    """Sets the model of the task "chat" for the life of the process."""

    name = "model"
    summary = "Show or choose the model of the session's chat"
    usage = "NAME"
    details = """\
    NAME is as in --model: an id of /models, or BACKEND/NAME. The choice applies to plain text,
    prompt skills and other skills that converse, until the session ends; other tasks keep their
    models."""
    text = "optional"

    class Options(SkillOptions):
        default: bool = Field(False, description="return to the choice of the registry")

    def run(self, call: Call) -> Result:
        app, name = self._app, call.text.strip()
        if call.options.default:
            app.models.preferred.pop(TASK, None)
        models = replace(call.models, choice=Choice(name)) if name else call.models
        try:
            found = app.pool.last = models.resolve(TASK, {})
        except ModelUnavailable as exc:
            if name:
                raise
            return Result(f"chat: no model. {exc.hint}", {"model": None, "where": None})
        if name:
            app.models.preferred[TASK] = name
        label = found.chosen.serve.label
        return Result(
            f"chat: {found.resolved} ({label})", {"model": found.resolved, "where": label}
        )
