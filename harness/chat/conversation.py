"""The conversation with the producer model: its turns, and the part that a model receives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.chat.tool_calls import shortened
from harness.errors import NotAllowed, NothingFound
from harness.models.backend import Message
from harness.models.served import BYTES_PER_TOKEN
from harness.runs.frontend import Outcome
from harness.sessions import Session, SessionStore
from harness.settings import Settings

LEFT_OUT = "(left out: the conversation is too long)"
CUT = "... (cut: the conversation is too long)"


@dataclass(slots=True)
class Conversation:
    """The finished turns of a conversation.

    Attributes:
        messages: messages of all turns, without a system message. Each turn begins with the user's
            message and is complete: each tool call has its result.
        skills: names of the skills whose instructions are part of the conversation, in the order
            of their activation, with the text that they were activated with.
        session: id of the stored session; None if the conversation is not stored.
        resumed: the stored session in the state in which this process resumed it.
        store: the store of sessions, or None.
        keeps: True if turns are stored.
        project: the folder that sessions belong to.
    """

    messages: list[Message] = field(default_factory=list)
    skills: dict[str, str] = field(default_factory=dict)
    session: int | None = None
    resumed: Session | None = None
    store: SessionStore | None = None
    keeps: bool = True
    project: Path = field(default_factory=Path)

    @classmethod
    def of(cls, settings: Settings, notice: Callable[[str], None]) -> Conversation:
        """Return a new conversation of the project, which is stored unless the settings forbid it.

        Args:
            notice: called once with a message if it cannot be stored.
        """
        store = SessionStore(settings.sessions, notice)
        return cls(
            store=store, keeps=not settings.no_sessions, project=settings.project_dir.resolve()
        )

    def add(self, messages: Iterable[Message], *, asked: bool = True, served: str = "") -> None:
        """Add the messages of a turn.

        Args:
            asked: True if changes had to be confirmed during the turn.
            served: the model that answered, and the place that served it.
        """
        turn = list(messages)
        self.messages += turn
        if turn and self.store is not None and self.keeps:
            self.session = self.store.add(
                self.session, self.project, turn, skills=self.skills, asked=asked, served=served
            )

    def add_command(self, line: str, outcome: Outcome) -> None:
        """Add a command that the user ran, with its result or the names of saved files."""
        text = "\n".join(f"Saved to {path}" for path in outcome.saved) or outcome.result.text
        fence = max(["```", *(f"{found}`" for found in re.findall("`+", text))], key=len)
        answer = f"{fence}\n{shortened(text.strip())}\n{fence}"
        turn = [Message("user", line.strip()), Message("assistant", answer)]
        self.add(turn, asked=not outcome.general.yes)

    def activate(self, skill: str, text: str) -> None:
        """Make a skill the last activated skill."""
        self.skills.pop(skill, None)
        self.skills[skill] = text

    def forget(self) -> None:
        """Start a new conversation."""
        self.messages.clear()
        self.skills.clear()
        self.session = self.resumed = None

    def resume(self, number: int | None = None) -> Session:
        """Resume a stored session: by its number, or else the last other session of the project.

        Raises:
            NothingFound: there is no such session.
            NotAllowed: the session belongs to another project, whose user may have allowed less.
        """
        if self.store is None:
            raise NothingFound("sessions are not stored")
        if number is None:
            last = (s for s in self.store.found("", self.project, 2) if s.id != self.session)
            found = next(last, None)
            if found is None:
                raise NothingFound("there is no earlier session of this folder")
        else:
            found = self.store.get(number)
            if found is None:
                raise NothingFound(f"there is no session {number}", hint="`/sessions` lists them.")
        if found.project != str(self.project):
            raise NotAllowed(
                f"session {number} belongs to another folder",
                where=found.project,
                hint="Continue it there.",
            )
        messages = self.store.messages(found.id)
        if self.store.broken:
            raise NothingFound(f"session {found.id} cannot be read")
        self.messages, self.skills = messages, dict(found.skills)
        self.session, self.resumed = found.id, found
        self.store.use(found.id)
        return found

    def check_rights(self, *, yes: bool) -> None:
        """Refuse a turn with wider rights than the session had before it was resumed.

        Text that the model has read in the meantime may try to abuse these rights.

        Raises:
            NotAllowed: `--yes` is given, although the session asked before changes.
        """
        if yes and self.resumed is not None and self.resumed.asked:
            raise NotAllowed(
                f"session {self.session} asked before changes, and --yes would allow all of them",
                hint="Leave out --yes, or begin a new session.",
            )


def fit(messages: Sequence[Message], tokens: int) -> tuple[Message, ...]:
    """Return the latest turns within about `tokens`, each beginning with the user's message.

    The last turn is always kept. If it alone is too long, its oldest tool results are replaced
    first, and then the latest result is cut.
    """
    room = tokens * BYTES_PER_TOKEN
    turns: list[list[Message]] = []
    for message in messages:
        if message.role == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    *earlier, last = turns
    last = _shortened(last, room)
    room -= _size(last)
    kept: list[Message] = []
    for turn in reversed(earlier):
        room -= _size(turn)
        if room < 0:
            break
        kept[:0] = turn
    return (*kept, *last)


def without_tools(messages: Sequence[Message]) -> list[Message]:
    """Return the conversation without tool calls and results, for a model without tools."""
    kept: list[Message] = []
    for message in messages:
        if message.role == "tool" or not (message.content or message.role == "user"):
            continue
        # the messages before and after a call
        if kept and kept[-1].role == message.role == "assistant":
            kept[-1] = Message("assistant", f"{kept[-1].content}\n{message.content}")
        else:
            kept.append(Message(message.role, message.content))
    return kept


def _shortened(turn: list[Message], room: int) -> list[Message]:
    turn = list(turn)
    results = [i for i, message in enumerate(turn) if message.role == "tool"]
    for i in results[:-1]:
        if _size(turn) <= room:
            break
        turn[i] = replace(turn[i], content=LEFT_OUT)
    excess = _size(turn) - room
    if results and excess > 0:
        newest = turn[results[-1]]
        content = newest.content.encode()
        kept = content[: max(0, len(content) - excess - len(CUT))].decode(errors="ignore")
        turn[results[-1]] = replace(newest, content=kept + CUT)
    return turn


def _size(messages: Sequence[Message]) -> int:
    return sum(
        len(text.encode())
        for message in messages
        for text in (message.content, *(c.name + c.arguments for c in message.tool_calls))
    )
