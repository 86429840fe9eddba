"""/chat: conversation with the producer model, kept for the life of the process."""

from __future__ import annotations

from pydantic import Field

from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.chat.context.attachments import with_files
from harness.chat.context.project_instructions import ProjectInstructions
from harness.chat.conversation import Conversation
from harness.chat.tool_loop import Turn, tools_for
from harness.chat.toolbox import Toolbox
from harness.errors import UsageError
from harness.models.served import BYTES_PER_TOKEN, ServedModel, label
from harness.terminal.console import render_markdown

SHARE = 4
"""The instructions of the project may use a quarter of the context."""


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
        new: bool = Field(False, description="begin a new conversation")
        steps: int = Field(
            10, ge=0, description="maximum number of steps with calls before the model answers"
        )

    def __init__(
        self, toolbox: Toolbox | None = None, conversation: Conversation | None = None
    ) -> None:
        self._toolbox = toolbox
        self.conversation = conversation or Conversation()
        self._instructions = ProjectInstructions()
        self._notices: set[str] = set()

    def run(self, call: Call) -> Result:
        if call.options.new:
            self.conversation.forget()
        if not call.text.strip():
            if call.options.new:
                return Result("A new conversation begins.")
            raise UsageError("there is no text", hint="/chat TEXT")
        self.conversation.check_rights(yes=call.yes)
        said = call.text if call.source == "stdin" else with_files(call.text, call.screen)
        files = self._instructions.read(call)
        turns: list[Turn] = []

        def answer(model: ServedModel) -> str:
            earlier = tuple(self.conversation.messages)
            room = model.context * BYTES_PER_TOKEN // SHARE
            rules = self._instructions.for_model(files, room, call)
            turn = Turn(call, model, said, earlier, self._toolbox, call.options.steps, rules)
            turns.append(turn)
            self._explain_model(call, model)
            self._explain_tools(call, model)
            try:
                return turn.run()
            finally:
                self._explain_tools(call, model)

        try:
            text = call.models.run("chat", answer).strip()
        finally:  # an interrupted answer is part of the conversation
            if turns:
                turn = turns[-1]
                asked, served = not call.yes, label(turn.model.about)
                self.conversation.add(turn.conversation(), asked=asked, served=served)
        return Result(
            text,
            {
                "text": text,
                **({"calls": turn.calls} if turn.calls else {}),
                "answered_by": turn.model.about,
                "session": self.conversation.session,
            },
            renderers={".md": lambda: text + "\n", ".txt": lambda: text + "\n"},
            exit_code=turn.code,
            stopped=turn.stopped,
            terminal=lambda: render_markdown(text),
        )

    def _explain_model(self, call: Call, model: ServedModel) -> None:
        """Print once that another model than before reads a resumed session."""
        resumed = self.conversation.resumed
        if resumed is not None and resumed.served not in ("", label(model.about)):
            self._explain(call, f"session {resumed.id} was last answered by {resumed.served}")

    def _explain(self, call: Call, notice: str) -> None:
        if notice not in self._notices:
            self._notices.add(notice)
            call.screen.notice(notice)

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
        if notice:
            self._explain(call, notice)
