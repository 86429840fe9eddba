"""`/skills add`, `check`, `update`, `sync` and `remove`: the skills in the user's folder.

Before a skill is installed, it is fetched, copied beside the installed skills, and shown.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from harness.agent_skills.skill_file import FILE, SkillFile
from harness.api.skill import Call, Result
from harness.errors import InputError, OutputError, SkillFailed, UsageError, did_you_mean
from harness.permissions import consent, in_one_line, visible
from harness.plugins import installer
from harness.plugins.locations import owner, skill_files
from harness.plugins.trust import Installed, InstalledSkills, is_unchanged
from harness.support.bounded_files import Unsearched, read_bytes, walk
from harness.tools.file_tools import differences

if TYPE_CHECKING:
    from harness.cli.app import App

MOST_LINES = 200
"""Maximum number of lines that show the differences of a skill."""
LONGEST_LINE = 1_000
"""Maximum number of characters of a line of the differences; longer lines are cut off."""
LOCK = "skills.lock"
CURRENT = "is current"
CHANGED = "has been changed since its installation; --force replaces it"


def add(app: App, source: str, call: Call) -> Result:
    """Show the skills of a source, and copy them into the user's folder if the user agrees.

    Args:
        source: a folder, the URL of a git repository, or the address of a host with an index.

    Raises:
        UsageError: `source` is "", or the name of a skill is taken or disabled.
        InputError: the source cannot be read or has no usable skill, or a skill exceeds a limit.
        NotAllowed: the user refuses, or consent is needed and the session is not interactive.
        OutputError: a skill exists already, or cannot be written.
    """
    if not source:
        raise UsageError(
            "/skills add needs a path or a URL", hint="`/help skills add` describes the command."
        )
    settings, names, every = call.settings, call.options.skill, call.options.all_skills
    own, place = settings.own_skills, (settings.project_dir, call.cancel)
    with (
        installer.opened(source, *place, names=names, every=every) as fetched,
        contextlib.ExitStack() as kept,
    ):
        for remark in fetched.remarks:
            call.screen.notice(remark)
        found = {file.name: file for file in installer.skills_of(fetched)}
        files = installer.chosen(found, names, every=every)
        for file in files:
            _check_free(app, file, own / file.name, force=call.force)
        own.mkdir(parents=True, exist_ok=True)
        copies = [kept.enter_context(installer.staged(file, fetched, own)) for file in files]
        # Local skills without code need no permission if there is no user to ask.
        asks = not all(copy.is_local and not copy.has_code for copy in copies)
        lines = _install(app, copies, call, {}, asks=asks)
    data = [{"name": c.file.name, "sha256": c.sha256, "files": len(c.files)} for c in copies]
    return Result("\n".join(lines), {"source": fetched.origin(), "installed": data})


def _install(
    app: App,
    copies: Sequence[installer.Staged],
    call: Call,
    changes: Mapping[str, Sequence[str]],
    *,
    asks: bool = True,
) -> list[str]:
    """Show staged skills, move them into the user's folder if the user agrees, and load them.

    Args:
        changes: lines with the differences from the installed skills, by name of the skill.
        asks: True if consent is needed even in a session that is not interactive.

    Returns:
        Lines about the installed skills, for the user.

    Raises:
        NotAllowed: the user refuses, or `asks` is True and the session is not interactive.
        OutputError: a skill cannot be written.
    """
    own, records = call.settings.own_skills, InstalledSkills(call.settings.skills_lock)
    for copy in copies:
        for line in (*_preview(copy), *changes.get(copy.file.name, ())):
            call.screen.notice(line)
        if call.confirm and not call.yes:
            call.screen.notice(f"Until you answer, its files are in {copy.file.folder}.")
    names = ", ".join(f"/{copy.file.name}" for copy in copies)
    if call.confirm or asks:
        verb = "updates" if call.subcommand == "update" else "installs"
        consent(f"/skills {verb} {names} in {own}", call.confirm, yes=call.yes)
    today = date.today().isoformat()
    for copy in copies:
        copy.place(own / copy.file.name)
        records.add(copy.file.name, Installed(source=copy.origin, sha256=copy.sha256, date=today))
    app.reload()
    lines = []
    for copy in copies:
        name = copy.file.name
        lines.append(f"/{name} is installed in {own / name} (sha256 {copy.sha256}).")
        if copy.has_code:
            lines.append(f"Read its files, then run `/skills trust {name}`.")
        by = [one.by for one in app.catalogue.shadowed if one.origin == str(own / name)]
        lines += [f"It is not loaded here: the skill from {one} has the same name." for one in by]
    return lines


def delete(app: App, name: str, call: Call) -> Result:
    """Delete a skill from the user's folder after confirmation.

    Raises:
        UsageError: the skill does not exist in the user's folder.
        NotAllowed: the user refuses, or the session is not interactive.
    """
    own = call.settings.own_skills
    found = skill_files(own, call.settings.folder_deadline).found
    folders = {path.parent.name: path.parent for path, _ in found}
    folders |= {file.name: path.parent for path, file in found if isinstance(file, SkillFile)}
    if name not in folders:
        elsewhere = app.catalogue.skills.get(name)
        near = did_you_mean(name, folders) or "`/skills` lists all skills with their folders."
        raise UsageError(
            f"there is no skill {name!r} in {own}",
            where=elsewhere.origin if elsewhere else None,
            hint=near,
        )
    consent(f"/skills deletes {folders[name]}", call.confirm, yes=call.yes)
    installer.remove(folders[name])
    InstalledSkills(call.settings.skills_lock).remove(folders[name].name)
    app.reload()
    return Result(f"/{name} is removed.", {"removed": name, "folder": str(folders[name])})


def _check_free(app: App, file: SkillFile, target: Path, *, force: bool) -> None:
    """Check that a skill may be installed under its name.

    Raises:
        UsageError: the name belongs to a command, or is disabled.
        OutputError: `target` exists, and `force` is False.
    """
    taken = app.catalogue.skills.get(file.name)
    if taken is not None and owner(taken.origin, app.settings) == "program":
        raise UsageError(f"the name /{file.name} is taken by a command", where=str(file.path))
    app.catalogue.check_enabled(file.name)
    if not force and (target.is_symlink() or target.exists()):
        raise OutputError("exists already", where=str(target), hint="--force replaces the skill.")


def _preview(copy: installer.Staged) -> list[str]:
    """Return lines about a skill, which the user sees before deciding on the installation."""
    file = copy.file
    lines = [f"/{file.name}: {file.description}", f"from {copy.origin}"]
    sizes = [f"  {size:>9,} bytes  {in_one_line(name)}" for name, size in copy.files]
    lines += sizes[: installer.MOST_LISTED]
    if (more := len(sizes) - installer.MOST_LISTED) > 0:
        lines.append(f"  and {more} more file{'s' * (more != 1)}")
    files = f"{len(sizes)} file{'s' * (len(sizes) != 1)}"
    lines.append(f"{files}, {copy.size:,} bytes, sha256 {copy.sha256}")
    for key in ("license", "allowed-tools"):
        if key in file.fields:
            lines.append(f"{key}: {in_one_line(str(file.fields[key]))}")
    lines += [f"problem: {problem}" for problem in file.problems]
    if copy.has_code:
        lines.append("It is a plugin: its code runs in this program once you trust it.")
    return lines


def check(app: App, given: str, call: Call) -> Result:
    """Compare installed skills with their sources; `/skills update` installs newer versions.

    Args:
        given: the name of a skill; "" for all installed skills.

    Raises:
        UsageError: there is no installed skill of this name.
        NotAllowed: the user refuses the update, or the session is not interactive.
        OutputError: a skill cannot be written.
    """
    own, records = call.settings.own_skills, InstalledSkills(call.settings.skills_lock).read()
    if given and given not in records:
        known = ", ".join(records) or "none"
        raise UsageError(f"no skill {given!r} is installed", hint=f"Installed: {known}.")
    records = {given: records[given]} if given else records

    def problem(copy: installer.Staged) -> str:
        record = records[copy.file.name]
        changed = not is_unchanged(own / copy.file.name, record["sha256"])
        if copy.sha256 == record["sha256"]:
            return CURRENT + ", but has been changed here" * changed
        return CHANGED if changed and call.subcommand == "update" and not call.force else ""

    return _compared(app, call, records, problem)


def sync(app: App, given: str, call: Call) -> Result:
    """Install the skills of a lock file, with exactly the recorded content.

    Args:
        given: the path of the file; "" for skills.lock in the project or, if there is none, in the
            user's configuration.

    Raises:
        InputError: the file is missing or damaged.
        NotAllowed: the user refuses, or the session is not interactive.
        OutputError: a skill cannot be written.
    """
    own, project = call.settings.own_skills, call.settings.project_dir
    path = project / (given or LOCK)
    if not given and not path.exists():
        path = call.settings.skills_lock
    file = InstalledSkills(path)
    if not path.is_file() or file.fault():
        raise InputError(file.fault() or "there is no such file", where=str(path))
    locked, known = file.read(), InstalledSkills(call.settings.skills_lock).read()
    missing = {n: r for n, r in locked.items() if not is_unchanged(own / n, r["sha256"])}

    def problem(copy: installer.Staged) -> str:
        name, record = copy.file.name, locked[copy.file.name]
        if copy.sha256 != record["sha256"]:
            return f"has sha256 {copy.sha256} at {copy.origin}, but {record['sha256']} in {path}"
        _check_free(app, copy.file, own / name, force=True)
        present = own / name
        replaceable = name in known and is_unchanged(present, known[name]["sha256"])
        return CHANGED if present.exists() and not replaceable and not call.force else ""

    return _compared(app, call, missing, problem)


def _compared(
    app: App,
    call: Call,
    records: Mapping[str, Installed],
    problem: Callable[[installer.Staged], str],
) -> Result:
    """Fetch the recorded skills, and install each skill for which `problem` returns "".

    `/skills check` only lists these skills. `/skills sync` fetches the recorded commit of a
    repository, and other subcommands fetch the latest commit. If several skills come from the same
    folder or commit, this folder or commit is opened once.

    Args:
        problem: returns the reason why a fetched copy is not installed, or "".

    Returns:
        The installed (or listed), current and refused skills; the exit code is 1 if a skill was
            refused.
    """
    own = call.settings.own_skills
    checks, pinned = call.subcommand == "check", call.subcommand == "sync"
    refused: dict[str, str] = {}
    copies: list[installer.Staged] = []
    sources: dict[tuple[str, str], installer.Source] = {}
    with contextlib.ExitStack() as kept:
        root = own
        if checks:  # the configuration folder may be read-only
            root = Path(kept.enter_context(tempfile.TemporaryDirectory(prefix="nanda-skill-")))
        root.mkdir(parents=True, exist_ok=True)
        for name, record in records.items():
            address, revision = installer.split_origin(record["source"])
            of_index = revision.startswith("sha256:")
            commit = revision if pinned and not of_index else ""
            key = address, name if of_index else commit
            try:
                if key not in sources:
                    place = address, call.settings.project_dir, call.cancel
                    source = installer.opened(*place, names=[name], revision=commit)
                    sources[key] = kept.enter_context(source)
                files = {file.name: file for file in installer.skills_of(sources[key])}
                [file] = installer.chosen(files, [name], every=False)
                copy = kept.enter_context(installer.staged(file, sources[key], root))
                if reason := problem(copy):
                    refused[name] = reason
                else:
                    copies.append(copy)
            except (UsageError, SkillFailed) as exc:
                refused[name] = f"is left out: {exc}"
        changes = {copy.file.name: _differences(own / copy.file.name, copy) for copy in copies}
        lines = []
        if checks:
            for copy in copies:
                name, before = copy.file.name, records[copy.file.name]["source"]
                shown = "has changed" if before == copy.origin else f"-> {copy.origin}"
                lines += [f"/{name}: {before} {shown}", *changes[name]]
                lines.append(f"`/skills update {name}` installs it.")
        elif copies:
            lines = _install(app, copies, call, changes)
    lines += [f"/{name} {reason}" for name, reason in refused.items()]
    current = [name for name, reason in refused.items() if reason.startswith(CURRENT)]
    data = {
        "newer" if checks else "installed": [
            {
                "name": copy.file.name,
                "source": copy.origin,
                "sha256": copy.sha256,
                "differences": changes[copy.file.name],
            }
            for copy in copies
        ],
        "current": current,
        "refused": {n: reason for n, reason in refused.items() if n not in current},
    }
    text = "\n".join(lines) or ("All are as recorded." if pinned else "No skill is installed.")
    return Result(text, data, exit_code=int(bool(data["refused"])))


def _differences(before: Path, copy: installer.Staged) -> list[str]:
    """Return lines with the differences between an installed skill and a new copy.

    The differences of SKILL.md come first.

    If the folder `before` does not exist, the list is empty. If there are more than `MOST_LINES`
    lines, a last line contains the number of omitted lines.
    """
    if not before.is_dir():
        return []
    old, new = _files(before), _files(copy.file.folder)
    lines: list[str] = []
    for name in sorted({*old, *new}, key=lambda name: (name != FILE, name)):
        if old.get(name) == new.get(name):
            continue
        lines.append(name + " (new)" * (name not in old) + " (deleted)" * (name not in new))
        contents = old.get(name, b""), new.get(name, b"")
        try:
            lines += differences(*(content.decode().splitlines() for content in contents))
        except UnicodeDecodeError:
            lines.append("({:,} -> {:,} bytes)".format(*map(len, contents)))
    shown = [visible(line.replace("\t", "    ")) for line in lines[:MOST_LINES]]
    shown = [f"{one[:LONGEST_LINE]}..." if len(one) > LONGEST_LINE else one for one in shown]
    more = len(lines) - MOST_LINES
    return [*shown, f"... and {more:,} more line{'s' * (more != 1)}"] if more > 0 else shown


def _files(folder: Path) -> dict[str, bytes]:
    """Return the contents of the files of a skill, by path relative to `folder`.

    Unreadable files, files that are too large to install, folders in `installer.NOT_COPIED`, and
    entries beyond `installer.MAX_FILES` are left out.
    """
    found: dict[str, bytes] = {}
    with contextlib.suppress(Unsearched):
        for place, children, names in walk(folder, installer.MAX_FILES):
            children[:] = [child for child in children if child not in installer.NOT_COPIED]
            for name in names:
                path = place / name
                with contextlib.suppress(OSError):
                    content = read_bytes(path, installer.MAX_BYTES)
                    found[path.relative_to(folder).as_posix()] = content
    return found
