"""/finetune push: push a registered model to the Hub, with its card and evaluation.

README.md in the folder of the run is the card. Each push rewrites the part of the card that the
harness generates from the manifest and the evaluation, so that the figures describe the pushed
files. Text and metadata that a person has written are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from harness._version import __version__
from harness.api.skill import Call, Result
from harness.errors import InputError
from harness.models import hub
from harness.models.registry import FileEntry
from harness.models.weights import FileStore
from harness.permissions import consent
from harness.support.bounded_files import read_json
from harness.support.process import require
from harness.support.text_input import unreadable
from skills.corpus.exports.user_edited import HTML, Owned, check_current, write_owned
from skills.finetune.export.compare import METRIC
from skills.finetune.export.register import is_registered, not_registered, trained
from skills.finetune.model.bases import HUB_ID
from skills.finetune.model.lora_adapters import CONFIG, WEIGHTS
from skills.finetune.run_folder import RunDir
from skills.nanda.text import counted, escape_markdown

TAGS = [hub.ANNOTATOR, "nanda-harness", "scientific-papers", "lora", "gguf"]
_NEW = """\
---
---

# {name}

Describe here for which papers the model was trained.

"""


class Score(NamedTuple):
    """A figure on the model card; `note` has the number of papers and, if known, the interval."""

    metric: str
    meaning: str
    data: str
    value: float
    note: str


def push(call: Call) -> Result:
    """Push the adapter, GGUF files, Modelfile and card of a model; return the command's result.

    Raises:
        UsageError: the model, the repository or the token is missing, the user does not agree, or a
            person has changed the figures of the card.
        InputError: the evaluation measured another model, or the folder of the run is incomplete.
        ModelError: a file of the model is missing, or differs from the registered file.
        SkillFailed: the Hub cannot be reached, or refuses the files.
    """
    options, name, registry = call.options, call.text.strip(), call.models.registry
    hub.check_repository(options.to)
    require("huggingface_hub", extra="hub")
    model = registry.models.get(name)
    if (
        model is None
        or not is_registered(model.model_dump())
        or f"{name}-gguf" not in registry.files
    ):
        raise not_registered(call, name)
    store = FileStore(registry.files, call.settings.cache_dir, call.screen.notice)
    ids = [key for key in (f"{name}-gguf", f"{name}-lora") if key in registry.files]
    ggufs = {store.ensure(key): str(store.digest(key)) for key in ids}
    folder = next(iter(ggufs)).parent
    recipe = RunDir(folder, "").run.get("recipe")
    if recipe is None or not (folder / "adapter" / WEIGHTS).is_file():
        raise InputError(
            "is not the folder of a run: manifest.json or adapter/ is missing",
            where=str(folder),
            hint="A push needs manifest.json and adapter/; `/finetune` writes both.",
        )
    run_dir = RunDir(folder, str(recipe["export"]["name"]))
    scores = [*_compared(run_dir, ggufs.values())]
    scores += _evaluated(options.evaluation, folder / "eval.json", {*ggufs.values()})
    base = str(recipe["base"])
    known = FileEntry(path="", base_model=base if HUB_ID.match(base) else None)
    known = registry.files.get(base, known)
    card = _write_card(call, run_dir, known, ggufs, scores)
    config = read_json(run_dir.adapter / CONFIG)
    # The published config must not contain a local path.
    config["base_model_name_or_path"] = known.base_model or Path(base).name
    files: dict[str, Path | bytes] = {CONFIG: json.dumps(config, indent=2).encode()}
    files |= _results(options.evaluated_on, scores)
    paths = (card, run_dir.adapter / WEIGHTS, *ggufs, run_dir.modelfile)
    pushed = hub.push(
        options.to,
        "model",
        {**{path.name: path for path in paths if path.is_file()}, **files},
        public=options.public,
        notice=call.screen.notice,
        allow=lambda action: consent(f"/finetune push {action}", call.confirm, yes=call.yes),
    )
    return Result(str(pushed), pushed.model_dump())


def _compared(run_dir: RunDir, digests: Iterable[str]) -> Iterator[Score]:
    """Yield the agreement from the stage `compare`, if the compared files have `digests`."""
    entry = run_dir.entry("compare")
    if entry is None or METRIC not in entry.facts:
        return
    if {file.get("sha256") for file in entry.inputs["files"].values()} == {*digests}:
        data, papers = "gold papers held out from training", counted(entry.facts["papers"], "paper")
        yield Score(METRIC, "ROUGE-L against the gold", data, entry.facts[METRIC][0], papers)


def _evaluated(named: Path | None, own: Path, digests: set[str]) -> list[Score]:
    """Return the model's figures in the file `named`, else in `own` if it exists, else [].

    Raises:
        InputError: the file cannot be read, or no annotator in the file has one of `digests`.
    """
    path = named or own
    if named is None and not path.is_file():
        return []
    try:
        found = read_json(path)
        data, meanings = Path(found["input"]).stem, dict(found["metrics"])
        every = [one for one in found["annotators"] if digests & {*one.get("digests", {}).values()}]
        if not every:
            raise InputError(
                "does not evaluate the files of this model",
                where=str(path),
                hint="`/evaluate GOLD --models NAME save to eval.json` evaluates the model.",
            )
        scores = []
        for key, metric in every[0]["metrics"].items():
            one = metric["overall"]
            if one["value"] is not None and one["papers"]:
                note, low = counted(int(one["papers"]), "paper"), one["low"]
                if low is not None:
                    note = f"95% interval {low:.3f} to {one['high']:.3f}, {note}"
                scores.append(Score(key, meanings.get(key, key), data, float(one["value"]), note))
    except OSError as exc:
        raise unreadable(path, exc) from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise InputError("is not a file of /evaluate", where=str(path)) from exc
    return scores


def _write_card(
    call: Call,
    run_dir: RunDir,
    base: FileEntry,
    ggufs: Mapping[Path, str],
    scores: Sequence[Score],
) -> Path:
    """Write metadata, training, use, files and figures to the card, and return the card's path.

    Raises:
        UsageError: a person has changed the figures.
    """
    from huggingface_hub import EvalResult, ModelCardData

    options, name, train = call.options, call.text.strip(), trained(run_dir)
    dataset, _, revision = (options.evaluated_on or "unpublished").partition("@")
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=dataset,
            dataset_name=score.data,
            dataset_revision=revision or None,
            metric_type=score.metric,
            metric_name=f"{score.meaning} ({score.note})",
            metric_value=score.value,
        )
        for score in scores
    ]
    metadata = ModelCardData(
        license=base.license and base.license.lower(),
        language=["en"],
        base_model=base.base_model,
        base_model_relation="adapter" if base.base_model else None,
        library_name="peft",
        pipeline_tag="text-generation",
        datasets=list(options.trained_on) or None,
        tags=TAGS,
        model_name=name,
        eval_results=results or None,
    ).to_dict()
    for key in sorted({"license", "base_model", "datasets"} - metadata.keys()):
        call.screen.notice(f"the card states no {key}; you may add it to README.md")
    rows = sum(call.models.registry.models[name].trained_on.get("rows", {}).values())
    loss = train.facts.get("dev_loss")
    files = "\n".join(f"| {path.name} | `{digest}` |" for path, digest in ggufs.items())
    figures = "\n".join(
        f"| {escape_markdown(one.meaning)} | {one.data} | {one.value:.3f} | {one.note} |"
        for one in scores
    )
    block = f"""\
