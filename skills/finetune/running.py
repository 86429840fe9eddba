"""/finetune with a training set or a folder: the whole run, or one stage of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.errors import InputError, ModelUnavailable, UsageError
from harness.invocation import as_path
from harness.skills import Call, Result
from skills.finetune import recipe as recipes
from skills.finetune import stages
from skills.finetune.out import Out
from skills.finetune.recipe import Recipe
from skills.finetune.work import Work
from skills.nanda import framework as frameworks

SETTINGS = {
    "base": "base",
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


def run_all(call: Call) -> Result:
    """Run every stage on a training set.

    Raises:
        HarnessError: a stage cannot be done; what those before it have left stays.
    """
    work = _work(call, begins=True)
    _refuse_to_begin_anew(work)
    done = dict(stages.perform_all(work, ("prepare",)))
    if not stages.is_done(work, "train"):
        from skills.finetune.planning import plan

        plan.check(work)
    done |= stages.perform_all(work, ("train", "merge", "gguf", "quantize", "modelfile"))
    try:
        done |= stages.perform_all(work, ("ollama",))
    except (ModelUnavailable, UsageError) as error:  # none answers, or one that is too old
        if call.options.host:
            raise
        stages.skip(work, "ollama", error)
    done |= stages.perform_all(work, ("register",))
    return _result(work, done)


def run_stage(call: Call) -> Result:
    """Run the stage that the subcommand names, in a folder that a run was begun in."""
    work = _work(call, begins=call.subcommand in ("prepare", "train"))
    if call.subcommand == "train":
        _refuse_to_begin_anew(work)
    chosen = stages.stage(call.subcommand)
    return _result(work, {call.subcommand: stages.perform(work, chosen)})


def show_plan(call: Call) -> Result:
    """Say what a run would take, and whether this machine has it."""
    from skills.finetune.planning import plan
    from skills.finetune.planning import text as plan_text

    made = plan.plan(_work(call, begins=False, makes=False))
    refused = made.refusals[0] if made.refusals else None
    return Result(plan_text.show(made), made.as_dict(), stopped=refused)


def _work(call: Call, *, begins: bool, makes: bool = True) -> Work:
    """What the stages are given, from the options or from what the folder remembers.

    Args:
        begins: the run is begun here, so that the options count.
        makes: the folder is made and notes what the run is begun with.
    """
    options = call.options
    given = as_path(call.text.strip()) if call.text.strip() else None
    is_folder = given is not None and (given.is_dir() or not given.suffix)
    folder = given if is_folder and given else options.out
    data = given if given and not is_folder else None
    remembered = Out(folder, "").run
    if data is None and not remembered:
        _refuse_a_word(call, given)
        raise InputError(
            "no run was begun here",
            where=str(folder),
            hint="`/finetune train.jsonl --out FOLDER` begins one.",
        )
    recipe = _recipe(call, {} if data is not None else remembered)
    own = options.framework
    work = Work(
        call,
        recipe,
        Out.of(folder, recipe),
        frameworks.load(own) if own else frameworks.nanda(),
        data or _path(remembered.get("data")),
        _dev(call) or _path(remembered.get("dev")),
    )
    if makes:
        work.out.make()
        if begins or not remembered:
            work.out.remember(
                {
                    "recipe": recipe.model_dump(mode="json"),
                    "data": work.data and str(work.data.resolve()),
                    "dev": work.dev and str(work.dev.resolve()),
                }
            )
    return work


def _refuse_a_word(call: Call, given: Path | None) -> None:
    """Refuse a word that is neither a subcommand nor a file or folder.

    Raises:
        UsageError: naming the subcommands that there are.
    """
    from skills.finetune.plugin import Finetune

    commands = ", ".join(Finetune.subcommands)
    if given is None and not call.subcommand:
        raise UsageError(
            "/finetune needs a training set or a subcommand",
            hint=f"The subcommands are {commands}.",
        )
    if given is not None and not given.exists() and not call.subcommand:
        raise UsageError(
            f"/finetune has no subcommand {given.name[:40]!r}, and there is no such folder",
            hint=f"The subcommands are {commands}.",
        )


def _recipe(call: Call, remembered: Mapping[str, Any]) -> Recipe:
    """The recipe that is named, else the one the folder was begun with, with the options laid over.

    Raises:
        UsageError: a setting that is not one, or that no recipe has.
    """
    options = call.options
    if options.preset and options.recipe:
        raise UsageError("--preset and --recipe name two recipes", hint="Give one of them.")
    named = options.recipe or options.preset
    if named is None and remembered:
        chosen = Recipe.model_validate(remembered["recipe"])
    else:
        chosen = recipes.load(named or DEFAULT)
    changes = {dotted: getattr(options, field) for field, dotted in SETTINGS.items()}
    return recipes.overridden(chosen, {**changes, **dict(map(_setting, options.set))})


def _setting(text: str) -> tuple[str, Any]:
    """A setting as `--set training.warmup=0.1` gives it; its value is read as YAML."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--set: {text!r} is not NAME=VALUE", hint="--set training.warmup=0.1")
    try:
        return name.strip(), yaml.safe_load(value)
    except yaml.YAMLError as exc:
        raise UsageError(f"--set: {value!r} is no value") from exc


def _dev(call: Call) -> Path | None:
    given = call.options.dev
    if len(given) > 1:
        raise UsageError("--dev: training is measured on one file", hint="Give one --dev.")
    return Path(given[0]).expanduser() if given else None


def _path(text: Any) -> Path | None:
    return Path(text) if text else None


def _refuse_to_begin_anew(work: Work) -> None:
    """Refuse to train where checkpoints of an unfinished training are, unless --resume says so.

    Raises:
        UsageError: naming them.
    """
    options = work.call.options
    if options.resume or options.checkpoint or work.out.entry("train") is not None:
        return
    found = sorted(path.name for path in work.out.folder.glob("checkpoint-*") if path.is_dir())
    if found:
        raise UsageError(
            f"there is a training here that has not ended ({found[-1]})",
            where=str(work.out.folder),
            hint="--resume goes on with it; --out names another folder for a new one.",
        )


def _result(work: Work, done: Mapping[str, Any]) -> Result:
    lines = [f"{name}: {entry.seconds:.0f} s" for name, entry in done.items()]
    kept = [path for entry in done.values() for path in entry.outputs]
    lines += [f"{work.out.folder / path}" for path in kept if "/" not in path]
    facts = {
        name: {"seconds": entry.seconds, **entry.facts, "outputs": sorted(entry.outputs)}
        for name, entry in done.items()
    }
    verified = all(entry.facts.get("verified", True) for entry in done.values())
    data = {"out": str(work.out.folder), "stages": facts}
    return Result("\n".join(lines), data, exit_code=0 if verified else 1)
