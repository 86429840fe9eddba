"""The question to the user before a model does something, unless an earlier answer covers it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import NotAllowed
from harness.permissions.answers import Always, Answers, for_skill, in_project
from harness.permissions.permission import Permission
from harness.runs import consent
from harness.settings import Settings

YES, NO = "yes", "no"


class Permissions:
    """Allows or refuses what a model wants to do in one project.

    Args:
        choose: requests one of several answers from the user; None without a user.
        confirm: requests a yes or no, used without `choose`.
        yes: the user has allowed everything that is not protected, with `--yes`.
    """

    def __init__(
        self,
        settings: Settings,
        choose: Callable[[str, Sequence[str]], str] | None,
        confirm: Callable[[str], bool] | None = None,
        *,
        yes: bool = False,
    ) -> None:
        self.settings = settings
        self._project = settings.project_dir
        self._choose, self._confirm, self._yes = choose, confirm, yes
        self.answers = Answers(settings.permissions_file, settings.project_dir)

    def check(self, wanted: Permission) -> str:
        """Return how the user allows it, now or by an earlier answer, for the run log.

        Raises:
            NotAllowed: they do not, there is nobody to ask, or it would write where the files
                control the harness, which no answer allows.
            OutputError: an "always" answer cannot be stored.
        """
        if wanted.kind == "write" and consent.is_protected(
            Path(wanted.subject), self.settings.protected
        ):
            raise NotAllowed(
                f"a model may not {wanted}: files there control the harness",
                hint="Use another folder.",
            )
        if self._yes:
            return consent.BY_YES
        if earlier := self._covering(wanted):
            return f"always: {earlier}"
        if self._choose is None and self._confirm is None:
            raise NotAllowed(
                f"{wanted.who} wants to {wanted}, and nobody is here to allow that",
                hint="`--yes` before the line allows it.",
            )
        answer = self._ask(wanted)
        if not answer:
            raise NotAllowed(f"the user did not allow {wanted.who} to {wanted}")
        return f"{consent.ANSWERED} {answer}"

    def _covering(self, wanted: Permission) -> Always | None:
        """Return an "always" answer that allows it."""
        given = self.answers.given()
        return next((one for one in given if one.covers(wanted, self._project)), None)

    def _ask(self, wanted: Permission) -> str:
        """Return the answer that allows it, or ""."""
        who = f"{wanted.who[0].upper()}{wanted.who[1:]}"
        question = "\n".join([*wanted.shown_detail(), f"{who} wants to {wanted}. Allow it?"])
        if self._choose is None:
            return YES if self._confirm is not None and self._confirm(question) else ""
        always = {
            f"always: {answer} in this project": answer
            for answer in (in_project(wanted, self._project), for_skill(wanted, self._project))
            if answer is not None
        }
        given = self._choose(question, (YES, NO, *always))
        if given in always:
            self.answers.add(always[given])
        return given if given == YES or given in always else ""
