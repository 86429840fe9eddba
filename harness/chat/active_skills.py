"""The prompt skills that are active in a conversation, and the tool that activates them.

The instructions are in the system message of each request, so that they remain when the
conversation is trimmed or continued. Files to which the instructions refer are added only if the
model has no tool to read files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.agent_skills import prompt_skill
from harness.agent_skills.prompt_skill import PromptSkill
from harness.api.options import GeneralOptions
from harness.api.skill import SkillOptions
from harness.chat.conversation import Conversation
from harness.chat.skill_tools import TEXT, finished
from harness.chat.toolbox import ALL, DETAILS, PreparedCall, arguments_of, content_of, string
from harness.errors import HarnessError, SkillFailed, UsageError
from harness.models.backend import Tool, ToolCall
from harness.models.served import BYTES_PER_TOKEN
from harness.permissions import Permission
from harness.plugins.catalogue import Found
from harness.plugins.trust import private_copy
from harness.runs.invocation import Invocation, render_line
from harness.runs.run_log import Run
from harness.terminal.console import Screen

if TYPE_CHECKING:
    from harness.cli.app import App

INSTRUCTIONS_SHARE = 2
"""Divisor of the context size: instructions and files may use half of the context."""
READ_AHEAD = 64 * 1024
"""Maximum size in bytes of a skill's instructions with files, for a model that cannot read files.

