"""Ask the user to allow actions of a model, and store "always" answers.

A model may follow instructions in a text that it reads, such as an abstract. Therefore a model
needs the user's permission, for example to write a file, run a command or train. An "always" answer
also allows later actions in this project, within the scope of the answer (see `in_project`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from harness.errors import NotAllowed
from harness.places import is_guarded, is_protected
from harness.plugins.user_choices import ChoicesFile
from harness.settings import Settings

Confirm = Callable[[str], bool]
BY_YES = "--yes"
"""The text that the run log stores if the option `--yes` allowed an action."""
Kind = Literal["read", "write", "run", "mcp", "activate", "instructions"]
_VERBS: dict[Kind, str] = {
    "read": "read",
    "write": "write",
    "run": "run",
    "mcp": "call",
    "activate": "use the skill",
    "instructions": "follow the instructions in",
}
LINES = 1000
"""Maximum number of lines of `Permission.detail` that are shown."""
YES, NO = "yes", "no"
ANSWERED = "answered: "
"""Prefix of the text that the run log stores if the user was asked and allowed an action."""


@dataclass(frozen=True, slots=True)
class Permission:
    """An action for which a model needs permission.

    Attributes:
        subject: the absolute path, the whole command, or the name of the tool or skill.
        detail: information for the user's decision, such as a diff.
        skill: the skill whose instructions the model follows; "" without a skill.
        folder: the folder of `skill`; a command may name files in this folder.
        confined: True if the command runs in a sandbox.
    """

    kind: Kind
    subject: str
    detail: str = ""
    skill: str = ""
    folder: Path | None = None
    confined: bool = False

    def __str__(self) -> str:
        """Return the action as a verb and its object, such as "run `git diff`"."""
        subject = visible(self.subject)
        return f"{_VERBS[self.kind]} {f'`{subject}`' if self.kind == 'run' else subject}"

    @property
    def request(self) -> str:
        """The sentence that requests permission, such as "the model wants to run `git diff`"."""
        return f"{f'/{self.skill}' if self.skill else 'the model'} wants to {self}"

    def shown_detail(self) -> Iterator[str]:
        """Yield up to `LINES` lines of `detail`, then a line about the omitted lines, if any."""
        lines = self.detail.splitlines()
        for line in lines[:LINES]:
            yield visible(line.replace("\t", "    "))
        if (more := len(lines) - LINES) > 0:
            yield f"... ({more:,} more line{'s' * (more != 1)})"


def visible(text: str) -> str:
    """Return `text` with line feeds and invisible characters replaced by escape sequences."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Always(BaseModel):
    """An action that the user always allows in a project.

    Attributes:
        subject: for `run`, a command or a key of `programs.HARMLESS`; for `read` and `write`, a
            folder or file; for `instructions`, the root of the git repository, or else the project;
            for `activate`, "" for all skills of the project; for `mcp`, the name of a tool.
        skill: the only skill that may perform the action; "" without this restriction.
        confined: True if the command is allowed only in a sandbox.
    """

    model_config = ConfigDict(frozen=True, defer_build=True, extra="ignore")
    kind: Kind
    subject: str = ""
    skill: str = ""
    confined: bool = False

    def __str__(self) -> str:
        what = self.subject
        if self.kind == "run":
            from harness.programs import HARMLESS

            exactly = f"exactly `{what}`{' in the sandbox' if self.confined else ''}"
            what = f"`{what}`, which only reads" if what in HARMLESS else exactly
        elif self.kind == "activate":
            what = what or "skills"
        elif _is_place(self.kind) and Path(what).is_dir():
            what = f"everything below {what}"
        elif self.kind == "instructions":
            what = f"of AGENTS.md in {what}"
        return visible(f"{self.kind} {what}{f' for /{self.skill}' if self.skill else ''}")

    def covers(self, wanted: Permission, here: Always | None, settings: Settings) -> bool:
        """Return True if this answer allows the action `wanted`.

        Args:
            here: the "always in this project" answer for the action, from `in_project`.
        """
        if wanted.kind != self.kind or self.skill not in ("", wanted.skill):
            return False
        if not _is_place(self.kind):
            same = here is not None and self.subject in (here.subject, wanted.subject)
            return same and (wanted.confined or not self.confined)
        path = Path(wanted.subject).resolve()
        guarded = self.kind == "write" and is_guarded(path, settings)
        return not guarded and path.is_relative_to(Path(self.subject).resolve())


