"""Compare the forms of a trained model on the same papers, from adapter to served file.

    python bench/stages.py OUT [--table FILE] [--limit N] [--db FILE] [-o FILE.json]

Needs the extra `finetune`. OUT is the folder of a complete `/finetune` run with a base from the
registry. For each form, /evaluate annotates the table in a separate process, with greedy decoding
and without a grammar. Papers that are annotated in the database are not annotated again.

    q8_0          base and adapter merged into a Q8_0 file, the form that is shipped
    adapter       base with adapter in transformers, in float32, the form that was trained
    merged        the merged model in transformers, in float32
    f16           the merged model as GGUF
    q4_k_m        the merged model as GGUF, quantized
    base+lora     the GGUF files of base and adapter, which are merged in q8_0

Prints the figures of each form, and the difference of ROUGE-L (q8_0 minus the form) with a paired
95% interval.
"""

from __future__ import annotations

import argparse
import io
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import yaml  # noqa: E402
from torch_backend import FREE, TORCH, Plugin  # noqa: E402

from harness import settings as settings_module  # noqa: E402
from harness.cli.app import App  # noqa: E402
from harness.models.registry import load  # noqa: E402
from harness.runs.frontend import Frontend  # noqa: E402
from harness.settings import Settings  # noqa: E402
from harness.support.bounded_files import file_sha256  # noqa: E402
from harness.terminal.console import Screen  # noqa: E402
from skills.evaluate.report_text import figure  # noqa: E402
from skills.finetune.model.bases import unpacked_folder  # noqa: E402
from skills.finetune.recipe import Recipe  # noqa: E402
from skills.finetune.run_folder import RunDir  # noqa: E402

TABLE = ROOT.parent / "shared" / "data" / "gold_dev.csv"
FORMS = ("q8_0", "adapter", "merged", "f16", "q4_k_m", "base+lora")
SHOWN = ("rouge_l", "agreement", "valid", "support")


def main() -> None:
    parser = argparse.ArgumentParser(description="compare the forms of a trained model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--db", type=Path, help="the corpus database for annotations")
    parser.add_argument("-o", "--output", type=Path, help="a file for all figures, as JSON")
    parser.add_argument("--only", choices=FORMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        evaluate(options, (options.only,), sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        db = options.db or Path(folder) / "corpus.db"
        for form in FORMS:
            print(form, flush=True)
            command = [sys.executable, *sys.argv, "--only", form, "--db", str(db)]
            subprocess.run(command, check=True)
        options.db = db
        found = evaluate(options, FORMS, io.StringIO())
    show(found)
    if options.output:
        options.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def evaluate(options: argparse.Namespace, forms: tuple[str, ...], screen: Any) -> Mapping[str, Any]:
    """Run /evaluate on the models of these forms, and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        registry = Path(folder) / "registry.yaml"
        settings = settings_module.from_environment()
        forms_of = registry_of(options.out.resolve(), settings)
        registry.write_text(yaml.safe_dump(forms_of), encoding="utf-8")
        app = App(
            settings,
            Frontend("test"),
            Screen(io.StringIO(), screen),
            {"registry": str(registry)},
            {"stages": Plugin()},
        )
        table, db = shlex.quote(str(options.table)), shlex.quote(str(options.db))
        line = f"/evaluate {table} --consistency 0 --models {','.join(forms)} --db {db}"
        line += f" --limit {options.limit}" if options.limit else ""
        try:
            found: Mapping[str, Any] = app.dispatch(line).result.data
        finally:
            app.close()
    return found


def registry_of(out: Path, settings: Settings) -> dict[str, Any]:
    """Return a registry with a model for each form of the run in `out`."""
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    recipe = Recipe.model_validate(manifest["run"]["recipe"])
    made = RunDir.of(out, recipe)
    gguf = load(settings.shipped_registry).files[recipe.base]
    assert gguf.sha256 is not None, "a shipped file has its digest"
    base = unpacked_folder(settings.cache_dir, gguf.sha256)
    weights = {"f16": made.f16, "q4_k_m": made.quantized("Q4_K_M"), "lora": made.lora}
    both = {"backend": FREE, "gguf": recipe.base, "adapter": "stage-lora"}
    places: dict[str, dict[str, Any]] = {
        "q8_0": {**both, "merge": True},
        "adapter": {
            "backend": TORCH,
            "model": f"{base} + {made.adapter}",
        },
        "merged": {"backend": TORCH, "model": str(made.merged)},
        "f16": {"backend": FREE, "gguf": "stage-f16"},
        "q4_k_m": {"backend": FREE, "gguf": "stage-q4_k_m"},
        "base+lora": both,
    }
    return {
        "version": 1,
        "models": {
            name: {
                "tasks": ["annotate"],
                "form": "tagged",
                "serve": [place],
                "options": {"temperature": 0, "seed": 0, "deadline": 3600},
            }
            for name, place in places.items()
        },
        "files": {
            f"stage-{name}": {"path": str(path), "sha256": file_sha256(path)}
            for name, path in weights.items()
        },
    }


def show(found: Mapping[str, Any]) -> None:
    """Print the table of figures, with one row per form."""
    print(
        f"\n{found['papers']} papers\n{'':<12}" + "".join(f"{name:>24}" for name in SHOWN), end=""
    )
    print(f"{'q8_0 minus form: rouge_l':>32}")
    models = [one for one in found["annotators"] if one["kind"] == "model"]
    others = {one["other"]: one["metrics"]["rouge_l"]["overall"] for one in found["differences"]}
    for one in models:
        figures = (figure(one["metrics"][name]["overall"], name) for name in SHOWN)
        print(f"{one['name']:<12}" + "".join(f"{text:>24}" for text in figures), end="")
        print(f"{figure(others.get(one['name']), signed=True):>32}")


if __name__ == "__main__":
    main()
