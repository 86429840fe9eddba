"""Measure settings of the embedded engine on annotations, relative to the default settings.

    python bench/engine.py [SETTING ...] [--papers 16] [--repeats 2] [--form tagged] [--model M]

Each setting is measured with a new engine, which annotates the first --papers rows of a table with
as many concurrent requests as the engine has slots. In each round, every setting has one run. A
ratio compares a setting with the default settings in the same round, since the machine's speed may
differ between rounds. The output has a line for each setting: the median and range over the rounds
of papers per minute and both ratios, the medians of tokens and CPU seconds, and the lowest `same`.

Answers are cut off after --max-tokens, so that all settings take only minutes. The column
`same` counts the papers with the same annotation as with the default settings.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from harness import settings  # noqa: E402
from harness.models import registry  # noqa: E402
from harness.models.backend import Request  # noqa: E402
from harness.models.backends import llamacpp  # noqa: E402
from harness.models.backends.llamacpp import LlamaCppBackend, LlamaCppModel  # noqa: E402
from harness.models.registry import ServeEntry  # noqa: E402
from harness.models.weights import FileStore  # noqa: E402
from skills.annotate.annotator import form_named  # noqa: E402
from skills.nanda.framework import nanda  # noqa: E402
from skills.nanda.paper import Paper  # noqa: E402

DEFAULT = "default"
TABLE = ROOT.parent / "shared" / "data" / "gold_train.csv"
Change = Callable[[Any, Any], None]
UNCACHED = {"cache_prompt": False}


@dataclass(frozen=True)
class Setting:
    """A setting of the engine to measure, as changes to the default settings.

    Attributes:
        slots, form: the number of slots, and the form of the answer; None for the default.
        change: changes the parameters of the engine; called with the module of llama.cpp and the
            parameters.
        body: fields added to the body of each request.
        request: fields changed in each `Request`.
    """

    slots: int | None = None
    form: str | None = None
    change: Change = lambda _module, _params: None
    body: Mapping[str, Any] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """The totals of one setting in one round.

    Attributes:
        tokens, prompt: number of generated tokens, and of prompt tokens.
        texts: the answers, by paper.
    """

    seconds: float
    cpu_seconds: float
    tokens: int
    prompt: int
    texts: tuple[str, ...]

    @property
    def papers_per_minute(self) -> float:
        return 60 * len(self.texts) / self.seconds


def batch(tokens: int, at_once: int | None = None) -> Change:
    return lambda _, params: llamacpp.assign(params, n_batch=tokens, n_ubatch=at_once or tokens)


def threads(count: int) -> Change:
    def change(_: Any, params: Any) -> None:
        llamacpp.assign(params.cpuparams, n_threads=count)
        llamacpp.assign(params.cpuparams_batch, n_threads=count)

    return change


def cache(keys: str, values: str) -> Change:
    return lambda module, params: llamacpp.assign(
        params,
        cache_type_k=module.ggml_type[f"GGML_TYPE_{keys}"],
        cache_type_v=module.ggml_type[f"GGML_TYPE_{values}"],
    )


def flash_off(module: Any, params: Any) -> None:
    cache("F16", "F16")(module, params)
    kind = module.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    llamacpp.assign(params, flash_attn_type=kind)


def speculate(module: Any, params: Any) -> None:
    """Turn on speculative decoding from the prompt, since answers repeat the abstract."""
    kind = module.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_MOD
    llamacpp.assign(params.speculative, types=[kind])
    llamacpp.assign(params.speculative.ngram_mod, n_match=4, n_min=2, n_max=8)


SETTINGS: Mapping[str, Setting] = {
    DEFAULT: Setting(),
    "1 slot": Setting(slots=1),
    "2 slots": Setting(slots=2),
    "4 slots": Setting(slots=4),
    "8 slots": Setting(slots=8),
    "1 thread": Setting(change=threads(1)),
    "3 threads": Setting(change=threads(3)),
    "batch 64": Setting(change=batch(64)),
    "batch 128": Setting(change=batch(128)),
    "batch 256": Setting(change=batch(256)),
    "batch 512": Setting(change=batch(512)),
    "batch 2048": Setting(change=batch(2048, 512)),
    "speculation": Setting(change=speculate),
    "no cache": Setting(body=UNCACHED),
    "kv f16": Setting(change=cache("F16", "F16")),
    "kv f16 no cache": Setting(change=cache("F16", "F16"), body=UNCACHED),
    "kv q8_0": Setting(change=cache("Q8_0", "Q8_0")),
    "flash off": Setting(change=flash_off),
    "free text": Setting(request={"grammar": None, "json_schema": None}),
    "tagged": Setting(form="tagged"),
    "json": Setting(form="json"),
}


def main() -> None:
    args = arguments()
    backend, entry = place(args.model)
    wanted = [DEFAULT, *(name for name in args.settings or SETTINGS if name != DEFAULT)]
    runs: dict[str, list[Run]] = {name: [] for name in wanted}
    for turn in range(args.repeats):
        for name in wanted if turn % 2 == 0 else reversed(wanted):
            runs[name].append(measure(SETTINGS[name], backend, entry, args))
            print(f"round {turn + 1}: {name}", file=sys.stderr)
    print(
        f"{entry.where}: {args.papers} papers, {args.form} form, at most {args.max_tokens} tokens "
        f"each, {args.repeats} rounds, {llamacpp.SLOTS} slots and batches of "
        f"{llamacpp.BATCH} by default"
    )
    for line in table(runs):
        print(line)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="*", metavar="SETTING", help=", ".join(SETTINGS))
    parser.add_argument("--papers", type=int, default=16, help="number of rows, from the first")
    parser.add_argument("--repeats", type=int, default=2, help="number of rounds")
    parser.add_argument("--form", choices=("json", "quotes", "tagged"), default="tagged")
    parser.add_argument("--model", default="producer", help="name of a model in the registry")
    parser.add_argument("--max-tokens", type=int, default=128, help="maximum tokens per answer")
    parser.add_argument(
        "--table", type=Path, default=TABLE, help="a CSV file with a column `abstract`"
    )
    args = parser.parse_args()
    if unknown := [name for name in args.settings if name not in SETTINGS]:
        parser.error(f"no setting {', '.join(unknown)}; there are {', '.join(SETTINGS)}")
    return args


def place(model: str) -> tuple[LlamaCppBackend, ServeEntry]:
    """Return the backend of the embedded engine, and the serve entry of `model` for it."""
    configured = settings.from_environment()
    known = registry.load(configured.shipped_registry, configured.user_registry)
    _, entries = known.named(model)
    entry = next(entry for entry in entries if entry.backend == LlamaCppBackend.name)
    return LlamaCppBackend(FileStore(known.files, configured.cache_dir, print)), entry


def measure(
    setting: Setting, backend: LlamaCppBackend, entry: ServeEntry, args: argparse.Namespace
) -> Run:
    """Annotate the papers once with a new engine that has the setting, after a warm-up paper."""
    first, *asked = requests(setting, args)
    with changed(setting):
        model = backend.load(entry, setting.slots)
        try:
            model.generate(replace(first, max_tokens=8))
            return _timed(model, asked)
        finally:
            model.close()


def _timed(model: LlamaCppModel, asked: list[Request]) -> Run:
    started, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(model.slots) as pool:
        replies = list(pool.map(model.generate, asked))
    return Run(
        time.perf_counter() - started,
        time.process_time() - cpu,
        sum(reply.completion_tokens for reply in replies),
        sum(reply.prompt_tokens for reply in replies),
        tuple(reply.text for reply in replies),
    )


def requests(setting: Setting, args: argparse.Namespace) -> list[Request]:
    """Return the request of the warm-up paper, then the requests of all papers."""
    form = form_named(setting.form or args.form)(nanda())
    with args.table.open(encoding="utf-8", newline="") as file:
        abstracts = [row["abstract"] for row in islice(csv.DictReader(file), args.papers + 1)]
    asked = [
        Request(
            form.messages(Paper("id", "", "", abstract)),
            **{**form.constraint(takes_grammar=True), **setting.request},
            max_tokens=args.max_tokens,
        )
        for abstract in abstracts
    ]
    return [asked[-1], *asked[:-1]]


@contextmanager
def changed(setting: Setting) -> Iterator[None]:
    """Apply a setting to the parameters and request bodies of the engine within the block."""
    params, body = llamacpp._params, llamacpp._body

    def changed_params(module: Any, *rest: Any) -> Any:
        made = params(module, *rest)
        setting.change(module, made)
        return made

    with (
        mock.patch.object(llamacpp, "_params", changed_params),
        mock.patch.object(llamacpp, "_body", lambda request: {**body(request), **setting.body}),
    ):
        yield


def table(runs: Mapping[str, list[Run]]) -> Iterator[str]:
    """Yield the lines of the table: one line per setting, with ranges over the rounds."""
    default = runs[DEFAULT]
    papers = len(default[0].texts)
    yield (
        f"{'setting':<16}{'papers/min':>20}{'tokens/s':>10}{'CPU s/paper':>13}{'ratio':>18}"
        f"{'CPU ratio':>18}{'same':>7}"
    )
    for name, turns in runs.items():
        pairs = list(zip(turns, default, strict=True))
        same = min(
            sum(a == b for a, b in zip(run.texts, default[0].texts, strict=True)) for run in turns
        )
        yield (
            f"{name:<16}{_spread([run.papers_per_minute for run in turns], 1):>20}"
            f"{statistics.median(run.tokens / run.seconds for run in turns):>10.1f}"
            f"{statistics.median(run.cpu_seconds / papers for run in turns):>13.2f}"
            f"{_spread([base.seconds / run.seconds for run, base in pairs], 2):>18}"
            f"{_spread([base.cpu_seconds / run.cpu_seconds for run, base in pairs], 2):>18}"
            f"{f'{same}/{papers}':>7}"
        )


def _spread(values: list[float], digits: int) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


if __name__ == "__main__":
    main()