A LoRA adapter for {base.base_model or "its base"} that annotates abstracts of papers. Trained on
{counted(rows, "abstract")} in {counted(train.facts["steps"], "step")}\
{"" if loss is None else f", dev loss {loss:.3f}"}; saved with nanda-harness {__version__}.

    python agent.py "/models add hf:{options.to}"

| file | SHA-256 |
| --- | --- |
{files}
"""
    if scores:
        block += f"\n## Evaluation\n\n| metric | data | value | |\n|{' --- |' * 4}\n{figures}\n"
    ours, card = Owned(metadata, block, HTML), run_dir.folder / "README.md"
    new, _ = ours.merged(_NEW.format(name=name), adopt=True)
    write_owned(card, ours, new=new, force=call.force, adopt=True)
    check_current(card, ours, "model-index")
    return card


def _results(dataset: str | None, scores: Sequence[Score]) -> Mapping[str, bytes]:
    """Return the file with the scores in the Hub's format, by its path in the repository.

    The result is {} if there is no score, or if `dataset` names no dataset.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    name, _, revision = (dataset or "").partition("@")
    if not name or not scores:
        return {}
    entries = [
        EvalResultEntry(
            dataset_id=hub.check_repository(name),
            task_id=score.metric,
            value=score.value,
            dataset_revision=revision or None,
            notes=f"{score.meaning}; {score.note}; nanda-harness {__version__}",
        )
        for score in scores
    ]
    text = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)
    return {f".eval_results/{name.rpartition('/')[2]}.yaml": text.encode()}
