"""Cross-validate a recipe on a table with gold annotations.

    python bench/crossvalidate.py TABLE.csv --out FOLDER [--folds N]
        [--dataset "OPTIONS"] [--finetune "OPTIONS"] [-o FILE.json]

Row i of the table is held out in fold i mod N. For each fold:

1. `/finetune dataset` makes a training set of the other rows, with the options of --dataset.
2. `/finetune prepare` and `train` train an adapter, with the options of --finetune. There are no
   dev rows, so that held-out rows have no influence; the adapter is from the last checkpoint.
3. /annotate annotates the held-out rows with the adapter merged into the GGUF of the base.

Prints the figures of /evaluate for all papers together. A kappa on a small dev set may depend on
three papers; a kappa on a whole table does not. Every line of the harness is printed before it
runs. An interrupted run is continued by the same command. Needs the extra `finetune`, and a recipe
with a base that is a file of the registry.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import yaml  # noqa: E402

from skills.corpus.tables.columns import Columns  # noqa: E402
from skills.evaluate import (  # noqa: E402
    comparison,
    inputs,
    report_text,
)
from skills.evaluate.annotators import baseline  # noqa: E402
from skills.evaluate.outputs import Evaluation  # noqa: E402
from skills.evaluate.report_text import verdict  # noqa: E402
from skills.finetune.recipe import Recipe  # noqa: E402
from skills.finetune.run_folder import RunDir  # noqa: E402
from skills.nanda.framework import nanda  # noqa: E402
from skills.nanda.paper import ID_FIELDS  # noqa: E402

STAGES = ("train", "merge", "gguf")


def main() -> None:
    parser = argparse.ArgumentParser(description="cross-validate a recipe of /finetune")
    parser.add_argument("table", type=Path, help="a .csv file with gold annotations")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--dataset", default="", help="options of /finetune dataset")
    parser.add_argument("--finetune", default="", help="options of /finetune")
    parser.add_argument("-o", "--output", type=Path, help="a file for all figures, as JSON")
    options = parser.parse_args()
    out = options.out.resolve()
    annotated = [annotations_of_fold(options, out, fold) for fold in range(options.folds)]
    found = pooled(options.table, {key: row for fold in annotated for key, row in fold.items()})
    if options.output:
        options.output.write_text(
            found.model_dump_json(exclude_unset=True, indent=2) + "\n", encoding="utf-8"
        )
    print(report_text.text(found))


def annotations_of_fold(
    options: argparse.Namespace, out: Path, fold: int
) -> Mapping[str, Mapping[str, str]]:
    """Train without the papers of a fold, and annotate them; return their moves by paper id."""
    folder = out / f"fold-{fold}"
    folder.mkdir(parents=True, exist_ok=True)
    trained, held, rows, saved = (
        folder / name for name in ("train.csv", "held.csv", "train.jsonl", "held.jsonl")
    )
    if not saved.exists():
        split(options.table, fold, options.folds, trained, held)
        given = f"--gold {quoted(trained)} --dev {quoted(held)} {options.dataset}"
        agent(out, f"/finetune dataset {given} save to {quoted(rows)}", force=True)
        run = quoted(folder / "run")
        if not (folder / "run" / "manifest.json").exists():
            wanted = f"{options.finetune} --set dev_share=0"
            agent(out, f"/finetune prepare {quoted(rows)} {wanted} --out {run}")
        for stage in STAGES:
            agent(out, f"/finetune {stage} {run}" + " --resume" * (stage == "train"))
        register(out, f"fold-{fold}", folder / "run")
        db = quoted(out / "corpus.db")
        annotate = f"/annotate {quoted(held)} --model fold-{fold} --db {db}"
        done = folder / "annotated.jsonl"
        agent(out, f"{annotate} save to {quoted(done)}", force=True, some_may_fail=True)
        done.replace(saved)  # a resumed run uses this file, which must be complete
    lines = map(json.loads, saved.read_text(encoding="utf-8").splitlines())
    return {next(row[key] for key in ID_FIELDS if key in row): row for row in lines}


def split(table: Path, fold: int, folds: int, trained: Path, held: Path) -> None:
    """Write the rows of a fold to the file `held`, and all other rows to the file `trained`."""
    with table.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows, names = list(reader), list(reader.fieldnames or ())
    for path, wanted in ((trained, False), (held, True)):
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(row for i, row in enumerate(rows) if (i % folds == fold) == wanted)


def agent(out: Path, line: str, *, force: bool = False, some_may_fail: bool = False) -> None:
    """Run a line of the harness with a separate configuration; exit if the line fails.

    Args:
        some_may_fail: accept exit code 1, which means that some rows failed.
    """
    print(line, flush=True)
    places = {f"HARNESS_{name.upper()}": str(out / name) for name in ("config", "data")}
    places["HARNESS_REGISTRY"] = ""  # use registry.yaml of the separate configuration
    command = [sys.executable, str(ROOT / "agent.py"), line, *["--force"] * force]
    code = subprocess.run(command, cwd=ROOT, env={**os.environ, **places}, check=False).returncode
    if code and not (code == 1 and some_may_fail):
        sys.exit(code)


def register(out: Path, name: str, run: Path) -> None:
    """Add the model of a fold, the base merged with its adapter, to the separate registry."""
    recipe = Recipe.model_validate(RunDir(run, "").run["recipe"])
    path = out / "config" / "registry.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"backend": "llamacpp", "gguf": recipe.base, "adapter": name, "merge": True}
    sampling = {"temperature": 0, "seed": 0}
    model = {"tasks": [], "form": "tagged", "serve": [place], "options": sampling}
    files = {name: {"path": str(RunDir.of(run, recipe).lora)}}
    entries = {"version": 1, "models": {name: model}, "files": files}
    path.write_text(yaml.safe_dump(entries), encoding="utf-8")


def pooled(table: Path, annotated: Mapping[str, Mapping[str, str]]) -> Evaluation:
    """Return the figures of all folds together; a paper without annotation states no move."""
    framework = nanda()
    subject = inputs.with_gold(table, Columns(None, None, None), framework, None)
    moves = [
        {name: str(annotated[paper.id][name]) for name in framework.names}
        if paper.id in annotated
        else None
        for paper in subject.papers
    ]
    found = comparison.of_models(subject, [baseline("cross-validated", moves)])
    found.input = table.name
    found.annotators[0].kind = "several models"
    found.verdict = verdict(found)
    return found


def quoted(path: Path) -> str:
    return shlex.quote(str(path))


if __name__ == "__main__":
    main()
