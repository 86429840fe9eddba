"""A skill that consists of a SKILL.md: its body instructs the producer model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.agent_skills.placeholders import substitute
from harness.agent_skills.resources import Resource
from harness.agent_skills.skill_md import SkillFile
from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.errors import UsageError

HINT = 80
"""Characters of `argument-hint` that are shown."""


class PromptSkill(Skill):
    """A folder with a SKILL.md and no plugin.py.

    The body and the files are read at each use, so changes need no /reload.

    Args:
        use: uses it in the conversation with the producer model.

    Attributes:
        hint: what its text should be, from `argument-hint`, or "".
        separate: whether it runs in a conversation of its own; `context: fork`.
    """

    flags_are_text = True
    saves = (".md", ".txt")
    text = "optional"
    tool = False  # one tool activates any of them

    def __init__(self, file: SkillFile, use: Callable[[PromptSkill, Call], Result]) -> None:
        self.file = file
        self._use = use
        self.name = file.name  # type: ignore[misc]  # one class for many folders
        self.summary = file.description  # type: ignore[misc]
        self.hint = self._line("argument-hint")[:HINT]
        self.usage = self.hint or Skill.usage  # type: ignore[misc]
        self.separate = self._line("context").lower() == "fork"
        self.details = self._details()  # type: ignore[misc]

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        return ""

    def run(self, call: Call) -> Result:
        return self._use(self, call)

    @property
    def allowed_tools(self) -> str:
        """The tools that the skill wants to use, in one line."""
        return self._line("allowed-tools")

    def body(self, arguments: str) -> str:
        """Return the present instructions with their placeholders replaced.

        Raises:
            UsageError: there are none, or they cannot be read.
        """
        body = self.file.body
        if not body:
            raise UsageError(f"/{self.name} has no instructions", where=str(self.file.path))
        return substitute(body, arguments, self.file.folder.absolute())

    def instructions(self, body: str, listed: Sequence[str], files: Sequence[Resource] = ()) -> str:
        """Return the body for a model, with its folder, and other files as names or with text."""
        parts = [f"The folder of this skill is {self.file.folder.absolute()}", body]
        parts += [f'<skill_file path="{file.name}">\n{file.text}\n</skill_file>' for file in files]
        read = {file.name for file in files}
        if names := "".join(f"\n<file>{name}</file>" for name in listed if name not in read):
            parts.append(f"<skill_resources>{names}\n</skill_resources>")
        content = "\n".join(parts)
        return f'<skill_content name="{self.name}">\n{content}\n</skill_content>'

    def _line(self, field: str) -> str:
        """Return a field as one line of printable text; a list is written as in YAML."""
        value = self.file.fields.get(field, "")
        if isinstance(value, list):
            value = f"[{', '.join(map(str, value))}]"
        elif not isinstance(value, str):
            value = ""
        return " ".join("".join(c if c.isprintable() else " " for c in value).split())

    def _details(self) -> str:
        rows = ("Compatibility", self._line("compatibility")), ("Tools it uses", self.allowed_tools)
        notes = [] if self.file.for_models else ["Only the user may use it; a model may not."]
        return "\n".join([*(f"{about}: {text}" for about, text in rows if text), *notes])
