"""/permissions: what models may do in this project without asking."""

from __future__ import annotations

from harness.api.skill import Call, Result
from harness.cli.commands.base import AppCommand
from harness.errors import UsageError
from harness.terminal.tables import table


class PermissionsCommand(AppCommand):
    """Lists and revokes "always" answers."""

    name = "permissions"
    summary = "List or revoke what models may do in this project without asking"
    usage = "[NUMBER|all]"
    text = "optional"
    subcommands = {"revoke": "forget one of the answers, or all of them"}

    def run(self, call: Call) -> Result:
        answers = self._app.permissions.answers
        known = answers.given()
        if damage := answers.damage():
            call.screen.notice(damage)
        given = call.text.strip()
        if call.subcommand != "revoke":
            if given:
                raise UsageError(f"/permissions takes no {given[:40]!r}", hint="`/permissions`")
            data = [{"number": n, **one.model_dump()} for n, one in enumerate(known, start=1)]
            rows = [(str(number), str(one)) for number, one in enumerate(known, start=1)]
            text = table(("", "allowed in this project"), rows) if rows else "Nothing is allowed."
            return Result(text, {"project": str(call.settings.project_dir), "allowed": data})
        if given == "all":
            revoked = known
        elif given.isdigit() and 0 < int(given) <= len(known):
            revoked = [known[int(given) - 1]]
        else:
            raise UsageError(f"{given!r} is not the number of an answer", hint="`/permissions`")
        answers.remove(revoked)
        text = "\n".join(f"Revoked: {one}" for one in revoked) or "Nothing was allowed."
        return Result(text, {"revoked": [one.model_dump() for one in revoked]})
