"""A skill that is a SKILL.md alone: its body instructs the producer model."""

from __future__ import annotations

from harness.backends.base import Message
from harness.models import ServedModel
from harness.skill_md import SkillFile
from harness.skills import Call, Result, Skill, SkillOptions

MAX_TOKENS = 1024


class PromptSkill(Skill):
    """One folder with a SKILL.md and no plugin.py."""

    saves = (".md", ".txt")

    def __init__(self, file: SkillFile) -> None:
        self.file = file
        self.name = file.name  # type: ignore[misc]  # one class serves many folders
        self.summary = file.description  # type: ignore[misc]

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        return ""

    def run(self, call: Call) -> Result:
        messages = (Message("system", self._instructions()), Message("user", call.text))

        def answer(model: ServedModel) -> str:
            request = model.request(messages=messages, max_tokens=MAX_TOKENS)
            return model.generate(request, call.screen.emit).text

        text = call.models.run("chat", answer)
        return Result(text, renderers={".md": lambda: text + "\n", ".txt": lambda: text + "\n"})

    def _instructions(self) -> str:
        """The body as the specification asks: wrapped, with bundled files named but not read."""
        folder = self.file.folder
        bundled = sorted(
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and path != self.file.path and "__pycache__" not in path.parts
        )
        files = "".join(f"\n<file>{name}</file>" for name in bundled)
        resources = f"\n<skill_resources>{files}\n</skill_resources>" if bundled else ""
        return f'<skill_content name="{self.name}">\n{self.file.body}{resources}\n</skill_content>'
