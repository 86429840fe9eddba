"""/chat: conversation with the producer model, kept for the life of the process."""

from __future__ import annotations

import re

from pydantic import Field

from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.chat.conversation import Conversation
from harness.chat.tool_loop import Turn, tools_for
from harness.chat.toolbox import Toolbox
from harness.errors import UsageError
from harness.models.served import ServedModel
from harness.support.reading import text_input
from harness.terminal.console import render_markdown

_ATTACHED = re.compile(r"(?:\A|\s)@(?:\"([^\"\n]+)\"|'([^'\n]+)'|(\S+))")
_FILES = re.compile(r"\.(?:txt|md|pdf|tex|docx|csv|tsv|json|jsonl|parquet)\Z", re.IGNORECASE)


def _refuse_attachment(text: str) -> None:
    """Raise UsageError for `@FILE`, about which a model without the file would invent an answer."""
    for match in _ATTACHED.finditer(text):
        name = (match[1] or match[2] or match[3]).rstrip(".,;:!?")
        if _FILES.search(name) or text_input.is_file(name):
            raise UsageError(
                f"chat does not read files, and @{name} is one",
                hint=f"`/annotate {name}` reads it; `/help` lists the other commands.",
            )


class Chat(Skill):
    """Runs `/chat` and plain text.

    Args:
        toolbox: the tools that the model may call, or None.
        conversation: the turns so far, to which this skill adds; default: a new one.
    """

    name = "chat"
    summary = "Talk to the producer model; plain text without a slash does the same"
    details = (
        "A model that supports tools may call the other commands. Each call is shown as a line.\n"
        "Before a call that writes files, trains or makes other lasting changes, the user is\n"
        "asked (--yes allows all)."
    )
    text = "optional"
    saves = (".md", ".txt")
    tool = False

    class Options(SkillOptions):
        new: bool = Field(False, description="forget the conversation so far")
        steps: int = Field(
            10, ge=0, description="maximum number of steps with calls before the model answers"
        )

    def __init__(
        self, toolbox: Toolbox | None = None, conversation: Conversation | None = None
    ) -> None:
        self._toolbox = toolbox
        self.conversation = conversation or Conversation()
        self._notices: set[str] = set()

    def run(self, call: Call) -> Result:
        if call.options.new:
            self.conversation.forget()
        if not call.text.strip():
            if call.options.new:
                return Result("The conversation is forgotten.")
            raise UsageError("there is no text", hint="/chat TEXT")
        _refuse_attachment(call.text)
        turns: list[Turn] = []

        def answer(model: ServedModel) -> str:
            earlier = tuple(self.conversation.messages)
            turn = Turn(call, model, earlier, self._toolbox, call.options.steps)
            turns.append(turn)
            self._explain_tools(call, model)
            try:
                return turn.run()
            finally:
                self._explain_tools(call, model)

        try:
            text = call.models.run("chat", answer).strip()
        finally:  # an interrupted answer is part of the conversation
            if turns:
                self.conversation.add(turns[-1].conversation())
        turn = turns[-1]
        return Result(
            text,
            {"text": text, "calls": turn.calls, "answered_by": turn.model.about}
            if turn.calls
            else None,
            renderers={".md": lambda: text + "\n", ".txt": lambda: text + "\n"},
            exit_code=turn.code,
            stopped=turn.stopped,
            terminal=lambda: render_markdown(text),
        )

    def _explain_tools(self, call: Call, model: ServedModel) -> None:
        """Print once which skills this model cannot call, and why."""
        if self._toolbox is None or not call.options.steps:
            return
        name = f"{model.resolution.resolved} ({model.resolution.chosen.serve.label})"
        notice = ""
        if not model.takes_tools:
            refused = f" ({model.tools_refused})" if model.tools_refused else ""
            notice = (
                f"{name} cannot call skills{refused}: use their commands, or words that one of "
                "them recognizes"
            )
        elif left := self._toolbox.left_out(tools_for(model, self._toolbox)):
            names = " and ".join(f"/{skill}" for skill in left)
            notice = (
                f"{name} cannot call {names}: a context of {model.context:,} tokens has no room "
                "for them; `context` in the registry sets it"
            )
        if notice and notice not in self._notices:
            self._notices.add(notice)
            call.screen.notice(notice)
