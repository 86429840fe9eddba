"""Whether a GGUF says what the model it was made of says: greedy, prompt by prompt, token by token.

What "the same" means here. Two programs that add up the same numbers in another order, or round
them at other places, get logits that differ a little; where two tokens are almost as likely, the
greedy choice may fall on either, and from there on the texts part for good without either being
wrong. So texts are not compared as wholes. The engine writes its greedy text; transformers reads it
and says at each token which one it would have taken after what stands before. If that is always the
engine's, the greedy texts are equal, token for token. If it is another one, the two part there, and
it is a near tie where transformers finds the engine's token less likely by no more than `NEAR_TIE`
in logits. A parting that is no near tie is a fault of the conversion: a wrong template, tokenizer,
scale, or a permuted matrix gives gaps of whole logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import SkillFailed
from skills.finetune.data.annotation_pairs import format_annotation_prompt, format_annotation_system
from skills.finetune.formats.stored_weights import FLOATS, read_weights
from skills.finetune.run.hardware import available_memory
from skills.finetune.run.stage import StageContext
from skills.nanda.framework import Framework

ABSTRACTS = (
    "Sparse attention is fast but forgets. We train a router on 1,200 documents that keeps 5% of "
    "the keys, and lose 0.3 points of accuracy on long questions.",
    "Fields surveys are slow. We fly drones over 34 plots of wheat, count ears with a small "
    "network, and find that the counts of two people differ more than ours from either.",
    "It is unknown why ice on power lines breaks off all at once. We film 60 spans in a wind "
    "tunnel and show that torsion, not weight, comes first.",
)
"""Invented."""
TOKENS = 48
"""Of each answer."""
CONTEXT = 2048
NEAR_TIE = 0.25
"""Logits. SmolLM2 in float32 and its f16 GGUF differed by 0.01 at most in the logarithm of
probability of 144 tokens; where transformers computes in bfloat16 it is more."""


@dataclass(frozen=True, slots=True)
class Parting:
    """Where transformers would have gone on otherwise.

    Attributes:
        prompt, token: which prompt, and which token of its answer, from 0.
        gap: by how many logits transformers prefers its own token.
        engine, transformers: how either goes on.
    """

    prompt: int
    token: int
    gap: float
    engine: str
    transformers: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two ways of running a model compare.

    Attributes:
        tokens: that the engine has written.
        equal: share of them that transformers would have written as well.
        largest_gap: of all partings, in logits; 0 without any.
        largest_difference: between the two logarithms of probability of a token that the engine
            has written: how near the numbers are, where the texts are equal.
        first: the first parting of the prompt with the largest one; None without any.
        dtype: what transformers computed in.
        skipped: why nothing was compared; "" if it was.
    """

    tokens: int = 0
    equal: float = 0.0
    largest_gap: float = 0.0
    largest_difference: float = 0.0
    first: Parting | None = None
    dtype: str = ""
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine has written.

    Attributes:
        prompt, tokens: of the prompt and of the answer.
        logprobs: natural logarithm of the probability of each token of the answer.
    """

    prompt: list[int]
    tokens: list[int]
    logprobs: list[float]


def compare(context: StageContext, merged: Path, gguf: Path) -> Comparison:
    """Compare a merged model with its f16 GGUF on fixed prompts.

    Raises:
        SkillFailed: they part where it is no near tie, or count a prompt's tokens otherwise.
        ModelUnavailable: the engine cannot load the GGUF.
    """
    dtype = fitting_dtype(merged, available_memory())
    if dtype is None:
        return Comparison(skipped="the memory does not hold the model twice")
    with context.call.screen.progress("comparing the GGUF with what it was made of") as tick:
        tick("the engine writes")
        answers = _answers(merged, gguf, prompts(context.framework))
        tick("transformers reads")
        found = read_along(merged, answers, dtype)
    if found.largest_gap > NEAR_TIE and found.first is not None:
        raise SkillFailed(
            f"the GGUF goes on with {found.first.engine!r} where transformers goes on with "
            f"{found.first.transformers!r}, by {found.largest_gap:.2f} logits",
            where=str(gguf),
            hint="The conversion has changed the model; another --llama-cpp may know it better.",
        )
    return found


def prompts(framework: Framework) -> list[list[dict[str, str]]]:
    """The conversations that are compared: what /annotate would send."""
    return [
        [
            {"role": "system", "content": format_annotation_system(framework)},
            {"role": "user", "content": format_annotation_prompt(abstract, framework)},
        ]
        for abstract in ABSTRACTS
    ]


def fitting_dtype(merged: Path, memory: int | None) -> str | None:
    """What transformers can compute in, beside the engine: float32, or else the model's own type.

    Args:
        memory: bytes that can be had; None: unknown, and taken to be enough.
    """
    stored = read_weights(merged).tensors.values()
    weights = sum((one.end - one.start) // FLOATS.get(one.dtype, 2) for one in stored)
    for dtype, size in (("float32", 4), ("auto", 2)):
        if memory is None or (size + 2) * weights * 1.2 < memory:
            return dtype
    return None


def read_along(folder: Path, answers: Sequence[Answer], dtype: str) -> Comparison:
    """What transformers would have written at each token of these answers."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model.eval()
    tokens = equal = 0
    largest, difference, first = 0.0, 0.0, None
    for number, answer in enumerate(answers):
        gaps, logprobs = _judged(model, answer)
        parted = [index for index, gap in enumerate(gaps) if gap > 0]
        tokens += len(answer.tokens)
        equal += len(answer.tokens) - len(parted)
        pairs = zip(logprobs, answer.logprobs, strict=True)
        difference = max([difference, *(abs(theirs - its) for theirs, its in pairs)])
        if parted and max(gaps) > largest:
            largest, at = max(gaps), parted[0]
            own = _continuation(model, answer.prompt + answer.tokens[:at])
            its = answer.tokens[at : at + len(own)]
            first = Parting(
                number, at, round(gaps[at], 4), tokenizer.decode(its), tokenizer.decode(own)
            )
    share = round(equal / tokens, 4) if tokens else 0.0
    computed = str(model.dtype).removeprefix("torch.")
    return Comparison(tokens, share, round(largest, 4), round(difference, 4), first, computed)


