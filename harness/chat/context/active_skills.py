"""The prompt skills whose instructions are part of a conversation.

They are in the system message of each request, so that no trimming of the conversation removes
them, and a later line goes on with them. A skill's files are part of them only if the model has no
tool to read files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.agent_skills import resources
from harness.agent_skills.prompt_skill import PromptSkill
from harness.chat.conversation import Conversation
from harness.errors import HarnessError, SkillFailed
from harness.models.served import BYTES_PER_TOKEN
from harness.plugins.catalogue import Found

SHARE = 2
"""Instructions and files that the harness adds may use half of the context."""
READ_AHEAD = 64 * 1024
"""Maximum size of a skill's files that are read for a model without tools, in bytes."""
RULE = """\
The user works with the skills below. Follow their instructions. A message that begins with /NAME
uses the skill of that name, and the rest of the message is its text. A relative path in the
instructions is a path in the folder of the skill, and a file of that folder which they refer to is
part of them: read it when it is needed."""


def prompt_skills(found: Mapping[str, Found]) -> dict[str, PromptSkill]:
    """Return the prompt skills of a catalogue, by name."""
    return {
        name: one.imported for name, one in found.items() if isinstance(one.imported, PromptSkill)
    }


@dataclass(slots=True)
class ActiveSkills:
    """The active skills of a conversation during one turn.

    Args:
        skills: the prompt skills that there are, by name.
        notify: shows a line to the user.
    """

    conversation: Conversation
    skills: Mapping[str, PromptSkill]
    notify: Callable[[str], None]
    _bodies: dict[str, str] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    @property
    def folders(self) -> dict[str, Path]:
        """The folders of the active skills by name, that of the newest last."""
        names = self.conversation.skills
        return {name: self.skills[name].file.folder for name in names if name in self.skills}

    def activate(self, skill: PromptSkill, text: str, context: int | None = None) -> None:
        """Add the instructions of a skill; earlier ones of the same skill are replaced.

        Args:
            context: its size in tokens; they may use `SHARE` of it; None for no limit.

        Raises:
            UsageError: it has none, or they cannot be read.
            SkillFailed: they are too long.
        """
        body = skill.body(text)
        tokens = len(body.encode()) // BYTES_PER_TOKEN
        if context is not None and tokens > context // SHARE:
            raise SkillFailed(
                f"the instructions of /{skill.name} have about {tokens:,} tokens, and a context of "
                f"{context:,} has no room for them",
                hint="`context` in the registry sets it.",
            )
        self.conversation.activate(skill.name, text)
        self._bodies[skill.name] = body

    def text(self, context: int, *, read_ahead: bool) -> str:
        """Return the part of the system message that contains the instructions, or "".

        The oldest skills are dropped if all of them exceed their share of the context; the newest
        one is always kept.

        Args:
            context: tokens.
            read_ahead: include the files that the instructions refer to, as far as there is room.
        """
        room = context * BYTES_PER_TOKEN // SHARE
        kept: list[str] = []
        for skill, body in reversed([*self._active()]):
            listed = resources.names(skill.file.folder)
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
        """Yield the active skills with their bodies, without those that are not usable any more."""
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
        """Return the instructions with the files that they refer to and that fit into the room."""
        files, refused = resources.referred(skill.file.folder, body)
        included = [*files]
        while included and len(skill.instructions(body, listed, included).encode()) > room:
            refused.append(f"{included.pop().name}: no room in the model's context")
        for reason in refused:
            line = f"/{skill.name}: not read: {reason}"
            if line not in self._told:
                self._told.add(line)
                self.notify(line)
        return skill.instructions(body, listed, included)
