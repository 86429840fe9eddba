"""Compare the greedy answers of a GGUF with those of its source model, token by token.

Two programs that add the same numbers in another order, or round at other places, compute slightly
different logits; if two tokens are almost equally likely, the greedy choice may be either, and from
there on the texts differ without either being wrong. So whole texts are not compared. The engine
generates greedily; transformers reads the result and reports, at each token, which token it would
have chosen after the same text. If that is always the engine's token, the greedy texts are equal.
Otherwise it is a near tie if transformers' logit for the engine's token is at most `NEAR_TIE`
below that of its own choice. A larger gap is a conversion fault: a wrong template, tokenizer or
scale, or a permuted matrix, gives gaps of whole logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import SkillFailed
from skills.finetune.dataset.annotated_rows import (
    format_annotation_prompt,
    format_annotation_system,
)
from skills.finetune.model.resources import available_memory
from skills.finetune.model.safetensors_files import read_weights
from skills.finetune.run_folder import StageContext
from skills.nanda.framework import Framework

ABSTRACTS = (
    "Sparse attention is fast but forgets. We train a router on 1,200 documents that keeps 5% of "
    "the keys, and lose 0.3 points of accuracy on long questions.",
    "Fields surveys are slow. We fly drones over 34 plots of wheat, count ears with a small "
    "network, and find that the counts of two people differ more than ours from either.",
    "It is unknown why ice on power lines breaks off all at once. We film 60 spans in a wind "
    "tunnel and show that torsion, not weight, comes first.",
)
"""Invented abstracts."""
TOKENS = 48
"""Tokens of each answer."""
CONTEXT = 2048
NEAR_TIE = 0.25
"""In logits. SmolLM2 in float32 and its f16 GGUF differed by at most 0.01 in the log probability of
144 tokens; the difference is larger where transformers computes in bfloat16."""
CONTINUATION = 8
"""Tokens shown of either text where they differ."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """A point at which transformers would have continued differently.

    Attributes:
        prompt, token: the numbers of the prompt and of the answer's token, from 0.
        gap: difference of the logits of the two tokens.
        engine, transformers: the continuations.
    """

    prompt: int
    token: int
    gap: float
    engine: str
    transformers: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        tokens: the number of tokens that the engine generated.
        equal: the share of them that transformers would have chosen too.
        largest_gap: of all divergences, in logits; 0 without any.
        largest_difference: between the two log probabilities of a generated token.
        first: the first divergence of the prompt with the largest gap.
        dtype: the type in which transformers computed.
        skipped: why nothing was compared, or "".
    """

    tokens: int = 0
    equal: float = 0.0
    largest_gap: float = 0.0
    largest_difference: float = 0.0
    first: Divergence | None = None
    dtype: str = ""
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The tokens of a prompt and of the engine's answer, with the answer's log probabilities."""

    prompt: list[int]
    tokens: list[int]
    logprobs: list[float]


def compare(context: StageContext, merged: Path, gguf: Path) -> Comparison:
    """Compare a merged model with its f16 GGUF on fixed prompts.

    Raises:
        SkillFailed: they differ by more than a near tie, or tokenize a prompt differently.
        ModelUnavailable: the engine cannot load the GGUF.
    """
    dtype = fitting_dtype(merged, available_memory())
    if dtype is None:
        return Comparison(skipped="not enough memory for two copies of the model")
    with context.call.screen.progress("comparing the GGUF with the merged model") as tick:
        tick("generating with the engine")
        answers = _generate(merged, gguf, prompts(context.framework))
        tick("reading with transformers")
        found = read_along(merged, answers, dtype)
    if found.largest_gap > NEAR_TIE and found.first is not None:
        raise SkillFailed(
            f"the GGUF continues with {found.first.engine!r} where transformers continues with "
            f"{found.first.transformers!r}, a gap of {found.largest_gap:.2f} logits",
            where=str(gguf),
            hint="The conversion changed the model; try a newer llama.cpp with --llama-cpp.",
        )
    return found


def prompts(framework: Framework) -> list[list[dict[str, str]]]:
    """Return the conversations that are compared, as /annotate would send them."""
    return [
        [
            {"role": "system", "content": format_annotation_system(framework)},
            {"role": "user", "content": format_annotation_prompt(abstract, framework)},
        ]
        for abstract in ABSTRACTS
    ]


def fitting_dtype(merged: Path, memory: int | None) -> str | None:
    """Return "float32" or "auto" (the model's own type), whichever fits beside the engine.

    Args:
        memory: available bytes; None is taken to be enough.
    """
    weights = read_weights(merged).count
    for dtype, size in (("float32", 4), ("auto", 2)):
        if memory is None or (size + 2) * weights * 1.2 < memory:
            return dtype
    return None


def read_along(folder: Path, answers: Sequence[Answer], dtype: str) -> Comparison:
    """Compare answers with the choices of transformers at each of their tokens."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as their_logging

    their_logging.disable_progress_bar()
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model.eval()
    tokens = equal = 0
    largest, difference, first = 0.0, 0.0, None
    for number, answer in enumerate(answers):
        gaps, logprobs = _evaluate(model, answer)
        diverged = [index for index, gap in enumerate(gaps) if gap > 0]
        tokens += len(answer.tokens)
        equal += len(answer.tokens) - len(diverged)
        pairs = zip(logprobs, answer.logprobs, strict=True)
        difference = max([difference, *(abs(one - other) for one, other in pairs)])
        if diverged and max(gaps) > largest:
            largest, at = max(gaps), diverged[0]
            ours = _continue(model, answer.prompt + answer.tokens[:at], CONTINUATION)
            engines = answer.tokens[at : at + CONTINUATION]
            first = Divergence(
                number, at, round(gaps[at], 4), tokenizer.decode(engines), tokenizer.decode(ours)
            )
    share = round(equal / tokens, 4) if tokens else 0.0
    computed = str(model.dtype).removeprefix("torch.")
    return Comparison(tokens, share, round(largest, 4), round(difference, 4), first, computed)


def _evaluate(model: Any, answer: Answer) -> tuple[list[float], list[float]]:
    """Return, for each token of an answer, the gap to the best logit and the log probability."""
    import torch

    whole, written = torch.tensor([answer.prompt + answer.tokens]), torch.tensor(answer.tokens)
    with torch.inference_mode():
        logits = model(whole, logits_to_keep=len(answer.tokens) + 1).logits[0, :-1].float()
    own = logits.gather(1, written[:, None])[:, 0]
    gaps = logits.amax(dim=-1) - own
    return gaps.tolist(), (own - logits.logsumexp(dim=-1)).tolist()


def _continue(model: Any, ids: list[int], count: int) -> list[int]:
    """Generate greedily, with a whole forward pass for each token."""
    import torch

    found = list(ids)
    with torch.inference_mode():
        for _ in range(count):
            found.append(int(model(torch.tensor([found]), logits_to_keep=1).logits[0, -1].argmax()))
    return found[len(ids) :]


def _generate(
    merged: Path, gguf: Path, conversations: Sequence[list[dict[str, str]]]
) -> list[Answer]:
    """Return the engine's greedy answers to prompts rendered with transformers' template.

    Raises:
        SkillFailed: the engine tokenizes a prompt differently, with its own template or with that
            of transformers.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(merged, local_files_only=True)
    thinking = {"chat_template_kwargs": {"enable_thinking": False}}
    generation = {"n_predict": TOKENS, "temperature": 0, "n_probs": 1, "cache_prompt": False}
    answers = []
    with _engine(gguf) as (server, port):
        for conversation in conversations:
            prompt = tokenizer.apply_chat_template(
                conversation, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
            ids = tokenizer.encode(prompt, add_special_tokens=False)
            own = port.count_tokens({"messages": conversation, **thinking})
            reply = server.handle_completions({"prompt": prompt, **generation})
            for which, count in (("its own", own), ("that", reply["usage"]["prompt_tokens"])):
                if count != len(ids):
                    raise SkillFailed(
                        f"a prompt of {len(ids)} tokens has {count} in the engine, with {which} "
                        "chat template",
                        where=str(gguf),
                        hint="Tokenizer or chat template of the GGUF differ from the base's.",
                    )
            written = reply["choices"][0]["logprobs"]["content"]
            tokens = [one["id"] for one in written]
            answers.append(Answer(ids, tokens, [one["logprob"] for one in written]))
    return answers


@contextmanager
def _engine(gguf: Path) -> Iterator[tuple[Any, Any]]:
    from harness.models.backends import llama_engine
    from harness.models.backends.llama_engine import EnginePort

    running = llama_engine.start({"gguf": gguf}, CONTEXT)
    port = EnginePort(running.server.listening_address, running.key)
    try:
        yield running.server, port
    finally:
        port.close()
