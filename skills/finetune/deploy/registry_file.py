"""Files of registered models: registry.d/NAME.yaml beside the user's registry.yaml."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from harness.errors import RegistryError
from harness.runs import targets
from harness.settings import registry_folder
from harness.support import yaml_files
from harness.support.text_input import at_home

BY = "/finetune register"
"""Value of `trained_on.by` in entries written by /finetune register."""
HEADER = f"# Written by {BY}. `/finetune unregister` deletes this file.\n"


def file_of(user: Path, name: str) -> Path:
    """Return the path of the file for a registered model, beside the user's registry."""
    return registry_folder(user) / f"{name}.yaml"


def registered_path(user: Path, file: Path) -> str:
    """Return a path for registry.d: relative if the file lies below the folder that holds it."""
    folder = registry_folder(user).resolve()
    below = file.is_relative_to(folder.parent)
    return Path(os.path.relpath(file, folder)).as_posix() if below else str(file)


def read(path: Path) -> dict[str, Any]:
    """Return `models` and `files` of a registry file as plain data, empty if it does not exist.

    Raises:
        RegistryError: it cannot be read.
    """
    found = yaml_files.data(path, RegistryError) if path.exists() else None
    if not isinstance(found or {}, dict):
        raise RegistryError("is not a mapping", where=str(path))
    return {"models": {}, "files": {}, **(found or {})}


def write(
    path: Path, models: Mapping[str, Any], files: Mapping[str, Any], registered: datetime
) -> None:
    """Write one registered model.

    Raises:
        OutputError: the file cannot be written.
    """
    data = {"version": 1, "registered": registered, "models": models, "files": files}
    text = HEADER + yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
    path.parent.mkdir(parents=True, exist_ok=True)
    targets.write(path, lambda file: file.write(text.encode()))


def is_registered(model: Mapping[str, Any] | None) -> bool:
    """Return True if /finetune register wrote this model entry."""
    return model is not None and (model.get("trained_on") or {}).get("by") == BY


def files_of(model: Mapping[str, Any] | None) -> list[str]:
    """Return the ids of the files that were registered with a model."""
    return list(model["trained_on"].get("files", ())) if model and is_registered(model) else []


def migrate(user: Path) -> list[str]:
    """Move models that an earlier version registered in `user` to files of registry.d.

    The original is kept as registry.yaml.bak.

    Returns: the names of the moved models.

    Raises:
        RegistryError: an entry does not have lines of its own.
        OutputError: a file cannot be written.
    """
    data = read(user)
    models = {name: model for name, model in data["models"].items() if is_registered(model)}
    if not models:
        return []
    ids = [i for model in models.values() for i in files_of(model) if i in data["files"]]
    text = _without(user, {"models": [*models], "files": ids})
    written = datetime.fromtimestamp(user.stat().st_mtime, UTC)
    for age, (name, model) in enumerate(models.items()):  # the first one was tried first
        if not (path := file_of(user, name)).exists():
            own = {i: _relocated(user, data["files"][i]) for i in files_of(model) if i in ids}
            write(path, {name: model}, own, written - timedelta(seconds=age))
    shutil.copyfile(user, user.with_name(f"{user.name}.bak"))
    targets.write(user, lambda file: file.write(text.encode()))
    return list(models)


def _relocated(user: Path, file: Mapping[str, Any]) -> dict[str, Any]:
    path = at_home(str(file["path"]))
    return {**file, "path": registered_path(user, user.resolve().parent / path)}


def _without(user: Path, removed: Mapping[str, Collection[str]]) -> str:
    """Return the text of the user's registry without some entries, by section.

    Raises:
        RegistryError: the remaining lines do not hold exactly the other entries.
    """
    expected, text = read(user), user.read_bytes().decode()
    for section, names in removed.items():
        for name in names:
            del expected[section][name]
            key = f"[\"']?{re.escape(name)}[\"']?"
            text = re.sub(rf"(?m)^( +){key}:.*\n(?:\1 +\S.*(?:\n|\Z))*", "", text)
        if not expected[section]:
            text = re.sub(rf"(?m)^{section}:[ \t]*(?:#.*)?\r?\n", "", text)
    try:
        matches = {"models": {}, "files": {}, **(yaml.safe_load(text) or {})} == expected
    except yaml.YAMLError:
        matches = False
    if not matches:
        names = ", ".join(removed["models"])
        raise RegistryError(
            f"cannot move {names} to {registry_folder(user)}: not every entry has its own lines",
            where=str(user),
            hint=f"Delete {names} from the file by hand, then run the command again.",
        )
    return text
