"""The recipe of a line: the one that is named, or the folder's, with the options laid over it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from harness.errors import InputError, UsageError
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
    """The recipe that is named, else the one the folder was begun with, with the options laid over.

    Raises:
        UsageError: a setting that is not one, or that no recipe has.
    """
    if options.preset and options.recipe:
        raise UsageError("--preset and --recipe name two recipes", hint="Give one of them.")
    named = options.recipe or options.preset
    if named is None and remembered:
        found = _recipe_of(remembered, folder)
    else:
        found = recipes.load(named or DEFAULT)
    given = {dotted: getattr(options, field) for field, dotted in SETTINGS.items()}
    changes = {dotted: value for dotted, value in given.items() if value is not None}
    return recipes.overridden(found, {**changes, **dict(map(_setting, options.set))})


def _recipe_of(remembered: Mapping[str, Any], folder: Path) -> Recipe:
    """The recipe that a folder remembers.

    Raises:
        InputError: it is of a version that had other settings.
    """
    try:
        return Recipe.model_validate(remembered.get("recipe"))
    except ValidationError as exc:
        error = exc.errors()[0]
        name = ".".join(map(str, error["loc"])) or "it"
        raise InputError(
            f"remembers no recipe that can be read ({name}: {error['msg']})",
            where=str(folder),
            hint="Name one with --preset or --recipe.",
        ) from exc


def _setting(text: str) -> tuple[str, Any]:
    """A setting as `--set training.warmup=0.1` gives it; its value is read as YAML."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--set: {text!r} is not NAME=VALUE", hint="--set training.warmup=0.1")
    try:
        return _known(name.strip()), yaml.safe_load(value)
    except yaml.YAMLError as exc:
        raise UsageError(f"--set: {value!r} is no value") from exc


def _known(dotted: str) -> str:
    """The name of a setting, which may be a part of the recipe.

    Raises:
        UsageError: no recipe has it.
    """
    settings: Any = Recipe()
    for name in dotted.split("."):
        fields = type(settings).model_fields if isinstance(settings, BaseModel) else {}
        if name not in fields:
            there = f"There are {', '.join(fields)}." if fields else ""
            raise UsageError(f"--set: no recipe has the setting {dotted!r}", hint=there)
        settings = getattr(settings, name)
    return dotted
