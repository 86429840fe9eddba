"""The recipe of a command: the named one, or the folder's, with the options applied."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from harness.errors import InputError, UsageError
from harness.support import yaml_files
from skills.finetune.run import recipe as recipes
from skills.finetune.run.recipe import Recipe

SETTINGS = {
    "base": "base",
    "start_from": "adapter.start_from",
    "epochs": "training.epochs",
    "batch": "training.batch",
    "accumulation": "training.accumulation",
    "learning_rate": "training.learning_rate",
    "max_length": "training.max_length",
    "max_steps": "training.max_steps",
    "seed": "training.seed",
    "name": "export.name",
}
"""The settings of a recipe that have an option of their own, by its field."""
DEFAULT = "lesson"


def chosen(options: Any, remembered: Mapping[str, Any], folder: Path) -> Recipe:
    """Return the named recipe, else the remembered one of the folder, with the options applied.

    A recipe without a name for the model gets that of the folder.

    Raises:
        UsageError: a setting is invalid or unknown.
        InputError: the remembered recipe is invalid.
    """
    if options.preset and options.recipe:
        raise UsageError("--preset and --recipe name two recipes", hint="Give one of them.")
    named = options.recipe or options.preset
    if named is None and remembered:
        found = _remembered(remembered, folder)
    else:
        found = recipes.load(named or DEFAULT)
    given = {dotted: getattr(options, field) for field, dotted in SETTINGS.items()}
    changes = {dotted: value for dotted, value in given.items() if value is not None}
    if "name" not in found.export.model_fields_set:
        name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
        changes = {"export.name": name or "model", **changes}
    return recipes.overridden(found, {**changes, **dict(map(_setting, options.set))})


def _remembered(remembered: Mapping[str, Any], folder: Path) -> Recipe:
    try:
        return Recipe.model_validate(remembered.get("recipe"))
    except ValidationError as exc:
        raise InputError(
            f"has no valid recipe ({recipes.first_error(exc)})",
            where=str(folder),
            hint="Name one with --preset or --recipe.",
        ) from exc


def _setting(text: str) -> tuple[str, Any]:
    """Parse a setting of `--set training.warmup=0.1`; its value is YAML."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--set: {text!r} is not NAME=VALUE", hint="--set training.warmup=0.1")
    _check_name(name.strip())
    try:
        return name.strip(), yaml_files.parse(value)[1]
    except yaml.YAMLError as exc:
        raise UsageError(f"--set: {value!r} is not a YAML value") from exc


def _check_name(dotted: str) -> None:
    settings: Any = Recipe()
    for name in dotted.split("."):
        fields = type(settings).model_fields if isinstance(settings, BaseModel) else {}
        if name not in fields:
            hint = f"Known settings: {', '.join(fields)}." if fields else ""
            raise UsageError(f"--set: a recipe has no setting {dotted!r}", hint=hint)
        settings = getattr(settings, name)
