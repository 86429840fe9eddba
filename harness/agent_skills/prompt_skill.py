"""A skill that consists of a SKILL.md: its body instructs the producer model."""

from __future__ import annotations

from collections.abc import Sequence

from harness.agent_skills import resources
from harness.agent_skills.resources import Resource
from harness.agent_skills.skill_md import SkillFile
from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.errors import UsageError
from harness.models import answers
from harness.models.backends.base import Message
from harness.models.served import BYTES_PER_TOKEN, ServedModel
from harness.terminal.console import render_markdown


class PromptSkill(Skill):
    """A folder with a SKILL.md and no plugin.py.

    The body and the files are read at each use, so changes need no /reload.
    """

    flags_are_text = True
    saves = (".md", ".txt")

    def __init__(self, file: SkillFile) -> None:
        self.file = file
        self.name = file.name  # type: ignore[misc]  # one class for many folders
        self.summary = file.description  # type: ignore[misc]

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        return ""

    def run(self, call: Call) -> Result:
        """Answer the text with the producer model."""
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
            included = [*files]
            while included and len(self._instructions(body, included, listed).encode()) > room:
                included.pop()
            for omitted in files[len(included) :]:
                call.screen.notice(
                    f"/{self.name}: not read: {omitted.name}: no room in the model's context"
                )
            system = Message("system", self._instructions(body, included, listed))
            messages = (system, Message("user", text))
            request = model.request(messages=messages, max_tokens=answers.MAX_TOKENS)
            model.check_fits(request)
            writer = call.screen.markdown_writer()
            try:
                reply = model.generate(request, writer.write)
            finally:
                writer.close()
            answers.check(reply, call.screen.notice)
            return reply.text

        reply = call.models.run("chat", answer)
        file = f"{reply}\n"
        return Result(
            reply,
            renderers={".md": lambda: file, ".txt": lambda: file},
            terminal=lambda: render_markdown(reply),
        )

    def _instructions(self, body: str, files: Sequence[Resource], listed: Sequence[str]) -> str:
        """Return the body as the specification requires: wrapped, with the other files listed."""
        parts = [body]
        parts += [f'<skill_file path="{file.name}">\n{file.text}\n</skill_file>' for file in files]
        read = {file.name for file in files}
        if names := "".join(f"\n<file>{name}</file>" for name in listed if name not in read):
            parts.append(f"<skill_resources>{names}\n</skill_resources>")
        content = "\n".join(parts)
        return f'<skill_content name="{self.name}">\n{content}\n</skill_content>'
