"""The base class of built-in tools, the context of their calls, and the tool ask_user."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.api.options import schema_of
from harness.api.skill import Skill
from harness.chat.skill_tools import plain_parameters
from harness.chat.tool_loop import CURRENT
from harness.chat.toolbox import ALL, DETAILS, OPTIONS, PreparedCall, arguments_of, compact, logged
from harness.errors import InputError, NotAllowed, UsageError
from harness.models.backend import Tool, ToolCall
from harness.permissions import Kind, Permission, Permissions, visible
from harness.places import is_free, places_to_read
from harness.runs.frontend import Frontend
from harness.runs.invocation import Invocation
from harness.runs.run_log import Run
from harness.settings import Settings
from harness.support.stop_token import StopToken
from harness.terminal.console import Screen

if TYPE_CHECKING:
    from harness.cli.app import App


class ToolArguments(BaseModel):
    """Base class of the arguments of a tool."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


@dataclass(frozen=True, slots=True)
class Workplace:
    """The context of a call of a tool: project, folders and permissions.

    Attributes:
        skills: the folder of each activated skill, by the name of the skill, in the order of
            activation.
        run: the row of the call in the run log.
    """

    permissions: Permissions
    frontend: Frontend
    screen: Screen
    skills: Mapping[str, Path] = field(default_factory=dict)
    run: Run = field(default_factory=Run)
    cancel: StopToken = field(default_factory=StopToken)

    @property
    def settings(self) -> Settings:
        return self.permissions.settings

    @property
    def project(self) -> Path:
        return self.settings.project_dir.resolve()

    def path(self, given: str) -> Path:
        """Resolve a path that a model has given; a relative path starts at the project folder.

        Raises:
            InputError: `given` cannot be the path of a file.
        """
        try:
            path = (self.project / Path(given).expanduser()).resolve()
            path.exists()  # raises an error for a name that is too long
        # raised for a loop of links, the home folder of an unknown user, or a NUL character
        except (OSError, RuntimeError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            raise InputError(f"it cannot be a path: {reason}", where=given[:200]) from exc
        return path

    def path_to_read(self, given: str) -> Path:
        """Resolve the path of a file or folder that a model wants to read.

        A relative path that does not exist in the project is searched in the folders of the
        activated skills, beginning with the last activated skill. If the path is not found, the
        result is the path in the project.

        Raises:
            InputError: `given` cannot be the path of a file.
        """
        path = self.path(given)
        if path.exists() or Path(given).is_absolute():
            return path
        for folder in reversed([*self.skills.values()]):
            inside = self.path(str(folder / given))
            if inside.exists() and inside.is_relative_to(folder.resolve()):
                return inside
        return path

    def shown(self, path: Path) -> str:
        """Return a path as text for models and users; a path below the project is relative."""
        inside = path.is_relative_to(self.project)
        return str(path.relative_to(self.project) if inside else path)

    def is_free(self, path: Path) -> bool:
        """Return True if a model may read the resolved path without asking."""
        return is_free(path, self.settings, self.skills.values())

    def allow_reading(self, path: Path) -> None:
        """Ask for permission to read a resolved path, if a permission is needed.

        The errors of `allow` are raised.
        """
        if not self.is_free(path):
            self.allow("read", str(path))

    def allow(self, kind: Kind, subject: str, detail: str = "", *, confined: bool = False) -> None:
        """Check that the user allows an action, and record the permission in the run log.

        If skills are activated, the permission is requested for the last activated skill. The
        errors of `Permissions.check` are raised.

        Args:
            subject: the path or the command.
            detail: the text that the user sees before the question.
            confined: True if the action is confined to the sandbox.
        """
        name, folder = [*self.skills.items()][-1] if self.skills else ("", None)
        wanted = Permission(kind, subject, detail, name, folder, confined)
        self.run.allow(self.permissions.check(wanted))


def allow_reading(app: App, skill: Skill, given: Invocation, run: Run) -> None:
    """Ask for permission if a slash command of the model reads files outside of the project.

    The errors of `Workplace.allow` are raised.

    Args:
        given: the parsed command.
        run: the row of the command in the run log.
    """
    if not skill.tool:  # prompt skills do not read files that their text names
        return
    values = [*given.options.model_dump(mode="json", exclude_unset=True).values()]
    if given.subcommand not in skill.target_text:
        values.append(given.text)
    each = (one for value in values for one in (value if isinstance(value, list) else [value]))
    texts = [one for one in each if isinstance(one, str)]
    user, settings, turn = app.caller.frontend, app.permissions.settings, CURRENT.get()
    permissions = Permissions(settings, user.choose, user.confirm, yes=given.general.yes)
    skills = turn.skills.folders if turn else {}
    place = Workplace(permissions, user, app.caller.screen, skills, run)
    for path in dict.fromkeys(places_to_read(texts, settings)):
        place.allow_reading(path)


class BuiltinTool(ABC):
    """A tool of the harness that a model may call.

    Args:
        app: the application, which permits and logs calls.

    Attributes:
        summary: a description of the tool, for the model.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    Arguments: ClassVar[type[ToolArguments]]

    def __init__(self, app: App | None = None) -> None:
        self._app = app

    @abstractmethod
    def shown(self, given: Any) -> str:
        """Return the arguments of a call as text, for the line that the user sees."""

    @abstractmethod
    def call(self, given: Any, place: Workplace) -> Mapping[str, Any]:
        """Do the work, and return a result of limited size for the model.

        Raises:
            NotAllowed: the user does not allow the call.
            HarnessError: the call failed.
        """

    def described(self, level: int) -> Tool:
        """Return the description of the tool for the model.

        Args:
            level: the level of detail, a constant of `harness.chat.toolbox`.
        """
        schema = schema_of(self.Arguments)
        required = schema.get("required", [])
        properties = {
            key: about
            for key, about in plain_parameters(schema, described=level >= ALL).items()
            if key in required or level >= OPTIONS
        }
        parameters = {"type": "object", "properties": properties, "required": required}
        summary = self.summary if level >= DETAILS else self.summary.partition(";")[0]
        return Tool(self.name, summary, parameters)

    def prepared(self, call: ToolCall) -> PreparedCall:
        """Check the arguments of a call, and return the call with the line that the user sees.

        Raises:
            UsageError: the arguments are invalid.
        """
        try:
            given = self.Arguments.model_validate(arguments_of(call))
        except ValidationError as exc:
            faults = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in exc.errors())
            raise UsageError("; ".join(faults)) from exc
        line = f"{self.name} {self.shown(given)}"

        def work(screen: Screen, run: Run) -> tuple[str, int]:
            assert self._app is not None
            app, turn = self._app, CURRENT.get()
            options = given.model_dump(mode="json", exclude_defaults=True)
            with logged(app, run, self.name, line, options):
                place = Workplace(
                    app.permissions,
                    app.caller.frontend,
                    screen,
                    turn.skills.folders if turn else {},
                    run=run,
                    cancel=StopToken(app.caller.cancel),
                )
                return compact(dict(self.call(given, place))), 0

        return PreparedCall(line, work)


class AskUser(BuiltinTool):
    """Asks the user a question, with or without a choice of answers."""

    name = "ask_user"
    summary = "Ask the user a question that only the user can answer"

    class Arguments(ToolArguments):
        question: str = Field(min_length=1, max_length=2_000)
        choices: tuple[str, ...] = Field(
            (), max_length=10, description="answers that the user can choose from"
        )

    def shown(self, given: Arguments) -> str:
        return given.question

    def call(self, given: Arguments, place: Workplace) -> Mapping[str, Any]:
        question = f"The model asks: {visible(given.question)}"
        choices = [*dict.fromkeys(visible(one)[:200] for one in given.choices if one.strip())]
        frontend = place.frontend
        if choices and frontend.choose is not None:
            return {"answer": frontend.choose(question, choices)}
        if frontend.ask is not None:
            listed = f" ({' / '.join(choices)})" if choices else ""
            return {"answer": frontend.ask(question + listed)}
        raise NotAllowed(
            "nobody is here to answer",
            hint="Continue without an answer if possible, and state your assumptions.",
        )
