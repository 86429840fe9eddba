"""/finetune with a training set or a folder: the whole run, or one stage of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from harness.api.skill import Call, Result
from harness.errors import InputError, ModelUnavailable, UsageError
from harness.runs.grammar import as_path
from harness.runs.process_lock import job_lock
from harness.support.text_input import regular_file
from skills.finetune.model import start_from
from skills.finetune.run import recipe_options, stages
from skills.finetune.run.run_dir import Entry, RunDir
from skills.finetune.run.stage import StageContext
from skills.nanda import framework as frameworks
from skills.nanda.framework_option import framework_file


def run_all(call: Call) -> Result:
    """Run every stage on a training set.

    Raises:
        HarnessError: a stage cannot be done; what those before it have left stays.
    """
    context = _work(call)
    with _alone(context):
        return _result(context, _all_done(context))


def run_stage(call: Call) -> Result:
    """Run the stage that the subcommand names, in a folder that a run was begun in."""
    context = _work(call)
    with _alone(context):
        return _result(context, {call.subcommand: _stage_done(context, call.subcommand)})


def show_plan(call: Call) -> Result:
    """Say what a run would take, and whether this machine has it."""
    from skills.finetune.planning import plan
    from skills.finetune.planning import text as plan_text

    made = plan.plan(_work(call))
    refused = made.refusals[0] if made.refusals else None
    return Result(plan_text.show(made), made.as_dict(), stopped=refused)


def _alone(context: StageContext) -> AbstractContextManager[None]:
    """No other process is at work in the folder of the run: two would write over each other.

    Raises:
        UsageError: one is; its pid is told.
    """
    return job_lock(context.call.settings.data_dir / "locks", str(context.run_dir.folder.resolve()))


def _all_done(context: StageContext) -> dict[str, Entry]:
    from skills.finetune.run import preflight
    from skills.finetune.training import earlier

    earlier.refuse_checkpoint(context)
    earlier.refuse_unfinished(context)
    preflight.check(context)
    if not context.run_dir.run:
        _remember(context)
    done = dict(stages.perform_all(context, ("prepare",)))
    if not (trained := stages.is_done(context, "train")):
        from skills.finetune.planning import plan

        plan.check(context)
    earlier.settle(context, done=trained)
    if not earlier.resumes(context):  # not before: a line that is refused changes nothing of a run
        _remember(context)
    done |= stages.perform_all(context, ("train",))
    _remember(
        context
    )  # of a training that was gone on with, only now that nothing speaks against it
    done |= stages.perform_all(context, ("merge", "gguf", "quantize", "modelfile"))
    try:
        done |= stages.perform_all(context, ("ollama",))
    except (ModelUnavailable, UsageError) as error:  # none answers, or one that is too old
        if context.call.options.host:
            raise
        stages.skip(context, "ollama", error)
    done |= stages.perform_all(context, ("register",))
    return done


def _stage_done(context: StageContext, name: str) -> Entry:
    from skills.finetune.training import earlier

    if name == "train":
        earlier.refuse_checkpoint(context)
        earlier.refuse_unfinished(context)
        earlier.settle(context, done=stages.is_done(context, "train"))
    begins = name in ("prepare", "train") and not earlier.resumes(context)
    if not context.run_dir.run or (begins and name == "train"):
        _remember(context)
    entry = stages.perform(context, stages.stage(name))
    if begins or name == "train":
        _remember(context)
    return entry


def _work(call: Call) -> StageContext:
    """What the stages are given, from the options or from what the folder remembers."""
    options, (data, folder) = call.options, _named(call)
    if data is None and not RunDir(folder, "").run:
        _refuse_a_word(call)
        raise InputError(
            "no run was begun here",
            where=str(folder),
            hint="`/finetune train.jsonl --out FOLDER` begins one.",
        )
    before, dev = _before(call), _dev(call)
    recipe, own = recipe_options.chosen(options, before, folder), _framework(call)
    recipe = start_from.anchored(recipe, call.models.registry)
    for path in filter(None, (data, dev)):
        regular_file(path)
    return StageContext(
        call,
        recipe,
        RunDir.of(folder, recipe),
        frameworks.load(own) if own else frameworks.nanda(),
        data or _path(RunDir(folder, "").run.get("data")),
        dev or _path(before.get("dev")),
    )


def _named(call: Call) -> tuple[Path | None, Path]:
    """The training set, if one is named, and the folder of the run."""
    given = as_path(call.text.strip()) if call.text.strip() else None
    if given is not None and (given.is_dir() or not given.suffix):
        return None, given
    return given, _folder(call.options)


def _before(call: Call) -> Mapping[str, Any]:
    """What the run was begun with, where it is gone on with; empty where one is begun."""
    data, folder = _named(call)
    goes_on = data is None or call.options.resume or call.options.checkpoint
    return RunDir(folder, "").run if goes_on else {}


def _framework(call: Call) -> Path | None:
    own = framework_file(call.options.framework, call.frameworks)
    return own or _path(_before(call).get("framework"))


def _folder(options: Any) -> Path:
    """The folder of the run, where it is not named itself: a checkpoint lies in its own."""
    if options.checkpoint is not None and "out" not in options.model_fields_set:
        checkpoint: Path = options.checkpoint
        return checkpoint.parent
    run_dir: Path = options.out
    return run_dir


def _remember(context: StageContext) -> None:
    """Note in the folder what the run is begun with, for stages that are done later."""

    def path(found: Path | None) -> str | None:
        return None if found is None else str(found.resolve())

    context.run_dir.make()
    context.run_dir.remember(
        {
            "recipe": context.recipe.model_dump(mode="json"),
            "data": path(context.data),
            "dev": path(context.dev),
            "framework": path(_framework(context.call)),
        }
    )


def _refuse_a_word(call: Call) -> None:
    """Refuse a word that is neither a subcommand nor a file or folder.

    Raises:
        UsageError: naming the subcommands that there are.
    """
    from skills.finetune.plugin import Finetune

    commands, word = ", ".join(Finetune.subcommands), call.text.strip()
    if call.subcommand:
        return
    if not word:
        raise UsageError(
            f"/finetune needs a training set or a subcommand, and no run was begun in "
            f"{_folder(call.options)}",
            hint=f"The subcommands are {commands}.",
        )
    if not as_path(word).exists():
        raise UsageError(
            f"/finetune has no subcommand {word[:40]!r}, and there is no such folder",
            hint=f"The subcommands are {commands}.",
        )


def _dev(call: Call) -> Path | None:
    given = call.options.dev
    if len(given) > 1:
        raise UsageError("--dev: training is measured on one file", hint="Give one --dev.")
    return Path(given[0]).expanduser() if given else None


def _path(text: Any) -> Path | None:
    return Path(text) if text else None


def _result(context: StageContext, done: Mapping[str, Any]) -> Result:
    lines = [f"{name}: {entry.seconds:.0f} s" for name, entry in done.items()]
    kept = [path for entry in done.values() for path in entry.outputs]
    lines += [f"{context.run_dir.folder / path}" for path in kept if "/" not in path]
    facts = {
        name: {"seconds": entry.seconds, **entry.facts, "outputs": sorted(entry.outputs)}
        for name, entry in done.items()
    }
    verified = all(entry.facts.get("verified", True) for entry in done.values())
    data = {"out": str(context.run_dir.folder), "stages": facts}
    return Result("\n".join(lines), data, exit_code=0 if verified else 1)
