"""Perform a whole run of /finetune or a stage of a run, or show the plan of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.api.skill import Call, Result
from harness.errors import HarnessError, InputError, Interrupted, ModelUnavailable, UsageError
from harness.runs.invocation import as_path
from harness.support.process import job_lock, low_spin_openmp, require
from harness.support.text_input import at_home, regular_file
from skills.finetune import plan, ranks
from skills.finetune import recipe as recipes
from skills.finetune.export.compare import compare
from skills.finetune.export.gguf import convert, quantize
from skills.finetune.export.llama_cpp import find_converters, library_version
from skills.finetune.export.merge import merge
from skills.finetune.export.modelfile import write_modelfiles
from skills.finetune.export.ollama_api import Ollama
from skills.finetune.export.ollama_model import check_version, create_in_ollama
from skills.finetune.export.register import first_model, name_of, own_name, register
from skills.finetune.model import lora_adapters
from skills.finetune.model.bases import describe
from skills.finetune.run_folder import Entry, RunDir, StageContext
from skills.finetune.tokenization.prepare import prepare
from skills.finetune.training import checkpoints
from skills.finetune.training.trackers import Tracking
from skills.finetune.training.train import packages, train, train_inputs
from skills.nanda import framework as frameworks
from skills.nanda.framework import framework_file

STAGES: dict[str, Callable[[StageContext], Entry]] = {
    "prepare": prepare,
    "train": train,
    "merge": merge,
    "gguf": convert,
    "quantize": quantize,
    "modelfile": write_modelfiles,
    "ollama": create_in_ollama,
    "register": register,
    "compare": compare,
}
"""The functions of the stages by subcommand, in the order of a run."""
EXPORT_MODULES = ("gguf", "sentencepiece", "cffi", "jinja2")
"""Modules that the stages after training import."""


@low_spin_openmp()  # torch is imported for the first time during this function
def run(call: Call) -> Result:
    """Perform the stage of the subcommand, or all stages; return the result of the command.

    Raises:
        HarnessError: a stage failed; the files of earlier stages are kept.
    """
    context, name = _context(call), call.subcommand
    locks = call.settings.data_dir / "locks"
    with job_lock(locks, str(context.run_dir.folder.resolve())), ranks.leading():
        facts: dict[str, str | float] = {}
        try:
            done = {name: _perform_one(context, name)} if name else _perform_all(context)
            facts = _tracked_facts(done) if context.tracking else {}
        finally:
            if context.tracking:
                context.tracking.close(facts)
        return _result(context, done)


def _tracked_facts(done: Mapping[str, Entry]) -> dict[str, str | float]:
    """Return the final figures and file digests of a run, by their names in a tracker."""
    facts = {**done["train"].facts}
    found = {f"final/{key}": float(facts[key]) for key in ("loss", "dev_loss") if facts.get(key)}
    if "compare" in done and (agreement := done["compare"].facts.get("agreement")):
        found["final/agreement"] = float(agreement[0])
    files = (one for stage in done.values() for one in stage.outputs.items())
    return found | {f"artifact/{path}": file.sha256 for path, file in files}


def show_plan(call: Call) -> Result:
    """Return the result of `/finetune plan`; `stopped` is the first refusal of the plan."""
    found = plan.make_plan(_context(call))
    text = plan.plan_text(found, details=call.options.details)
    return Result(text, found.as_dict(), stopped=next(iter(found.refusals), None))


def check(context: StageContext) -> None:
    """Check the requirements of all stages before the first stage starts.

    An Ollama server is contacted only if --host is given. Without --host, the run skips the stage
    `ollama` if no server answers, the server is too old, or the user does not consent to sending
    the model.

    Raises:
        UsageError: a package is missing, the model's name cannot be used, or the server is too
            old.
        InputError: --llama-cpp is not a llama.cpp checkout, or the adapter of --start-from does not
            fit.
        ModelUnavailable: no server answers at --host.
    """
    require(*packages(context.recipe), *EXPORT_MODULES)
    find_converters(context.call.options.llama_cpp)
    library_version()
    name_of(context)
    shapes = describe(context)
    if shapes is None:
        lora_adapters.start_path(context)
    else:
        lora_adapters.open_start(context, shapes)
    if host := context.call.options.host:
        with Ollama(host) as ollama:
            check_version(ollama.version())


def _perform_all(context: StageContext) -> dict[str, Entry]:
    """Perform the stages in order, and return the entries of the performed stages by name."""
    screen, done = context.call.screen, dict[str, Entry]()

    def perform(name: str, *skipped: type[HarnessError]) -> None:
        """Perform a stage.

        If the stage raises an error of a class in `skipped`, print the error, and remove the entry
        of the stage from the manifest.
        """
        try:
            with screen.in_part(f"stage {[*STAGES].index(name) + 1} of {len(STAGES)}"):
                done[name] = STAGES[name](context)
        except Interrupted:
            raise
        except skipped as error:
            screen.notice(f"{name}: skipped: {error.message}")
            context.run_dir.forget(name)

    checkpoints.check_earlier(context)
    check(context)
    if not context.run_dir.run:
        _remember(context)
    screen.notice(f"{context.run_dir.folder}: {len(STAGES)} stages: {', '.join(STAGES)}")
    perform("prepare")
    is_trained = context.run_dir.is_current("train", train_inputs(context))
    if not is_trained:
        for refusal in plan.make_plan(context).refusals:
            raise refusal
    checkpoints.make_room(context, done=is_trained)
    # Store the settings only now: a command that was refused must not change them.
    if not checkpoints.resumes(context):
        _remember(context)
    perform("train")
    _remember(context)
    for name in ("merge", "gguf", "quantize", "modelfile"):
        perform(name)
    # Without --host, skip the stage `ollama` if no server answers, the server is too old, or the
    # user does not consent.
    no_server = () if context.call.options.host else (ModelUnavailable, UsageError)
    perform("ollama", *no_server)
    perform("register")
    if not done["register"].facts["default"]:
        perform("compare", HarnessError)  # the model is registered even if the comparison fails
    return done


def _perform_one(context: StageContext, name: str) -> Entry:
    """Perform the stage `name`, and return its entry in the manifest."""
    if name == "train":
        checkpoints.check_earlier(context)
        is_trained = context.run_dir.is_current("train", train_inputs(context))
        checkpoints.make_room(context, done=is_trained)
    starts = name in ("prepare", "train") and not checkpoints.resumes(context)
    if not context.run_dir.run or (starts and name == "train"):
        _remember(context)
    entry = STAGES[name](context)
    if starts or name == "train":
        _remember(context)
    elif context.call.options.as_name:
        context.run_dir.remember({**context.run_dir.run, "as_name": context.call.options.as_name})
    return entry


def _context(call: Call) -> StageContext:
    """Return the context of a command, from its options and the stored settings of the run.

    Raises:
        UsageError: options contradict each other, or the text is an unknown subcommand.
        InputError: the folder has no run, or a recipe, a framework or a data set cannot be read.
    """
    options, text = call.options, call.text.strip()
    data, folder = (as_path(text) if text else None), options.run_folder
    if data is not None and (data.is_dir() or not data.suffix):
        data, folder = None, data
    remembered = RunDir(folder, "").run
    if data is None and not remembered:
        raise _no_run(call, folder)
    before = remembered if data is None or options.resume or options.checkpoint else {}
    if len(options.dev) > 1:
        raise UsageError(
            "--dev names several files, and a training uses one file", hint="Give one --dev."
        )
    dev = at_home(options.dev[0]) if options.dev else None
    recipe = recipes.chosen_recipe(options, before, folder)
    recipe = lora_adapters.with_absolute_start(recipe, call.models.registry)
    own = framework_file(options.framework, call.frameworks) or _path(before.get("framework"))
    for path in filter(None, (data, dev)):
        regular_file(path)
    if options.track_to and options.track in (None, "tensorboard"):
        raise UsageError(
            "--track-to needs a tracker with a server",
            hint="Add --track trackio, --track mlflow or --track wandb.",
        )
    notice = call.screen.notice
    tracking = options.track and Tracking(options.track, options.track_to, folder, notice)
    return StageContext(
        call,
        recipe,
        RunDir.of(folder, recipe),
        frameworks.load(own) if own else frameworks.nanda(),
        data or _path(remembered.get("data")),
        dev or _path(before.get("dev")),
        own,
        tracking or None,
    )


def _path(text: Any) -> Path | None:
    return Path(text) if text else None


def _remember(context: StageContext) -> None:
    """Store the run's settings in its folder, for stages that are performed later."""
    paths = {"data": context.data, "dev": context.dev, "framework": context.framework_file}
    context.run_dir.make()
    own = own_name(context)
    context.run_dir.remember(
        {
            "recipe": context.recipe.model_dump(mode="json"),
            **{name: path and str(path.resolve()) for name, path in paths.items()},
            **({"as_name": own} if own else {}),
        }
    )


