"""/chat: talk to the producer model, in the conversation of this process."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from harness.agent_skills.prompt_skill import PromptSkill
from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.chat import active_skills
from harness.chat.active_skills import ActiveSkills, prompt_skills
from harness.chat.context_files import ProjectInstructions, with_files
from harness.chat.conversation import Conversation
from harness.chat.tool_loop import CURRENT, NO_ANSWER, Turn, tools_for
from harness.errors import UsageError
from harness.models.backend import Message
from harness.models.served import BYTES_PER_TOKEN, ServedModel, label
from harness.support import text_input
from harness.terminal.console import render_markdown

if TYPE_CHECKING:
    from harness.cli.app import App

STEPS = 10
"""Default maximum number of replies with tool calls before the model has to answer."""
SHARE = 4
"""Divisor of the context size: the project's instructions may use a quarter of the context."""


class Chat(Skill):
    """The command /chat, which also receives plain text that requests no other skill."""

    name = "chat"
    summary = "Talk to the producer model; plain text without a slash does the same"
    details = (
        "A model that supports tools may call the other commands. Each call is shown as a line.\n"
        "You are asked before a call that writes files, trains or makes other lasting changes\n"
        "(--yes allows all). @PATH attaches a file. @- or a - at the end attaches piped text;\n"
        "plain text without /chat always includes it."
    )
    text = "optional"
    saves = (".md", ".txt")
    tool = False

    class Options(SkillOptions):
        new: bool = Field(False, description="begin a new conversation")
        steps: int = Field(
            STEPS,
            ge=0,
            description="maximum number of replies with tool calls before the model answers",
        )

    def __init__(self, app: App) -> None:
        self._app = app
        self._instructions = ProjectInstructions()
        self._notices: set[str] = set()

    def run(self, call: Call) -> Result:
        conversation = self._app.conversation
        if call.options.new:
            conversation.forget()
        if not call.text.strip():
            if call.options.new:
                return Result("A new conversation begins.")
            raise UsageError("there is no text", hint="Write `/chat TEXT`.")
        conversation.check_rights(yes=call.yes)
        return self._result(self._answer(call, with_files(call), conversation, call.options.steps))

    def use(self, skill: PromptSkill, call: Call) -> Result:
        """Use a prompt skill for a line of the user or a tool call, and return the result.

        A separate skill (`PromptSkill.separate`) runs in its own conversation; the result is the
        model's answer, which becomes part of the current conversation. For other skills, the
        instructions become part of the current conversation. For a line, the result is then the
        model's answer; for a tool call, the result only confirms the activation.
        """
        turn = CURRENT.get()
        if turn is None:
            skill.copy = None
            return self._use(skill, call)
        if not skill.separate:
            turn.skills.activate(skill, call.text, turn.model.context)
            return Result(f"The instructions of /{skill.name} are part of the conversation now.")
        if turn.skills.conversation is not self._app.conversation:
            raise UsageError("a skill that runs separately cannot start another one")
        return self._result(self._answer_separately(skill, call, call.text))

    def _use(self, skill: PromptSkill, call: Call) -> Result:
        """Use a prompt skill for a line of the user, and return the model's answer.

        If the text of the line is the path of an existing .txt or .md file, the content of the file
        replaces the text. Otherwise, the files that the text names after @ are attached.
        """
        conversation = self._app.conversation
        conversation.check_rights(yes=call.yes)
        name = text_input.unquote(call.text.strip()) if call.source == "line" else ""
        is_file = name.lower().endswith(text_input.SUFFIXES) and text_input.is_file(name)
        text = text_input.read_text(Path(name)) if is_file else with_files(call)
        if skill.separate:
            turn = self._answer_separately(skill, call, text)
            answer = Message("assistant", turn.answer or NO_ANSWER)
            served = label(turn.model.about)
            conversation.add([turn.messages[0], answer], asked=not call.yes, served=served)
            return self._result(turn)
        skill.body(call.text)  # invalid instructions raise an error before the conversation changes
        before, line = dict(conversation.skills), _line(skill, text)
        conversation.activate(skill.name, call.text)
        try:
            return self._result(self._answer(call, line, conversation))
        finally:
            # If the line was not added to the conversation, the earlier skills are restored.
            if Message("user", line) not in conversation.messages:
                conversation.skills = before

    def _answer_separately(self, skill: PromptSkill, call: Call, text: str) -> Turn:
        skill.body(call.text)
        store = self._app.conversation.store
        conversation = Conversation(store, skills={skill.name: call.text}, keeps=False)
        return self._answer(call, _line(skill, text), conversation)

    def _answer(
        self, call: Call, text: str, conversation: Conversation, steps: int = STEPS
    ) -> Turn:
        """Answer a message of the user, add the turn to the conversation, and return the turn."""
        turns: list[Turn] = []
        explain = partial(self._explain, call)
        files = self._instructions.read(call, explain)
        skills = ActiveSkills(conversation, self._skills, call.screen.notice)

        def answer(model: ServedModel) -> None:
            room = model.context * BYTES_PER_TOKEN // SHARE
            rules = self._instructions.for_model(files, room, explain)
            turn = Turn(call, model, text, skills, self._app.toolbox, steps, rules)
            turns.append(turn)
            resumed = self._app.conversation.resumed
            if resumed is not None and resumed.served not in ("", label(model.about)):
                explain(f"session {resumed.id} was last answered by {resumed.served}")
            self._explain_tools(call, model, steps)
            try:
                turn.run()
            finally:
                self._explain_tools(call, model, steps)

        try:
            call.models.run("chat", answer)
        finally:  # an interrupted answer is also part of the conversation
            if turns:
                served = label(turns[-1].model.about)
                turn = turns[-1].conversation()
                conversation.add(turn, asked=not call.yes, served=served)
        return turns[-1]

    def _result(self, turn: Turn) -> Result:
        text = turn.answer.strip()
        return Result(
            text,
            {
                "text": text,
                **({"calls": turn.calls} if turn.calls else {}),
                "answered_by": turn.model.about,
                "session": self._app.conversation.session,
            },
            renderers={".md": lambda: text + "\n", ".txt": lambda: text + "\n"},
            exit_code=turn.code,
            stopped=turn.stopped,
            terminal=lambda: render_markdown(text),
        )

    @property
    def _skills(self) -> dict[str, PromptSkill]:
        return prompt_skills(self._app.catalogue.skills)

    def _explain(self, call: Call, notice: str) -> None:
        """Print a notice, unless this chat has already printed the same notice."""
        if notice not in self._notices:
            self._notices.add(notice)
            call.screen.notice(notice)

    def _explain_tools(self, call: Call, model: ServedModel, steps: int) -> None:
        """Print a notice about the skills and tools that this model cannot call, if any.

        If the model cannot call the tool that activates prompt skills, no prompt skills are listed.
        """
        if not steps:
            return
        name = f"{model.resolution.resolved} ({model.resolution.chosen.serve.label})"
        if not model.takes_tools:
            refused = f" ({model.tools_refused})" if model.tools_refused else ""
            self._explain(
                call,
                f"{name} cannot call skills{refused}: use their commands, or words that a command "
                "recognizes",
            )
            return
        tools, skills = tools_for(model, self._app.toolbox), self._app.catalogue.skills
        left = self._app.toolbox.left_out(tools)
        if active_skills.ACTIVATE not in left:
            usable = {name for name, skill in self._skills.items() if skill.file.for_models}
            left += sorted(usable - active_skills.activatable(tools))
        if left:
            names = " and ".join(f"/{name}" if name in skills else name for name in left)
            self._explain(
                call,
                f"{name} cannot call {names}: a context of {model.context:,} tokens has no room "
                "for them; `context` of the model in the registry sets this size",
            )


def _line(skill: PromptSkill, text: str) -> str:
    """Return the line that runs a skill; the conversation stores this line as a user's message."""
    return f"/{skill.name} {text}" if text.strip() else f"/{skill.name}"
