"""`/skills test NAME`: check which requests activate a skill.

The cases are in the file `evals/evals.json` in the skill's folder. Each request is treated like a
line of chat: a skill is activated if a trigger of a plugin matches, or if the model's first reply
calls the skill. If the model cannot call tools, a prompt skill is activated if its description
matches the request (`harness.cli.intent`). The test runs no skill.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.agent_skills.skill_md import is_inside
from harness.api.skill import Call, Result
from harness.chat.active_skills import ACTIVATE, SKILL_NAME
from harness.chat.tool_loop import SYSTEM, tools_for
from harness.chat.toolbox import arguments_of, string
from harness.cli import intent
from harness.errors import InputError, UsageError
from harness.models import served
from harness.models.backend import Message
from harness.models.served import ServedModel
from harness.support.bounded_files import parsed_json
from harness.terminal.rendering import table

if TYPE_CHECKING:
    from harness.cli.app import App

FILE = Path("evals", "evals.json")
"""The file with the cases, in the folder of the skill."""
MAX_BYTES = 1_000_000
"""Maximum size of the file in bytes."""


class Case(BaseModel):
    """A case: a request, and whether it should activate the skill.

    Fields of other clients, such as `expected_output`, are ignored.
    """

    model_config = ConfigDict(frozen=True)
    query: str = Field(min_length=1, validation_alias=AliasChoices("query", "prompt"))
    should_trigger: bool = Field(True, strict=True)


def test(app: App, name: str, call: Call) -> Result:
    """Return a table of the cases; the exit code is 1 if a case fails.

    Raises:
        UsageError: the skill is unknown, has no folder, cannot be used by models, or has no valid
            cases.
    """
    found = app.catalogue.skills.get(name)
    if found is None:
        raise app.catalogue.unknown(name)
    if found.file is None:
        raise UsageError(
            f"/{name} has no folder with {FILE}", hint=f"`/skills {name}` shows the skill."
        )
    if not found.file.for_models:
        raise UsageError(f"/{name} is for users only: `disable-model-invocation` is true")
    cases = read(found.file.folder)

    def decide(model: ServedModel) -> tuple[str, list[list[str]]]:
        if not model.takes_tools:
            call.screen.notice("the model cannot call tools: descriptions decide instead")
        with call.screen.progress(f"testing /{name}") as show:
            activated = []
            for number, case in enumerate(cases, start=1):
                show(f"{number} of {len(cases)}")
                call.cancel.check()
                activated.append(_activated(app, model, case.query))
        return f"{model.resolution.resolved} ({model.resolution.chosen.serve.label})", activated

    label, activated = call.models.run("chat", decide)
    rows, data = [], []
    for case, names in zip(cases, activated, strict=True):
        hit = (name in names) == case.should_trigger
        expected = f"/{name}" if case.should_trigger else f"not /{name}"
        got = ", ".join(f"/{one}" for one in names) or "no skill"
        rows.append(("hit" if hit else "MISS", expected, got, " ".join(case.query.split())))
        data.append({**case.model_dump(), "activated": names, "hit": hit})
    hits = sum(one["hit"] for one in data)
    shown = table(("", "expected", "activated", "request"), rows)
    return Result(
        f"{shown}\n\n{hits} of {len(data)} as expected, decided with {label}",
        {"skill": name, "model": label, "hits": hits, "misses": len(data) - hits, "cases": data},
        exit_code=int(hits < len(data)),
    )


def read(folder: Path) -> Sequence[Case]:
    """Return the cases of a skill.

    Raises:
        InputError: the file does not exist, is not JSON, has no cases, or has an invalid case.
    """
    path = folder / FILE
    if not is_inside(folder, path):
        hint = '[{"query": "a request", "should_trigger": true}, ...]'
        raise InputError(
            "there is no file with cases", where=str(path), hint=f"Content of the file: {hint}"
        )
    _, content = parsed_json(path, MAX_BYTES)
    listed = content.get("evals") if isinstance(content, dict) else content
    try:
        cases = TypeAdapter(list[Case]).validate_python(listed)
    except ValidationError as exc:
        first = exc.errors()[0]
        number, *field = first["loc"] or ("evals",)
        case = f", case {number + 1}" if isinstance(number, int) else ""
        what = f"{'.'.join(map(str, field)) or 'the list of cases'}: {first['msg']}"
        raise InputError(what, where=f"{path}{case}") from exc
    if not cases:
        raise InputError("there are no cases", where=str(path))
    return cases


def _activated(app: App, model: ServedModel, query: str) -> list[str]:
    """Return the names of the skills that a request activates, each name once."""
    skills = app.catalogue.skills
    if match := intent.triggered(skills, query):
        return [match[0]]
    tools = tools_for(model, app.toolbox)
    if not tools:
        return intent.described(skills, query)
    messages = Message("system", SYSTEM), Message("user", query)
    request = model.request(messages=messages, tools=tools, max_tokens=served.ANSWER_TOKENS)
    names = []
    for call in model.generate(request).tool_calls:
        if call.name == ACTIVATE:
            with contextlib.suppress(UsageError):
                names.append(string(arguments_of(call), SKILL_NAME))
        else:
            names.append(call.name)
    return [name for name in dict.fromkeys(names) if name in skills]