def _no_run(call: Call, folder: Path) -> HarnessError:
    """Return the error for a folder without a run, or for a word that is not a subcommand."""
    word = call.text.strip()
    if word and not call.subcommand and not as_path(word).exists():
        return UsageError(
            f"/finetune has no subcommand {word[:40]!r}, and there is no such folder",
            hint="`/help finetune` lists the subcommands.",
        )
    return InputError(
        "no run was started here",
        where=str(folder),
        hint="`/finetune train.jsonl --out FOLDER` starts a run; `/help finetune` lists the "
        "subcommands.",
    )


def _use(context: StageContext, done: Mapping[str, Entry]) -> tuple[list[str], str]:
    """Return sentences on the comparison and use of the new model, and a line that uses it.

    The results are [] and "" if the command neither registered nor compared a model.
    """
    entry = context.run_dir.entry("register")
    if entry is None or not done.keys() & {"register", "compare"}:
        return [], ""
    name, first = entry.facts["name"], first_model(context.call.settings)
    lines = [done["compare"].facts["outcome"]] if "compare" in done else []
    if name == first:
        line = "/annotate FILE"
        lines += [f"`{line}` uses {name} now; `/finetune unregister {name}` removes it"]
    else:
        line = f"/annotate FILE --model {name}"
        change = f"`/finetune register {context.run_dir.folder} --default`"
        lines += [f"`{line}` uses {name}; {change} makes it the default instead of {first}"]
    return lines, line


def _result(context: StageContext, done: Mapping[str, Entry]) -> Result:
    lines = []
    if "train" in done:
        train = done["train"].facts
        loss = "" if train["loss"] is None else f", training loss {train['loss']:.3f}"
        dev = "" if train["dev_loss"] is None else f", dev loss {train['dev_loss']:.3f}"
        step = f"step {train['step']:,} of {train['steps']:,}"
        lines = [f"trained: the adapter of {step} is kept{loss}{dev}", *train.get("adapted", ())]
    lines += [f"{name}: {entry.seconds:.0f} s" for name, entry in done.items()]
    kept = [path for entry in done.values() for path in entry.outputs]
    lines += [f"{context.run_dir.folder / path}" for path in kept if "/" not in path]
    use, next_line = _use(context, done)
    facts = {
        name: {"seconds": entry.seconds, **entry.facts, "outputs": sorted(entry.outputs)}
        for name, entry in done.items()
    }
    verified = all(entry.facts.get("verified", True) for entry in done.values())
    data = {"out": str(context.run_dir.folder), "stages": facts}
    text = "\n".join([*lines, *use])
    return Result(text, data, exit_code=0 if verified else 1, next=next_line)
