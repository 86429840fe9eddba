"""Compare /finetune train with TRL's SFTTrainer on the same rows, base and settings.

    python bench/train.py [DATA] [--rows 32] [--batch 4] [--rounds 2] [--preset smollm2-cpu]
        [--base NAME] [--set NAME=VALUE ...] [--only ARM ...]

Needs the extras `finetune` and `bench`. DATA is a data set of `/finetune dataset`, or a table with
gold annotations from which a data set is made; by default gold_train. Each arm trains one epoch on
the first rows in a separate process. The arms alternate, so that changes of the machine's speed
affect all of them:

    trl             SFTTrainer with the recipe's settings, on the same messages
    ours            /finetune train with the recipe
    ours, NF4 packed        without `quantization.unpacked`: each pass unpacks the weights again
    ours, all logits        logits for prompts and padding too
    ours, no grouping       rows of any length share a batch

Each of the last three arms omits one optimization that SFTTrainer lacks. SFTTrainer computes the
loss in chunks, computes it again in the backward pass, and measures entropy and accuracy in every
step. Only tokens of prompts and completions are counted, not padding. The first step is not
measured. The peak memory is the resident set of the process, or on a GPU the memory allocated by
torch; `over the base` is the peak minus the memory after loading the model.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from train_arms import ARMS, TRL  # noqa: E402

from harness import settings as settings_module  # noqa: E402
from harness.api.skill import Call  # noqa: E402
from harness.models import registry  # noqa: E402
from harness.models.pool import ModelPool, Models  # noqa: E402
from harness.runs.run_log import Run  # noqa: E402
from harness.terminal.console import Screen  # noqa: E402
from skills.finetune import recipe as recipes  # noqa: E402
from skills.finetune.build_finetune_from_annotations import build_dataset  # noqa: E402
from skills.finetune.plugin import Finetune  # noqa: E402
from skills.finetune.recipe import SETTINGS  # noqa: E402
from skills.finetune.run_folder import RunDir, StageContext  # noqa: E402
from skills.finetune.tokenization.prepare import prepare  # noqa: E402
from skills.nanda.framework import nanda  # noqa: E402

TABLE = ROOT.parent / "shared" / "data" / "gold_train.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description="compare training with TRL's SFTTrainer")
    parser.add_argument("data", type=Path, nargs="?", default=TABLE)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--preset", default="smollm2-cpu")
    parser.add_argument("--base")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--only", action="append", choices=ARMS)
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        print(json.dumps(ARMS[options.arm](work_of(options))))
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    arms = options.only or list(ARMS)
    with tempfile.TemporaryDirectory() as folder:
        options.out = Path(folder)
        (options.out / "rows.jsonl").write_bytes(b"".join(lines_of(options.data)[: options.rows]))
        prepare(work_of(options))
        found: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
        for number in range(options.rounds):
            for arm in arms if number % 2 == 0 else reversed(arms):
                found[arm].append(in_own_process(arm, options))
                print(f"round {number + 1}: {arm}: {found[arm][-1]}", flush=True)
    show(found)


def lines_of(data: Path) -> list[bytes]:
    """Return the JSON lines of a data set, or of a data set that is made from a table."""
    if data.suffix == ".jsonl":
        return data.read_bytes().splitlines(keepends=True)
    return list(build_dataset(data, None).lines())


def in_own_process(arm: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, *sys.argv[1:], "--arm", arm, "--out", str(options.out)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def show(found: Mapping[str, list[dict[str, Any]]]) -> None:
    """Print one row per arm: medians over the rounds, and the ratio to TRL of each round."""
    print(f"\n{'':<20}{'tokens/s':>10}{'to trl':>8}{'least':>7}{'most':>7}", end="")
    print(f"{'peak':>10}{'over the base':>15}{'padding':>9}{'loss':>7}")
    against = found.get(TRL)
    for arm, rounds in found.items():
        rates = [one["tokens"] / one["seconds"] for one in rounds]
        print(f"{arm:<20}{statistics.median(rates):>10.1f}", end="")
        if against:
            ratios = [
                rate * other["seconds"] / other["tokens"]
                for rate, other in zip(rates, against, strict=True)
            ]
            median = statistics.median(ratios)
            print(f"{median:>8.2f}{min(ratios):>7.2f}{max(ratios):>7.2f}", end="")
        peak, over, padding, last = (
            statistics.median(one[name] for one in rounds)
            for name in ("peak", "over", "padding", "loss")
        )
        print(f"{peak / 1e6:>7,.0f} MB{over / 1e6:>12,.0f} MB{padding:>9.1%}{last:>7.3f}")


def work_of(options: argparse.Namespace) -> StageContext:
    """Return the context of an arm, as /finetune creates it."""
    folder: Path = options.out
    changes: dict[str, Any] = {
        "training.epochs": 1,
        "training.batch": options.batch,
        "training.accumulation": 1,
        "training.log_steps": 1,
        "dev_share": 0,
    }
    if options.base:
        changes[SETTINGS["base"]] = options.base
    for given in options.set:
        name, _, value = given.partition("=")
        changes[name] = json.loads(value)
    recipe = recipes.overridden(recipes.load_recipe(options.preset), changes)
    settings = settings_module.from_environment()
    call = Call(
        text="",
        options=Finetune.Options(),
        models=Models(ModelPool(registry.load(settings.shipped_registry), {})),
        screen=Screen(io.StringIO(), sys.stderr),
        log=Run(),
        settings=settings,
    )
    return StageContext(call, recipe, RunDir.of(folder, recipe), nanda(), folder / "rows.jsonl")


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
