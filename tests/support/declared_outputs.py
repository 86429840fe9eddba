"""Whether results have the form that their skill declares for programs."""

from __future__ import annotations

import json

from pydantic import RootModel

from harness.api.skill import Result, Skill


def check_output(skill: Skill, subcommand: str, result: Result) -> None:
    """Assert that the model of a result fits it, and has no field that it lacks."""
    has_summary = result.summary is not None
    model = skill.output_of(subcommand, summary=has_summary)
    assert model is not None
    made = model.model_validate(json.loads(result.as_json()))
    content = made.root if isinstance(made, RootModel) else made
    assert type(content).model_fields.keys() <= content.model_fields_set
