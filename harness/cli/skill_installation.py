"""`/skills add` and `/skills remove`: change the user's folder of skills."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from harness.agent_skills.skill_md import SkillFile
from harness.api.skill import Call, Result
from harness.errors import OutputError, UsageError, did_you_mean
from harness.permissions import consent, in_one_line
from harness.plugins.installer import (
    MOST_LISTED,
    Staged,
    chosen,
    opened,
    remove,
    skills_of,
    staged,
)
from harness.plugins.locations import owner, skill_files
from harness.plugins.user_choices import Installed, InstalledSkills

if TYPE_CHECKING:
    from harness.cli.services import Services


def add(app: Services, source: str, call: Call) -> Result:
    """Show the skills of a source, and copy them into the user's folder if the user allows it.

    Raises:
        InputError: the source has no usable skill, or a skill exceeds a limit.
        NotAllowed: the user refuses, or the session is not interactive.
        OutputError: a skill exists already, or cannot be written.
    """
    settings, names, every = call.settings, call.options.skill, call.options.all_skills
    with (
        opened(source, settings.project_dir, call.cancel, names=names, every=every) as fetched,
        contextlib.ExitStack() as kept,
    ):
        for remark in fetched.remarks:
            call.screen.notice(remark)
        files = chosen({file.name: file for file in skills_of(fetched)}, names, every=every)
        for file in files:
            check_free(app, file, settings.own_skills / file.name, force=call.force)
        settings.own_skills.mkdir(parents=True, exist_ok=True)
        copies = [kept.enter_context(staged(f, fetched, settings.own_skills)) for f in files]
        # the line alone permits to copy instructions from this computer
        known = all(copy.is_local and not copy.has_code for copy in copies)
        lines = install(app, copies, call, asks=not known)
    data = [{"name": c.file.name, "sha256": c.sha256, "files": len(c.files)} for c in copies]
    return Result("\n".join(lines), {"source": fetched.origin(), "installed": data})


def install(
    app: Services,
    copies: Sequence[Staged],
    call: Call,
    verb: str = "installs",
    changes: Callable[[Staged], Iterable[str]] = lambda copy: (),
    *,
    asks: bool = True,
) -> list[str]:
    """Show staged skills, and move them into the user's folder if the user allows it.

    Args:
        verb: the verb of the question.
        changes: returns further lines that the user sees before the question.
        asks: False if the line is enough where nobody can be asked.

    Returns:
        Lines about the installed skills.

    Raises:
        NotAllowed: the user refuses, or the session is not interactive.
        OutputError: a skill cannot be written.
    """
    own, records = call.settings.own_skills, InstalledSkills(call.settings.skills_lock)
    for copy in copies:
        for line in (*_preview(copy), *changes(copy)):
            call.screen.notice(line)
        if call.confirm and not call.yes:
            call.screen.notice(f"Until you answer, its files are in {copy.file.folder}.")
    names = ", ".join(f"/{copy.file.name}" for copy in copies)
    if call.confirm or asks:
        consent(f"/skills {verb} {names} in {own}", call.confirm, yes=call.yes)
    for copy in copies:
        copy.place(own / copy.file.name)
        today = date.today().isoformat()
        record = Installed(source=copy.origin, sha256=copy.sha256, date=today)
        records.add(copy.file.name, record)
    app.reload()
    return [line for copy in copies for line in _placed(app, copy, own)]


def delete(app: Services, name: str, call: Call) -> Result:
    """Delete a skill from the user's folder after confirmation.

    Raises:
        UsageError: the skill does not exist in that folder.
        NotAllowed: the user refuses, or the session is not interactive.
    """
    own = call.settings.own_skills
    found = skill_files(own, call.settings.folder_deadline).found
    folders = {path.parent.name: path.parent for path, _ in found}
    folders |= {file.name: path.parent for path, file in found if isinstance(file, SkillFile)}
    if name not in folders:
        elsewhere = app.catalogue.skills.get(name)
        near = did_you_mean(name, folders) or "`/skills` lists the others with their folders."
        raise UsageError(
            f"there is no skill {name!r} in {own}",
            where=elsewhere.origin if elsewhere else None,
            hint=near,
        )
    consent(f"/skills deletes {folders[name]}", call.confirm, yes=call.yes)
    remove(folders[name])
    InstalledSkills(call.settings.skills_lock).remove(folders[name].name)
    app.reload()
    return Result(f"/{name} is removed.", {"removed": name, "folder": str(folders[name])})


def check_free(app: Services, file: SkillFile, target: Path, *, force: bool) -> None:
    """Check that a skill may be installed under its name.

    Raises:
        UsageError: the name belongs to a command, or is disabled.
        OutputError: the folder exists, and `force` is False.
    """
    taken = app.catalogue.skills.get(file.name)
    if taken is not None and owner(taken.origin, app.settings) == "program":
        raise UsageError(f"the name /{file.name} is taken by a command", where=str(file.path))
    if file.name in app.catalogue.disabled:
        hint = f"`/skills enable {file.name}`"
        raise UsageError(f"the name /{file.name} is disabled", hint=hint)
    if not force and (target.is_symlink() or target.exists()):
        raise OutputError("exists already", where=str(target), hint="--force replaces it.")


def _preview(copy: Staged) -> list[str]:
    """Return the lines that the user sees before the question."""
    file = copy.file
    lines = [f"/{file.name}: {file.description}", f"from {copy.origin}"]
    sizes = [f"  {size:>9,} bytes  {in_one_line(name)}" for name, size in copy.files]
    lines += sizes[:MOST_LISTED]
    if (more := len(sizes) - MOST_LISTED) > 0:
        lines.append(f"  and {more} more files")
    lines.append(f"{len(sizes)} files, {copy.size:,} bytes, sha256 {copy.sha256}")
    for key in ("license", "allowed-tools"):
        if key in file.fields:
            lines.append(f"{key}: {in_one_line(str(file.fields[key]))}")
    lines += [f"problem: {problem}" for problem in file.problems]
    if copy.has_code:
        lines.append("It is a plugin: its code runs in this program once you trust it.")
    return lines


def _placed(app: Services, copy: Staged, own: Path) -> list[str]:
    name = copy.file.name
    lines = [f"/{name} is installed in {own / name} (sha256 {copy.sha256})."]
    if copy.has_code:
        lines.append(f"Read it, then `/skills trust {name}`.")
    by = [one.by for one in app.catalogue.shadowed if one.origin == str(own / name)]
    lines += [f"It is not loaded here: the skill from {one} has the same name." for one in by]
    return lines
