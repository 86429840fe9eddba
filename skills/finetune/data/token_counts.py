"""How many tokens the rows of a data set have, counted without torch.

With a tokenizer.json, by the tokenizers library that llguidance brings; without one, by the
embedded model, if its file is on this machine already. Where nobody can count it is estimated, and
the manifest names that as what it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.errors import InputError, ModelError
from harness.models.backends.base import Message, Model, Request
from harness.models.pool import BYTES_PER_TOKEN
from harness.models.registry import Registry, candidates
from harness.models.schema import ServeEntry
from harness.models.weights import FileStore
from harness.runs import targets

CONTEXT = 256
"""Of the engine that counts: it generates nothing, and longer texts are counted all the same."""
TEXTS_ALONE = "the texts alone, without a chat template"
RENDERED = "the prompt in the model's chat template, the completion without its end token"


class TokenCounter(Protocol):
    """What counts."""

    @property
    def name(self) -> str:
        """Who counts, for the manifest."""

    @property
    def sha256(self) -> str | None:
        """Of its file; None where it has none."""

    @property
    def counts(self) -> str:
        """What is counted."""

    def count(self, example: Mapping[str, Any]) -> tuple[int, int]:
        """The tokens of a row's prompt, system text included, and of its completion."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Counts text by text."""

    name: str
    sha256: str | None
    of_text: Callable[[str], int]
    counts: str = TEXTS_ALONE

    def count(self, example: Mapping[str, Any]) -> tuple[int, int]:
        prompt = self.of_text(example["system"]) + self.of_text(example["prompt"])
        return prompt, self.of_text(example["completion"])


@dataclass(frozen=True, slots=True)
class Embedded:
    """Counts with the embedded engine: the prompt is what it would be sent."""

    name: str
    sha256: str | None
    model: Model
    counts: str = RENDERED

    def count(self, example: Mapping[str, Any]) -> tuple[int, int]:
        said = Message("system", example["system"]), Message("user", example["prompt"])
        prompt = self.model.count_tokens(Request(said)) or 0
        whole = self.model.count_tokens(Request(said, prefill=example["completion"])) or 0
        return prompt, whole - prompt


@contextlib.contextmanager
def open_counter(
    tokenizer: Path | None,
    registry: Registry,
    cache_dir: Path,
    notify: Callable[[str], None] = lambda _: None,
) -> Iterator[TokenCounter]:
    """Who counts, for the time of the block.

    Args:
        tokenizer: a tokenizer.json or a folder with one; None for the model that annotates.
        notify: told in one line if it is an estimate.

    Raises:
        InputError: `tokenizer` cannot be read.
    """
    if tokenizer is not None:
        yield _from_file(tokenizer)
        return
    files = FileStore(registry.files, cache_dir, notify)
    for gguf in _embedded(registry):
        if files.missing(gguf) is None and not files.to_fetch(gguf):
            try:
                model = _load(files, gguf)
            except ModelError as exc:
                notify(f"{gguf} cannot count tokens: {exc}")
                continue
            try:
                yield Embedded(gguf, files.digest(gguf), model)
            finally:
                model.close()
            return
    notify(
        f"no tokenizer is at hand, so tokens are estimated at {BYTES_PER_TOKEN} bytes each; "
        "`--tokenizer FILE` names one"
    )
    yield Texts(f"estimate: {BYTES_PER_TOKEN} bytes a token", None, _estimate)


def histogram(
    counter: TokenCounter,
    examples: Iterable[Mapping[str, Any]],
    tick: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """How long the rows are, ready for JSON.

    Returns: tokenizer (name, sha256, counts), and of prompt, completion and total: p50 and p95 (the
        smallest count that so many per cent of the rows do not exceed), max, sum, and bins: rows
        by length, the first with 0 to 127 tokens, the next with 128 to 255, and so on.
    """
    pairs = []
    for number, example in enumerate(examples, start=1):
        pairs.append(counter.count(example))
        if number % 100 == 0:
            tick(f"{number:,} rows counted")
    return {
        "tokenizer": {"name": counter.name, "sha256": counter.sha256, "counts": counter.counts},
        "prompt": _spread([prompt for prompt, _ in pairs]),
        "completion": _spread([completion for _, completion in pairs]),
        "total": _spread([prompt + completion for prompt, completion in pairs]),
    }


BIN = 128
"""Tokens of a bin."""


def _spread(counts: list[int]) -> dict[str, Any]:
    counts = sorted(counts)
    bins = [0] * (counts[-1] // BIN + 1)
    for count in counts:
        bins[count // BIN] += 1
    return {
        "p50": _percentile(counts, 50),
        "p95": _percentile(counts, 95),
        "max": counts[-1],
        "sum": sum(counts),
        "bin_width": BIN,
        "bins": bins,
    }


def _percentile(counts: list[int], percent: int) -> int:
    """By the nearest-rank method."""
    return counts[-(-len(counts) * percent // 100) - 1]


def _estimate(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def _from_file(path: Path) -> Texts:
    from llguidance import LLTokenizer

    from harness.support.text_input import regular_file, shown

    path = path.expanduser()
    path = regular_file(path / "tokenizer.json" if path.is_dir() else path)
    try:
        tokenizer = LLTokenizer(str(path.resolve()), slices=[])
    except ValueError as exc:
        raise InputError(
            f"is no tokenizer that can be read ({exc})",
            where=shown(path),
            hint="It is the tokenizer.json of a model in the Hugging Face format.",
        ) from exc
    return Texts(shown(path), targets.digest(path), lambda text: len(tokenizer.tokenize_str(text)))


def _embedded(registry: Registry) -> list[str]:
    """The weights in this process that serve annotation, best first."""
    found = [candidate.serve for candidate in candidates(registry, "annotate")]
    ggufs = [serve.gguf for serve in found if serve.backend == "llamacpp" and serve.gguf]
    return list(dict.fromkeys(ggufs))


def _load(files: FileStore, gguf: str) -> Model:
    from harness.models.backends.llamacpp import LlamaCppBackend

    entry = ServeEntry(backend="llamacpp", gguf=gguf, context=CONTEXT)
    return LlamaCppBackend(files).load(entry, 1)
