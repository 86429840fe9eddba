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
from skills.corpus.tables.files import regular_file
from skills.finetune.model import start_from
from skills.finetune.run import recipe_options, stages
from skills.finetune.run.run_dir import Entry, Out
from skills.finetune.run.stage import Work
from skills.nanda import framework as frameworks
from skills.nanda.framework_option import framework_file


def run_all(call: Call) -> Result:
    """Run every stage on a training set.

    Raises:
        HarnessError: a stage cannot be done; what those before it have left stays.
    """
    work = _work(call)
    with _alone(work):
        return _result(work, _all_done(work))


def run_stage(call: Call) -> Result:
    """Run the stage that the subcommand names, in a folder that a run was begun in."""
    work = _work(call)
    with _alone(work):
        return _result(work, {call.subcommand: _stage_done(work, call.subcommand)})


def show_plan(call: Call) -> Result:
    """Say what a run would take, and whether this machine has it."""
    from skills.finetune.planning import plan
    from skills.finetune.planning import text as plan_text

    made = plan.plan(_work(call))
    refused = made.refusals[0] if made.refusals else None
    return Result(plan_text.show(made), made.as_dict(), stopped=refused)


def _alone(work: Work) -> AbstractContextManager[None]:
    """No other process is at work in the folder of the run: two would write over each other.

    Raises:
        UsageError: one is; its pid is told.
    """
    return job_lock(work.call.settings.data_dir / "locks", str(work.out.folder.resolve()))


def _all_done(work: Work) -> dict[str, Entry]:
    from skills.finetune.run import preflight
    from skills.finetune.training import earlier

    earlier.refuse_checkpoint(work)
    earlier.refuse_unfinished(work)
    preflight.check(work)
    if not work.out.run:
        _remember(work)
    done = dict(stages.perform_all(work, ("prepare",)))
    if not (trained := stages.is_done(work, "train")):
        from skills.finetune.planning import plan

        plan.check(work)
    earlier.settle(work, done=trained)
    if not earlier.resumes(work):  # not before: a line that is refused changes nothing of a run
        _remember(work)
    done |= stages.perform_all(work, ("train",))
    _remember(work)  # of a training that was gone on with, only now that nothing speaks against it
    done |= stages.perform_all(work, ("merge", "gguf", "quantize", "modelfile"))
    try:
        done |= stages.perform_all(work, ("ollama",))
    except (ModelUnavailable, UsageError) as error:  # none answers, or one that is too old
        if work.call.options.host:
            raise
        stages.skip(work, "ollama", error)
    done |= stages.perform_all(work, ("register",))
    return done


def _stage_done(work: Work, name: str) -> Entry:
    from skills.finetune.training import earlier

    if name == "train":
        earlier.refuse_checkpoint(work)
        earlier.refuse_unfinished(work)
        earlier.settle(work, done=stages.is_done(work, "train"))
    begins = name in ("prepare", "train") and not earlier.resumes(work)
    if not work.out.run or (begins and name == "train"):
        _remember(work)
    entry = stages.perform(work, stages.stage(name))
    if begins or name == "train":
        _remember(work)
    return entry


def _work(call: Call) -> Work:
    """What the stages are given, from the options or from what the folder remembers."""
    options, (data, folder) = call.options, _named(call)
    if data is None and not Out(folder, "").run:
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
    return Work(
        call,
        recipe,
        Out.of(folder, recipe),
        frameworks.load(own) if own else frameworks.nanda(),
        data or _path(Out(folder, "").run.get("data")),
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
    return Out(folder, "").run if goes_on else {}


def _framework(call: Call) -> Path | None:
    own = framework_file(call.options.framework, call.frameworks)
    return own or _path(_before(call).get("framework"))


def _folder(options: Any) -> Path:
    """The folder of the run, where it is not named itself: a checkpoint lies in its own."""
    if options.checkpoint is not None and "out" not in options.model_fields_set:
        checkpoint: Path = options.checkpoint
        return checkpoint.parent
    out: Path = options.out
    return out


def _remember(work: Work) -> None:
    """Note in the folder what the run is begun with, for stages that are done later."""

    def path(found: Path | None) -> str | None:
        return None if found is None else str(found.resolve())

    work.out.make()
    work.out.remember(
        {
            "recipe": work.recipe.model_dump(mode="json"),
            "data": path(work.data),
            "dev": path(work.dev),
            "framework": path(_framework(work.call)),
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
