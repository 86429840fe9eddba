"""A turn of chat with the producer model; the conversation lives as long as the process."""

from __future__ import annotations

from pydantic import Field

from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.chat.tool_loop import Turn, tools_for
from harness.chat.toolbox import Toolbox
from harness.errors import UsageError
from harness.models.backends.base import Message
from harness.models.pool import ServedModel


class Chat(Skill):
    """Plain text goes here; `/chat` does too.

    Args:
        toolbox: the skills that the model may call; None for none.
    """

    name = "chat"
    summary = "Talk to the producer model; plain text without a slash does the same"
    details = (
        "A model that can call tools may call the other commands to do what is asked. Each call\n"
        "is shown as the line it amounts to; one that writes files, trains or changes anything\n"
        "else is asked about first (--yes allows it)."
    )
    text = "optional"
    saves = (".md", ".txt")
    tool = False

    class Options(SkillOptions):
        new: bool = Field(False, description="forget the conversation so far")
        steps: int = Field(
            10, ge=0, description="how often the model may call commands before it has to answer"
        )

    def __init__(self, toolbox: Toolbox | None = None) -> None:
        self._toolbox = toolbox
        self._turns: list[Message] = []
        self._told: set[str] = set()

    def run(self, call: Call) -> Result:
        if call.options.new:
            self._turns.clear()
        if not call.text.strip():
            if call.options.new:
                return Result("The conversation is forgotten.")
            raise UsageError("there is nothing to say", hint="/chat TEXT")
        turns: list[Turn] = []

        def answer(model: ServedModel) -> str:
            turn = Turn(call, model, tuple(self._turns), self._toolbox, call.options.steps)
            turns.append(turn)
            self._tell(call, model)
            try:
                return turn.run()
            finally:
                self._tell(call, model)

        try:
            text = call.models.run("chat", answer).strip()
        finally:  # an interrupted answer stays in the conversation as far as it came
            if turns:
                self._turns += turns[-1].said()
        turn = turns[-1]
        return Result(
            text,
            {"text": text, "calls": turn.calls} if turn.calls else None,
            renderers={".md": lambda: text + "\n", ".txt": lambda: text + "\n"},
            exit_code=turn.code,
            stopped=turn.stopped,
        )

    def _tell(self, call: Call, model: ServedModel) -> None:
        """Say, once each, which skills this model does not call, and why."""
        if self._toolbox is None or not call.options.steps:
            return
        who = f"{model.resolution.resolved} ({model.resolution.chosen.serve.label})"
        if model.takes_tools:
            left = self._toolbox.left_out(tools_for(model, self._toolbox))
            names = " and ".join(f"/{name}" for name in left)
            said = (
                f"{who} is not told of {names}: a context of {model.context:,} tokens has no room "
                "for them; `context` in the registry sets it"
                if left
                else ""
            )
        else:
            refused = f" ({model.tools_refused})" if model.tools_refused else ""
            said = (
                f"{who} calls no skills by itself{refused}: "
                "give their commands, or words that one of them knows"
            )
        if said and said not in self._told:
            self._told.add(said)
            call.screen.notice(said)
