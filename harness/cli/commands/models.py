"""/models: who could serve, and why the others could not."""

from __future__ import annotations

from typing import Any

from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.cli.commands.host import Host
from harness.models.resolution import Candidate
from harness.terminal.tables import table


class ModelsCommand(Skill):
    """Probes every candidate of the registry; loads none."""

    name = "models"
    summary = "Show every model, where it could be served, and whether it can be now"
    text = "none"
    logged = False

    def __init__(self, host: Host) -> None:
        self._host = host

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        return ""

    def run(self, call: Call) -> Result:
        models = [self._describe(model_id) for model_id in self._host.pool.registry.models]
        rows = [
            (
                "" if i else model["id"],
                "" if i else ", ".join(model["tasks"]),
                place["backend"],
                place["where"],
                "yes" if place["available"] else "no",
                place["reason"],
            )
            for model in models
            for i, place in enumerate(model["serve"])
        ]
        headers = ("model", "tasks", "backend", "where", "available", "")
        return Result(table(headers, rows), {"models": models})

    def _describe(self, model_id: str) -> dict[str, Any]:
        entry = self._host.pool.registry.models[model_id]
        places = []
        for serve in entry.serve:
            found = self._host.pool.probe(Candidate(model_id, serve))
            places.append(
                {
                    "backend": serve.backend,
                    "where": serve.where,
                    "available": found.available,
                    "reason": found.reason,
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
