"""What a base looks like from outside: the shapes that memory and disk are reckoned from.

Weights are not read. The numbers of the bases that recipes name most often are written down here as
their authors published them, so that a run can be planned before gigabytes are fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PUBLISHED = "the published config, the weights are not here"


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """The shapes of a decoder of the Llama family (Llama, Qwen2, Qwen3, Mistral, SmolLM2).

    Attributes:
        name: as people call it.
        hidden: width of the residual stream.
        layers: decoder layers.
        heads, kv_heads: of the queries; of keys and values, fewer under grouped-query attention.
        head_dim: width of a head; heads x head_dim is mostly `hidden`.
        intermediate: width within the MLP.
        vocab: rows of the embedding, padding rows included.
        tied: the output layer is the embedding.
        parameters: all of them, a tied matrix counted once.
        source: where the numbers are from, as a clause for people; `PUBLISHED` if not from files.
    """

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    tied: bool
    parameters: int
    source: str

    @property
    def linear(self) -> Mapping[str, tuple[int, int]]:
        """The linear layers of one decoder layer by name: (inputs, outputs)."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q_proj": (self.hidden, queries),
            "k_proj": (self.hidden, keys),
            "v_proj": (self.hidden, keys),
            "o_proj": (queries, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def linear_parameters(self) -> int:
        """Weights of the linear layers within all decoder layers, without biases."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.linear.values())


def published(base: str) -> BaseFacts | None:
    """What is known of a base of the hub by its name; None if nothing is.

    `base` is "Owner/Name", or the name alone; a model and its "-Instruct" have the same shapes.
    """
    owner, _, name = base.rpartition("/")
    name = name.casefold().removesuffix("-instruct")
    for facts in _PUBLISHED:
        its_owner, _, its_name = facts.name.partition("/")
        if name == its_name.casefold().removesuffix("-instruct"):
            return facts if owner in ("", its_owner) else None
    return None


def all_published() -> tuple[BaseFacts, ...]:
    """All bases that are known by name, the largest first."""
    return tuple(sorted(_PUBLISHED, key=lambda facts: -facts.parameters))


def _qwen(size: str, *shapes: int, tied: bool, parameters: int) -> BaseFacts:
    return _facts(f"Qwen/Qwen2.5-{size}-Instruct", *shapes, tied=tied, parameters=parameters)


def _smollm(size: str, *shapes: int, parameters: int) -> BaseFacts:
    name = f"HuggingFaceTB/SmolLM2-{size}-Instruct"
    return _facts(name, *shapes, tied=True, parameters=parameters)


def _facts(
    name: str,
    hidden: int,
    layers: int,
    heads: int,
    kv_heads: int,
    intermediate: int,
    vocab: int,
    *,
    tied: bool,
    parameters: int,
) -> BaseFacts:
    return BaseFacts(
        name,
        hidden,
        layers,
        heads,
        kv_heads,
        hidden // heads,
        intermediate,
        vocab,
        tied,
        parameters,
        PUBLISHED,
    )


# hidden, layers, heads, kv_heads, intermediate, vocab, of each config.json on the hub. Qwen2.5
# has biases at q, k and v, which `parameters` counts.
_PUBLISHED = (
    _qwen("0.5B", 896, 24, 14, 2, 4864, 151936, tied=True, parameters=494_032_768),
    _qwen("1.5B", 1536, 28, 12, 2, 8960, 151936, tied=True, parameters=1_543_714_304),
    _qwen("3B", 2048, 36, 16, 2, 11008, 151936, tied=True, parameters=3_085_938_688),
    _qwen("7B", 3584, 28, 28, 4, 18944, 152064, tied=False, parameters=7_615_616_512),
    _qwen("14B", 5120, 48, 40, 8, 13824, 152064, tied=False, parameters=14_770_033_664),
    _qwen("32B", 5120, 64, 40, 8, 27648, 152064, tied=False, parameters=32_763_876_352),
    _smollm("135M", 576, 30, 9, 3, 1536, 49152, parameters=134_515_008),
    _smollm("360M", 960, 32, 15, 5, 2560, 49152, parameters=361_821_120),
    _smollm("1.7B", 2048, 24, 32, 32, 8192, 49152, parameters=1_711_376_384),
)
