"""The tool with which a model activates prompt skills: one for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.agent_skills.prompt_skill import PromptSkill
from harness.api.options import GeneralOptions
from harness.api.skill import SkillOptions
from harness.chat import tool_result
from harness.chat.context.active_skills import prompt_skills
from harness.chat.sources.call_log import failures_logged
from harness.chat.sources.skill_tool import Dispatcher, finished
from harness.chat.tool_call import arguments_of, string
from harness.chat.tool_schema import TEXT
from harness.chat.tools import ALL, DETAILS, PreparedCall
from harness.errors import UsageError
from harness.models.backends.base import Tool, ToolCall
from harness.models.resolution import Resolution
from harness.models.served import BYTES_PER_TOKEN
from harness.permissions.permission import Permission
from harness.runs.frontend import Outcome
from harness.runs.invocation import Invocation, render_line
from harness.runs.run_log import Run
from harness.terminal.console import Screen

NAME = "activate_skill"
SKILL = "skill"
LEAST = 4096
"""Bytes of the catalogue of names and descriptions that a request may always have."""
SHARE = 50
"""With a large context, the catalogue may use this part of it: 2%."""
CUT = "..."
MODEL_TEXT = 1000
"""Characters of a model's text for a skill."""
_ABOUT = """\
Activate a skill: its instructions become part of the conversation, and you follow them. Do so
first if one of these skills fits the request."""
_BRIEFLY = "Activate a skill that fits the request, and follow its instructions"


def activation(
    dispatcher: Dispatcher, used: Callable[[], Resolution | None]
) -> Iterator[ActivateSkill]:
    """Yield the tool, if a model may use any prompt skill.

    Args:
        used: returns the model in use, whose context limits the catalogue.
    """
    skills = prompt_skills(dispatcher.catalogue.skills).values()
    offered = [skill for skill in skills if skill.file.for_models]
    if offered:
        model = used()
        context = model.chosen.serve.context if model else 0
        yield ActivateSkill(dispatcher, offered, max(LEAST, context * BYTES_PER_TOKEN // SHARE))


def activatable(tools: Iterable[Tool]) -> frozenset[str]:
    """Return the names of the skills that a model can activate with these tools."""
    for tool in tools:
        if tool.name == NAME:
            properties: Any = tool.parameters["properties"]
            return frozenset(properties[SKILL]["enum"])
    return frozenset()


@dataclass(frozen=True, slots=True)
class ActivateSkill:
    """Activation of one of `skills`.

    Attributes:
        room: size of the catalogue at the highest level of detail, in bytes.
    """

    dispatcher: Dispatcher
    skills: Sequence[PromptSkill]
    room: int

    @property
    def name(self) -> str:
        return NAME

    def described(self, level: int) -> Tool:
        """Return the tool with the names of the skills; from `DETAILS` on, with descriptions."""
        rows = catalogue(self.skills, self.room >> (ALL - level))
        text = {"type": "string"}
        about = _BRIEFLY
        if level >= DETAILS:
            text["description"] = "what the skill is to work on, if anything"
            about = "\n".join([_ABOUT, *(f"- {name}: {row}" for name, row in rows.items())])
        properties = {SKILL: {"type": "string", "enum": [*rows]}, TEXT: text}
        return Tool(NAME, about, {"type": "object", "properties": properties, "required": [SKILL]})

    def prepared(self, call: ToolCall) -> PreparedCall:
        skill, invocation = self._invocation(call)
        line = render_line(skill, invocation)

        def work(screen: Screen) -> tuple[str, int]:
            run = Run()
            with failures_logged(self.dispatcher, skill.name, line, run):
                self._allow(skill, run)
                outcome = self.dispatcher.run_called(invocation, line, run=run)
            return finished(outcome, _content(outcome), screen)

        return PreparedCall(line, work)

    def _allow(self, skill: PromptSkill, run: Run) -> None:
        """Ask the user whether the model may use a skill of the project.

        An "always" answer holds for all of the project's skills.

        Raises:
            NotAllowed: it may not.
        """
        permissions, folder = self.dispatcher.permissions, skill.file.folder
        if any(folder.is_relative_to(place) for place in permissions.settings.user_folders):
            return
        detail = [f"/{skill.name} is a skill of this project, in {folder}: {skill.summary}"]
        if skill.allowed_tools:
            detail.append(f"It names tools, which are not allowed by that: {skill.allowed_tools}")
        wanted = Permission("activate", skill.name, "\n".join(detail))
        run.allow(permissions.check(wanted))

    def _invocation(self, call: ToolCall) -> tuple[PromptSkill, Invocation]:
        given = arguments_of(call)
        name, text = string(given, SKILL), string(given, TEXT)
        if unknown := given.keys() - {SKILL, TEXT}:
            raise UsageError(f"{NAME} has no parameter {sorted(unknown)[0]!r}")
        found = {skill.name: skill for skill in self.skills}
        if name not in found:
            raise UsageError(f"there is no skill {name!r}", hint=f"There are {', '.join(found)}.")
        skill = found[name]
        return skill, Invocation(name, "", text[:MODEL_TEXT], SkillOptions(), GeneralOptions())


def catalogue(skills: Sequence[PromptSkill], room: int) -> dict[str, str]:
    """Return names and descriptions within a size in bytes.

    The longest descriptions are cut first. If all names do not fit, the last skills are
    left out.
    """
    kept: list[PromptSkill] = []
    for skill in skills:
        room -= len(skill.name) + 5  # "- ", ": " and the end of the line
        if room < 0:
            break
        kept.append(skill)
    most = _longest([len(skill.summary.encode()) for skill in kept], room)
    return {skill.name: _cut(skill.summary, most) for skill in kept}


def _longest(sizes: Sequence[int], room: int) -> int:
    """Return the size to which texts of these sizes have to be cut to fit into the room."""
    for place, size in enumerate(sorted(sizes)):
        left = len(sizes) - place
        if size * left > room:
            return room // left
        room -= size
    return max(sizes, default=0)


def _cut(text: str, size: int) -> str:
    if len(text.encode()) <= size:
        return text
    if size < len(CUT):
        return ""
    return text.encode()[: size - len(CUT)].decode(errors="ignore").rstrip() + CUT


def _content(outcome: Outcome) -> str:
    """Return the text of a result as a whole: of a separate skill, nothing else is kept."""
    result = outcome.result
    error = {"error": str(result.stopped)} if result.stopped is not None else {}
    return tool_result.compact({"exit_code": result.code, **error, "result": result.text})