Files are left out to reach this size; the instructions themselves are not cut.
"""
RULE = """\
The user works with the skills below. Follow their instructions. A message that begins with /NAME
uses the skill of that name, and the rest of the message is its text. A relative path in the
instructions is a path in the folder of the skill, and a file of that folder which they refer to is
part of them: read it when it is needed."""
ACTIVATE = "activate_skill"
SKILL_NAME = "skill"
LEAST_LIST = 4096
"""Size in bytes that the list of skills may use even in a small context."""
LIST_SHARE = 50
"""Divisor of the context size: the list of skills may use 2% of a large context."""
CUT = "..."
MODEL_TEXT = 1000
"""Maximum number of characters of the text that a model passes to a skill."""
_ABOUT = """\
Activate a skill: its instructions become part of the conversation, and you follow them. Do so
first if one of these skills fits the request."""
_BRIEFLY = "Activate a skill that fits the request, and follow its instructions"


def prompt_skills(found: Mapping[str, Found]) -> dict[str, PromptSkill]:
    """Return the prompt skills of a catalogue, by name."""
    return {
        name: one.imported for name, one in found.items() if isinstance(one.imported, PromptSkill)
    }


@dataclass(slots=True)
class ActiveSkills:
    """The active skills of a conversation during one turn.

    Args:
        conversation: the conversation, which stores the names of the active skills.
        skills: the available prompt skills, by name.
        notify: shows a line to the user.
    """

    conversation: Conversation
    skills: Mapping[str, PromptSkill]
    notify: Callable[[str], None]
    _bodies: dict[str, str] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    @property
    def folders(self) -> dict[str, Path]:
        """The folders of the active skills by name, in the order of activation."""
        names = self.conversation.skills
        return {name: self.skills[name].folder for name in names if name in self.skills}

    def activate(self, skill: PromptSkill, text: str, context: int) -> None:
        """Add a skill's instructions to the conversation, or replace its earlier instructions.

        Args:
            text: the text of the line, which replaces placeholders in the instructions.
            context: the size of the context in tokens, which limits the instructions
                (`INSTRUCTIONS_SHARE`).

        Raises:
            UsageError: the skill has no instructions, or they cannot be read.
            SkillFailed: the instructions are too long.
        """
        body = skill.body(text)
        tokens = len(body.encode()) // BYTES_PER_TOKEN
        if tokens > context // INSTRUCTIONS_SHARE:
            raise SkillFailed(
                f"the instructions of /{skill.name} have about {tokens:,} tokens, and a context of "
                f"{context:,} has no room for them",
                hint="`context` of the model in the registry sets this size.",
            )
        self.conversation.activate(skill.name, text)
        self._bodies[skill.name] = body

    def text(self, context: int, *, read_ahead: bool) -> str:
        """Return the part of the system message that contains the instructions, or "".

        The latest skill is always kept. An earlier skill is removed from the conversation if there
        is no room for its instructions besides the instructions of later skills.

        Args:
            context: the size of the context in tokens.
            read_ahead: True to include files that the instructions refer to, as far as they fit.
        """
        room = context * BYTES_PER_TOKEN // INSTRUCTIONS_SHARE
        kept: list[str] = []
        for skill, body in reversed([*self._active()]):
            listed = prompt_skill.resource_names(skill.folder)
            instructions = skill.instructions(body, listed)
            if kept and len(instructions.encode()) > room:
                del self.conversation.skills[skill.name]
                self.notify(f"/{skill.name} is no longer used: no room in the model's context")
                continue
            if read_ahead:
                instructions = self._with_files(skill, body, listed, min(room, READ_AHEAD))
            room -= len(instructions.encode())
            kept.insert(0, instructions)
        return "\n\n".join([RULE, *kept]) if kept else ""

    def _active(self) -> Iterator[tuple[PromptSkill, str]]:
        """Yield the active skills with their bodies, after removing skills that cannot be used."""
        for name, text in [*self.conversation.skills.items()]:
            try:
                if name not in self.skills:
                    raise SkillFailed("there is no such skill any more")
                skill = self.skills[name]
                if name not in self._bodies:
                    self._bodies[name] = skill.body(text)
            except HarnessError as exc:
                del self.conversation.skills[name]
                self.notify(f"/{name} is no longer used: {exc}")
                continue
            yield skill, self._bodies[name]

    def _with_files(self, skill: PromptSkill, body: str, listed: Sequence[str], room: int) -> str:
        """Return the text of `PromptSkill.instructions` with referenced files, if `room` permits.

        Files are left out until the text has at most `room` bytes. The user is notified of each
        file that is left out or cannot be read, once in a turn.
        """
        files, refused = prompt_skill.referred_resources(skill.folder, body)
        while files and len(skill.instructions(body, listed, files).encode()) > room:
            refused.append(f"{files.popitem()[0]}: no room in the model's context")
        for reason in refused:
            line = f"/{skill.name}: not read: {reason}"
            if line not in self._told:
                self._told.add(line)
                self.notify(line)
        return skill.instructions(body, listed, files)


def activation(app: App) -> Iterator[ActivateSkill]:
    """Yield the tool that activates skills, if there are prompt skills that a model may use.

    The context of the model that was used last limits the size of the list of skills.
    """
    skills = prompt_skills(app.catalogue.skills).values()
    offered = [skill for skill in skills if skill.file.for_models]
    if offered:
        model = app.last_resolution
        context = model.chosen.serve.context if model else 0
        room = max(LEAST_LIST, context * BYTES_PER_TOKEN // LIST_SHARE)
        yield ActivateSkill(app, offered, room)


def activatable(tools: Iterable[Tool]) -> frozenset[str]:
    """Return the names of the skills that a model with these tools can activate."""
    for tool in tools:
        if tool.name == ACTIVATE:
            properties: Any = tool.parameters["properties"]
            return frozenset(properties[SKILL_NAME]["enum"])
    return frozenset()


@dataclass(frozen=True, slots=True)
class ActivateSkill:
    """The tool with which a model activates one of `skills`.

    Attributes:
        room: maximum size in bytes of the list of skills at the highest level of detail. Each lower
            level halves this size.
    """

    app: App
    skills: Sequence[PromptSkill]
    room: int
    name: str = ACTIVATE

    def described(self, level: int) -> Tool:
        """Return the tool with the names of skills and, from level `DETAILS`, their summaries."""
        rows = skill_list(self.skills, self.room >> (ALL - level))
        text = {"type": "string"}
        about = _BRIEFLY
        if level >= DETAILS:
            text["description"] = "what the skill is to work on, if anything"
            about = "\n".join([_ABOUT, *(f"- {name}: {row}" for name, row in rows.items())])
        properties = {SKILL_NAME: {"type": "string", "enum": [*rows]}, TEXT: text}
        return Tool(
            ACTIVATE, about, {"type": "object", "properties": properties, "required": [SKILL_NAME]}
        )

    def prepared(self, call: ToolCall) -> PreparedCall:
        given = arguments_of(call)
        name, text = string(given, SKILL_NAME), string(given, TEXT)
        if unknown := given.keys() - {SKILL_NAME, TEXT}:
            raise UsageError(f"{ACTIVATE} has no parameter {sorted(unknown)[0]!r}")
        found = {skill.name: skill for skill in self.skills}
        if name not in found:
            raise UsageError(f"there is no skill {name!r}", hint=f"Skills: {', '.join(found)}.")
        skill = found[name]
        invocation = Invocation(name, "", text[:MODEL_TEXT], SkillOptions(), GeneralOptions())
        line = render_line(skill, invocation)

        def work(screen: Screen, run: Run) -> tuple[str, int]:
            self._allow(skill, run)
            outcome = self.app.run_called(invocation, line, run=run)
            # The whole text is returned, since the separate conversation of the skill is not kept.
            content = content_of(outcome, result=outcome.result.text)
            return finished(outcome, content, screen)

        return PreparedCall(line, work)

    def _allow(self, skill: PromptSkill, run: Run) -> None:
        """Ask the user to allow the model to use a project's skill in its current version.

        The model then uses a copy of the skill's folder, so that the answer "yes" does not cover
        later changes. An "always" answer covers all versions of all skills of the project. Skills
        in the user's own folders need no permission.

        Raises:
            NotAllowed: the user refuses, or nobody can be asked.
            UsageError: the folder cannot be trusted (see `trust.content_hash`).
        """
        permissions, folder = self.app.permissions, skill.file.folder
        if any(folder.is_relative_to(place) for place in permissions.settings.user_folders):
            return
        copy, _ = private_copy(folder.resolve())
        present = skill.present(copy)
        detail = [f"/{skill.name} is a skill of this project, in {folder}: {present.summary}"]
        if tools := present.allowed_tools:
            detail.append(f"It names tools, which are not allowed by that: {tools}")
        wanted = Permission("activate", skill.name, "\n".join(detail))
        run.allow(permissions.check(wanted))
        skill.copy = copy


def skill_list(skills: Sequence[PromptSkill], room: int) -> dict[str, str]:
    """Return the summaries of skills by name, cut to fit into `room` bytes together.

    The longest summaries are cut first. If the names alone do not fit, the last skills are left
    out.
    """
    kept: list[PromptSkill] = []
    for skill in skills:
        room -= len(skill.name) + 5  # the characters "- ", ": " and the line feed
        if room < 0:
            break
        kept.append(skill)
    most = _longest([len(skill.summary.encode()) for skill in kept], room)
    return {skill.name: _cut(skill.summary, most) for skill in kept}


def _longest(sizes: Sequence[int], room: int) -> int:
    """Return the size to which the longest texts must be cut so that all texts fit into `room`."""
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