def _judged(model: Any, answer: Answer) -> tuple[list[float], list[float]]:
    """For each token of an answer: by how many logits another one is the best, 0 where it is the
    best itself; and the logarithm of its probability."""
    import torch

    whole, written = torch.tensor([answer.prompt + answer.tokens]), torch.tensor(answer.tokens)
    with torch.inference_mode():
        logits = model(whole, logits_to_keep=len(answer.tokens) + 1).logits[0, :-1].float()
    own = logits.gather(1, written[:, None])[:, 0]
    gaps = logits.amax(dim=-1) - own
    return gaps.tolist(), (own - logits.logsumexp(dim=-1)).tolist()


def _continuation(model: Any, ids: list[int], count: int = 8) -> list[int]:
    """The next tokens, greedily; each by a whole forward pass, since there are few."""
    import torch

    found = list(ids)
    with torch.inference_mode():
        for _ in range(count):
            found.append(int(model(torch.tensor([found]), logits_to_keep=1).logits[0, -1].argmax()))
    return found[len(ids) :]


def _answers(
    merged: Path, gguf: Path, conversations: Sequence[list[dict[str, str]]]
) -> list[Answer]:
    """The engine's greedy answers to the prompts that transformers' template makes.

    Raises:
        SkillFailed: the engine splits a prompt into other tokens, with its own template or with
            that of transformers.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(merged, local_files_only=True)
    answers = []
    with _engine(gguf) as (server, port):
        for conversation in conversations:
            prompt = tokenizer.apply_chat_template(
                conversation, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
            ids = tokenizer.encode(prompt, add_special_tokens=False)
            thinking = {"chat_template_kwargs": {"enable_thinking": False}}
            own = port.count_tokens({"messages": conversation, **thinking})
            told = server.handle_completions(
                {
                    "prompt": prompt,
                    "n_predict": TOKENS,
                    "temperature": 0,
                    "n_probs": 1,
                    "cache_prompt": False,
                }
            )
            for how, count in (("its own", own), ("that", told["usage"]["prompt_tokens"])):
                if count != len(ids):
                    raise SkillFailed(
                        f"a prompt of {len(ids)} tokens has {count} for the engine, under {how} "
                        "chat template",
                        where=str(gguf),
                        hint="Tokenizer or chat template of the GGUF are not those of the base.",
                    )
            (choice,) = told["choices"]
            told = choice["logprobs"]["content"]
            tokens = [one["id"] for one in told]
            answers.append(Answer(ids, tokens, [one["logprob"] for one in told]))
    return answers


@contextmanager
def _engine(gguf: Path) -> Iterator[tuple[Any, Any]]:
    from harness.models.backends import engine
    from harness.models.backends.engine_http import EnginePort

    running = engine.start({"gguf": gguf}, CONTEXT)
    port = EnginePort(running.server.listening_address, running.key)
    try:
        yield running.server, port
    finally:
        port.close()
