"""`/skills add` and `/skills remove`: change the user's folder of skills."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from harness.agent_skills.skill_md import SkillFile
from harness.api.skill import Call, Result
from harness.errors import InputError, OutputError, UsageError, did_you_mean
from harness.permissions import consent, in_one_line
from harness.plugins.installer import Staged, opened, remove, skills_of, staged
from harness.plugins.locations import owner, skill_files
from harness.plugins.user_choices import Installed, InstalledSkills

if TYPE_CHECKING:
    from harness.cli.services import Services

MOST_LISTED = 20
"""Maximum number of files, or of skills, that are listed."""


def add(app: Services, source: str, call: Call) -> Result:
    """Copy skills of a source into the user's folder, after the user has seen and allowed it.

    Raises:
        InputError: the source has no usable skill, or a skill exceeds a limit.
        NotAllowed: the user refuses, or the session is not interactive.
        OutputError: a skill exists already, or cannot be written.
    """
    settings = call.settings
    records = InstalledSkills(settings.installed_file)
    with (
        opened(source, settings.project_dir, call.cancel) as fetched,
        contextlib.ExitStack() as kept,
    ):
        chosen = _chosen(skills_of(fetched), call.options.skill, call.options.all_skills)
        for file in chosen:
            _check_free(app, file, settings.own_skills / file.name, force=call.force)
        settings.own_skills.mkdir(parents=True, exist_ok=True)
        copies = [kept.enter_context(staged(file, settings.own_skills)) for file in chosen]
        for copy in copies:
            for line in _preview(copy, fetched.origin):
                call.screen.notice(line)
            if call.confirm and not call.yes:
                call.screen.notice(f"Until you answer, its files are in {copy.file.folder}.")
        names = ", ".join(f"/{copy.file.name}" for copy in copies)
        known = fetched.is_local and not any(copy.has_code for copy in copies)
        # the line alone permits to copy instructions from this computer
        if call.confirm or not known:
            action = f"/skills installs {names} in {settings.own_skills}"
            consent(action, call.confirm, yes=call.yes)
        for copy in copies:
            copy.place(settings.own_skills / copy.file.name)
            record = Installed(
                source=fetched.origin, sha256=copy.sha256, date=date.today().isoformat()
            )
            records.add(copy.file.name, record)
    app.reload()
    lines = [line for copy in copies for line in _placed(app, copy, settings.own_skills)]
    data = [{"name": c.file.name, "sha256": c.sha256, "files": len(c.files)} for c in copies]
    return Result("\n".join(lines), {"source": fetched.origin, "installed": data})


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
    InstalledSkills(call.settings.installed_file).remove(folders[name].name)
    app.reload()
    return Result(f"/{name} is removed.", {"removed": name, "folder": str(folders[name])})


def _chosen(found: Sequence[SkillFile], names: Sequence[str], every: bool) -> list[SkillFile]:
    """Return the skills that the options select; a single skill needs no option."""
    known = {file.name: file for file in found}
    listed = ", ".join([*known][:MOST_LISTED]) + ", ..." * (len(known) > MOST_LISTED)
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"there is no skill {unknown[0]!r}", hint=f"There are {listed}.")
    if names or every or len(known) == 1:
        return [known[name] for name in names or known]
    raise InputError(
        f"there are {len(known)} skills: {listed}", hint="Name some with --skill, or add --all."
    )


def _check_free(app: Services, file: SkillFile, target: Path, *, force: bool) -> None:
    taken = app.catalogue.skills.get(file.name)
    if taken is not None and owner(taken.origin, app.settings) == "program":
        raise UsageError(f"the name /{file.name} is taken by a command", where=str(file.path))
    if file.name in app.catalogue.disabled:
        hint = f"`/skills enable {file.name}`"
        raise UsageError(f"the name /{file.name} is disabled", hint=hint)
    if not force and (target.is_symlink() or target.exists()):
        raise OutputError("exists already", where=str(target), hint="--force replaces it.")


def _preview(copy: Staged, origin: str) -> list[str]:
    """Return the lines that the user sees before the question."""
    file = copy.file
    lines = [f"/{file.name}: {file.description}", f"from {origin}"]
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
    lines += [f"It is not loaded here: the name belongs to the one from {one}." for one in by]
    return lines