def in_project(wanted: Permission, settings: Settings) -> Always | None:
    """Return the answer "always in this project" for an action; None if it is not offered."""
    kind, subject = wanted.kind, wanted.subject
    if kind == "run":
        from harness.programs import HARMLESS, lasting

        folders = [] if wanted.folder is None else [wanted.folder]
        command = lasting(subject, settings, folders, confined=wanted.confined)
        if command is None:
            return None
        confined = wanted.confined and command not in HARMLESS
        return Always(kind=kind, subject=command, confined=confined)
    if _is_place(kind):
        path, project = Path(subject).resolve(), settings.project_dir
        if kind == "write" and is_guarded(path, settings):
            return None
        # The answer covers the whole folder of a file, or only the file if the folder is or
        # contains the project.
        wide = path.is_dir() or project.resolve().is_relative_to(path.parent)
        return Always(kind=kind, subject=str(path if wide else path.parent))
    return Always(kind=kind, subject="" if kind == "activate" else subject)


def for_skill(wanted: Permission, here: Always | None, settings: Settings) -> Always | None:
    """Return the answer "always for this skill" for an action; None if it is not offered.

    Args:
        here: the "always in this project" answer for the action, from `in_project`.
    """
    project = settings.project_dir.resolve()
    if here is None or not wanted.skill or wanted.kind == "activate":
        return None
    wide = wanted.kind == "write" and Path(wanted.subject).resolve().is_relative_to(project)
    subject = str(project) if wide else here.subject
    return here.model_copy(update={"subject": subject, "skill": wanted.skill})


def _is_place(kind: Kind) -> bool:
    return kind in ("read", "write")


class Answers(ChoicesFile):
    """The stored "always" answers of a project.

    Args:
        path: the JSON file with the answers of all projects, by project folder.
        project: the folder of the project.
    """

    content = "the permission"
    fault_of_form = "does not map folders to permissions"
    effect = "every call is asked about"
    mode = 0o600

    def __init__(self, path: Path, project: Path) -> None:
        super().__init__(path)
        self._project = str(project.resolve())

    def given(self) -> list[Always]:
        """Return the answers in the order in which they were given; [] if the file is damaged."""
        return [Always(**one) for one in (self._load()[0] or {}).get(self._project, [])]

    def add(self, answer: Always) -> None:
        """Store an answer.

        Raises:
            OutputError: the file cannot be written.
        """
        self._replace([*(one for one in self.given() if one != answer), answer])

    def remove(self, answers: list[Always]) -> None:
        """Delete answers.

        Raises:
            OutputError: the file cannot be written.
        """
        self._replace([one for one in self.given() if one not in answers])

    def _replace(self, answers: list[Always]) -> None:
        own = [one.model_dump(exclude_defaults=True) for one in answers]
        known = {**(self._load()[0] or {}), self._project: own}
        self._store({project: stored for project, stored in known.items() if stored})

    def _is_valid(self, stored: Any) -> bool:
        try:
            TypeAdapter(dict[str, list[Always]]).validate_python(stored, strict=True)
        except ValidationError:
            return False
        return True


