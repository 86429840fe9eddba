"""Count the tokens of the rows of a data set, without torch.

If a tokenizer.json is named, llguidance counts the tokens. Otherwise the embedded model counts them
if its file is on this machine. Without this file, the numbers are estimated. The manifest records
the method.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import InputError
from harness.models.backend import Message, Request
from harness.models.pool import candidates
from harness.models.registry import Registry, ServeEntry
from harness.models.served import BYTES_PER_TOKEN
from harness.models.weights import FileStore
from harness.support.bounded_files import file_sha256

CONTEXT = 256
"""Context size of the engine in tokens; the engine only counts, so longer texts are possible."""
TEXTS_ALONE = "the texts alone, without a chat template"
RENDERED = "the prompt in the model's chat template, the completion without its end token"
BIN = 128
"""Width of a bin of a histogram in tokens."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """Counts the tokens of rows.

    Attributes:
        name: the file of the tokenizer or model, or the rule of the estimate, for the manifest.
        sha256: the digest of this file; None for an estimate.
        counts: a description of the texts that are counted.
        count: called with system text, prompt and completion; returns the number of tokens of
            system text and prompt together, and the number of tokens of the completion.
    """

    name: str
    sha256: str | None
    counts: str
    count: Callable[[str, str, str], tuple[int, int]]


@contextlib.contextmanager
def open_counter(
    tokenizer: Path | None,
    registry: Registry,
    cache_dir: Path,
    notify: Callable[[str], None] = lambda _: None,
) -> Iterator[TokenCounter]:
    """Yield a token counter that can be used within the block.

    Args:
        tokenizer: a tokenizer.json or its folder; None for the embedded model or an estimate.
        notify: called with a message if the numbers are estimated.

    Raises:
        InputError: `tokenizer` cannot be read.
    """
    if tokenizer is not None:
        yield _from_file(tokenizer)
        return
    files = FileStore(registry.files, cache_dir, notify)
    served = [candidate.serve for candidate in candidates(registry, "annotate")]
    for gguf in dict.fromkeys(serve.gguf for serve in served if serve.backend == "llamacpp"):
        if gguf and files.path(gguf).is_file():
            from harness.models.backends.llamacpp import LlamaCppBackend

            entry = ServeEntry(backend="llamacpp", gguf=gguf, context=CONTEXT)
            with contextlib.closing(LlamaCppBackend(files).load(entry, 1)) as model:

                def count(system: str, prompt: str, completion: str) -> tuple[int, int]:
                    messages = Message("system", system), Message("user", prompt)
                    before = model.count_tokens(Request(messages)) or 0
                    whole = model.count_tokens(Request(messages, prefill=completion)) or 0
                    return before, whole - before

                yield TokenCounter(gguf, files.digest(gguf), RENDERED, count)
            return
    notify(
        f"no tokenizer is available, so tokens are estimated at {BYTES_PER_TOKEN} bytes each; "
        "name a tokenizer with `--tokenizer FILE`"
    )
    estimate = _of_texts(lambda text: -(-len(text.encode()) // BYTES_PER_TOKEN))
    yield TokenCounter(f"estimate: {BYTES_PER_TOKEN} bytes a token", None, TEXTS_ALONE, estimate)


def with_progress(rows: Sequence[T], tick: Callable[[str], None]) -> Iterator[T]:
    """Yield the rows; after every hundred rows, call `tick` with the number of finished rows."""
    for number, row in enumerate(rows, start=1):
        yield row
        if number % 100 == 0:
            tick(f"{number:,} of {len(rows):,} rows")


def histogram(
    name: str, sha256: str | None, counts: str, pairs: Sequence[tuple[int, int]]
) -> dict[str, Any]:
    """Return the distribution of row lengths, ready for JSON.

    Args:
        name, sha256, counts: as in `TokenCounter`.
        pairs: the numbers of tokens of prompt and completion of each row.

    Returns:
        The keys tokenizer (name, sha256, counts), prompt, completion and total. Each of the last
        three has p50 and p95 (nearest-rank percentiles), max, sum, bin_width and bins. The bins are
        the numbers of rows with 0 to 127 tokens, 128 to 255 tokens, and so on.
    """
    return {
        "tokenizer": {"name": name, "sha256": sha256, "counts": counts},
        "prompt": _distribution([prompt for prompt, _ in pairs]),
        "completion": _distribution([completion for _, completion in pairs]),
        "total": _distribution([prompt + completion for prompt, completion in pairs]),
    }


def _distribution(counts: list[int]) -> dict[str, Any]:
    import numpy as np

    p50, p95 = np.percentile(counts, [50, 95], method="inverted_cdf")
    return {
        "p50": int(p50),
        "p95": int(p95),
        "max": max(counts),
        "sum": sum(counts),
        "bin_width": BIN,
        "bins": np.bincount(np.array(counts) // BIN).tolist(),
    }


def _of_texts(tokens: Callable[[str], int]) -> Callable[[str, str, str], tuple[int, int]]:
    return lambda system, prompt, completion: (tokens(system) + tokens(prompt), tokens(completion))


def _from_file(path: Path) -> TokenCounter:
    from llguidance import LLTokenizer

    from harness.support.text_input import regular_file, shown

    path = path.expanduser()
    path = regular_file(path / "tokenizer.json" if path.is_dir() else path)
    try:
        tokenizer = LLTokenizer(str(path.resolve()), slices=[])
    except ValueError as exc:
        raise InputError(
            f"the tokenizer cannot be read ({exc})",
            where=shown(path),
            hint="Give the path of the tokenizer.json of a model in the Hugging Face format.",
        ) from exc
    count = _of_texts(lambda text: len(tokenizer.tokenize_str(text)))
    return TokenCounter(shown(path), file_sha256(path), TEXTS_ALONE, count)
