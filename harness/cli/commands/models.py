"""/models: the models, and whether each can be served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.api.skill import Call, Result, SkillOptions
from harness.cli.commands.base import AppCommand
from harness.models.resolution import Candidate
from harness.terminal.tables import table


class ModelsCommand(AppCommand):
    """Probes every serve entry of the registry without loading any."""

    name = "models"
    summary = "Show every model, where it could be served, and whether it can be now"
    text = "none"
    tool = True

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        return ""

    def run(self, call: Call) -> Result:
        models = [self._describe(model_id) for model_id in self._app.pool.registry.models]
        rows = [
            (
                "" if i else model["id"],
                "" if i else ", ".join(model["tasks"]),
                place["backend"],
                place["where"],
                "yes" if place["available"] else "no",
                "; ".join(filter(None, (place["reason"], _unfit(place["unfit_for"])))),
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


def _unfit(tasks: Sequence[str]) -> str:
    return f"unfit for {', '.join(tasks)}" if tasks else ""