class Permissions:
    """Allows or refuses the actions of a model in a project.

    Args:
        choose: asks the user to choose an answer; None if the user can only say yes or no.
        confirm: asks the user for yes or no; used if `choose` is None. If both are None, the
            session is not interactive.
        yes: True if `--yes` was given, which allows every action except writing protected files.
    """

    def __init__(
        self,
        settings: Settings,
        choose: Callable[[str, Sequence[str]], str] | None,
        confirm: Confirm | None = None,
        *,
        yes: bool = False,
    ) -> None:
        self.settings = settings
        self._choose, self._confirm, self._yes = choose, confirm, yes
        self.answers = Answers(settings.permissions_file, settings.project_dir)

    def check(self, wanted: Permission) -> str:
        """Check that an action is allowed, and return a text for the run log that states why.

        The user is asked unless `--yes` or a stored "always" answer allows the action. A new
        "always" answer is stored.

        Raises:
            NotAllowed: the user refuses, nobody can be asked, or the action would write a protected
                file, which no answer allows.
            OutputError: an "always" answer cannot be stored.
        """
        settings = self.settings
        if wanted.kind == "write" and is_protected(Path(wanted.subject), settings.protected):
            raise NotAllowed(
                f"a model may not {wanted}: files there control the harness",
                hint="Use another folder.",
            )
        here = in_project(wanted, settings)
        if not self._yes:
            for earlier in self.answers.given():
                if earlier.covers(wanted, here, settings):
                    return f"always: {earlier}"
        always = {
            f"always: {answer} in this project": answer
            for answer in (here, for_skill(wanted, here, settings))
            if answer is not None
        }
        allowed = consent(
            wanted.request,
            self._confirm,
            yes=self._yes,
            detail=wanted.shown_detail(),
            choose=self._choose,
            always=[*always],
        )
        answer = allowed.removeprefix(ANSWERED)
        if answer in always:
            self.answers.add(always[answer])
        return allowed


def consent(
    action: str,
    confirm: Confirm | None,
    *,
    yes: bool = False,
    detail: Iterable[str] = (),
    choose: Callable[[str, Sequence[str]], str] | None = None,
    always: Sequence[str] = (),
) -> str:
    """Ask the user to allow an action, and return the answer as a text for the run log.

    Args:
        action: a sentence without its full stop, such as "/corpus writes corpus.html".
        confirm: asks the user for yes or no; used if `choose` is None. If both are None, the
            session is not interactive.
        yes: True if `--yes` allows the action without a question.
        detail: lines that the user sees before the question.
        choose: asks the user to choose an answer; None if the user can only say yes or no.
        always: further answers that allow the action, besides "yes".

    Raises:
        NotAllowed: the user refuses, or nobody can be asked.
    """
    if yes:
        return BY_YES
    if confirm is None and choose is None:
        raise NotAllowed(
            f"{action}, and nobody is here to allow that",
            hint="`--yes` before the line allows the action.",
        )
    question = "\n".join([*detail, f"{action[0].upper()}{action[1:]}. Allow it?"])
    if choose is not None:
        answer = choose(question, (YES, NO, *always))
    else:
        answer = YES if confirm is not None and confirm(question) else NO
    if answer not in (YES, *always):
        raise NotAllowed(f"{action}, and the user did not allow that")
    return f"{ANSWERED}{answer}"


def refuse_protected(name: str, given: Iterable[Path], protected: Iterable[Path]) -> None:
    """Raise an error if a model passes a protected path to a command, even with `--yes`.

    Otherwise the text of a paper could make a model change trust decisions or a skill's
    instructions.

    Args:
        name: the name of the command.
        given: the paths that the model passes to the command.
        protected: files and folders that control the harness.

    Raises:
        NotAllowed: a path is protected.
    """
    places = [*protected]
    for path in given:
        if is_protected(path, places):
            raise NotAllowed(
                f"a model may not give /{name} {in_one_line(str(path))}: files there control the "
                "harness",
                hint="Use another folder.",
            )


def in_one_line(text: str, most: int | None = None) -> str:
    """Return `text` as one printable line, shortened in the middle to about `most` characters.

    The end of the text is kept, since it may name the files to write. If `most` is None, the text
    is not shortened.
    """
    shown = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if most is None or len(shown) <= most:
        return shown
    return f"{shown[: most // 2]} ... {shown[-most // 2 :]}"
