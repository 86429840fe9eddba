"""A skill that is a SKILL.md alone: its body instructs the producer model."""

from __future__ import annotations

from collections.abc import Sequence

from harness.agent_skills import resources
from harness.agent_skills.resources import Bundled
from harness.agent_skills.skill_md import SkillFile
from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.errors import UsageError
from harness.models import answers
from harness.models.backends.base import Message
from harness.models.pool import BYTES_PER_TOKEN, ServedModel


class PromptSkill(Skill):
    """One folder with a SKILL.md and no plugin.py.

    Body and files are read at each use: a change of them needs no /reload.
    """

    saves = (".md", ".txt")

    def __init__(self, file: SkillFile) -> None:
        self.file = file
        self.name = file.name  # type: ignore[misc]  # one class serves many folders
        self.summary = file.description  # type: ignore[misc]

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        return ""

    def run(self, call: Call) -> Result:
        body = self.file.body
        if not body:
            raise UsageError(f"/{self.name} has no instructions", where=str(self.file.path))
        text = call.read_text()
        files, refused = resources.referred(self.file.folder, body)
        for reason in refused:
            call.screen.notice(f"/{self.name}: not read: {reason}")
        listed = resources.names(self.file.folder)

        def answer(model: ServedModel) -> str:
            room = (model.context - answers.MAX_TOKENS) * BYTES_PER_TOKEN - len(text.encode())
            given = [*files]
            while given and len(self._instructions(body, given, listed).encode()) > room:
                given.pop()
            for left in files[len(given) :]:
                call.screen.notice(
                    f"/{self.name}: not read: {left.name}: the model's context has no room for it"
                )
            system = Message("system", self._instructions(body, given, listed))
            messages = (system, Message("user", text))
            request = model.request(messages=messages, max_tokens=answers.MAX_TOKENS)
            model.check_fits(request)  # a server may cut what is too long without a word
            reply = model.generate(request, call.screen.emit)
            answers.check(reply, call.screen.notice)
            return reply.text

        said = call.models.run("chat", answer)
        return Result(said, renderers={".md": lambda: said + "\n", ".txt": lambda: said + "\n"})

    def _instructions(self, body: str, given: Sequence[Bundled], listed: Sequence[str]) -> str:
        """The body as the specification asks: wrapped, with the other files named but not read."""
        parts = [body]
        parts += [f'<skill_file path="{file.name}">\n{file.text}\n</skill_file>' for file in given]
        read = {file.name for file in given}
        if names := "".join(f"\n<file>{name}</file>" for name in listed if name not in read):
            parts.append(f"<skill_resources>{names}\n</skill_resources>")
        content = "\n".join(parts)
        return f'<skill_content name="{self.name}">\n{content}\n</skill_content>'
