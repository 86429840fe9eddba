"""The model that reads abstracts, as `fit_selector` tunes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from harness import settings
from harness.models import registry
from harness.models.encoder import visible_bytes
from harness.models.weights import FileStore
from skills.annotate.selector.selector import BASE, LAYERS
from skills.finetune.model.adapter_reader import permuted
from skills.finetune.model.gguf_folder import unpack
from skills.finetune.model.loading import quiet

FROZEN = 8
"""The first layers, which are not tuned: what they return is computed once for each text."""
RANK, ALPHA, DROPOUT = 6, 12, 0.1
"""Of the adapter. With more, its file would be larger than 2 MB."""
NAMES = {
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_output",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "down_proj": "ffn_down",
}
"""The matrices that are tuned, with their names in a GGUF."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text after the frozen layers.

    Attributes:
        hidden: (tokens, width), bfloat16.
        ends: as in `encoder.Encoded`.
    """

    hidden: torch.Tensor
    ends: torch.Tensor


@dataclass(frozen=True, slots=True)
class Tokens:
    """The vectors of the tokens of a text: `encoder.Encoded` of tensors."""

    tokens: torch.Tensor
    ends: torch.Tensor

    def vectors(self, passages: Sequence[tuple[int, int]]) -> torch.Tensor:
        """Return the mean of the tokens of each passage and the last of them."""
        bounds = torch.tensor(passages).reshape(-1, 2)
        first = torch.searchsorted(self.ends, bounds[:, 0].contiguous(), right=True)
        last = torch.searchsorted(self.ends, bounds[:, 1].contiguous())
        sums = torch.cat([torch.zeros_like(self.tokens[:1]), self.tokens.cumsum(0)])
        means = (sums[last + 1] - sums[first]) / (last + 1 - first)[:, None]
        return torch.cat([means, self.tokens[last]], dim=1)

    def whole(self) -> torch.Tensor:
        """Return the mean of all tokens and the last one."""
        return torch.cat([self.tokens.mean(0), self.tokens[-1]])


class TunedReader:
    """The first layers of the base with a LoRA adapter in the layers after `FROZEN`.

    Call `text` for each text, then `tune`, then `read`.
    """

    @quiet()
    def __init__(self) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        found = settings.from_environment()
        files = registry.load(found.shipped_registry).files
        gguf = FileStore(files, found.cache_dir, lambda _: None).ensure(BASE)
        with TemporaryDirectory() as folder:
            unpack(gguf, Path(folder))
            self._tokenizer = AutoTokenizer.from_pretrained(folder)
            loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).model
        loaded.config.use_cache = False
        self._model = loaded
        self._layers, self._norm = loaded.layers, loaded.norm
        self._tuned: Any = None

    def text(self, sentences: Sequence[str]) -> Text:
        """Return a text after the frozen layers.

        Args:
            sentences: as for `Encoder.encode`.
        """
        tokens, ends = [], [0]
        for number, sentence in enumerate(sentences):
            content = " " * (number > 0) + sentence
            encoded = self._tokenizer(content, return_offsets_mapping=True)
            lengths = [*accumulate(map(visible_bytes, content), initial=ends[-1])]
            tokens += encoded["input_ids"]
            ends += [lengths[end] for _, end in encoded["offset_mapping"]]
        self._truncate(0, FROZEN, torch.nn.Identity())
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            hidden = self._model(input_ids=torch.tensor([tokens])).last_hidden_state[0]
        return Text(hidden.to(torch.bfloat16), torch.tensor(ends[1:]))

    @quiet()
    def tune(self) -> list[torch.Tensor]:
        """Add the adapter, whose output is still zero, and return its parameters."""
        from peft import LoraConfig, get_peft_model

        self._truncate(FROZEN, LAYERS, self._norm)
        config = LoraConfig(
            r=RANK, lora_alpha=ALPHA, lora_dropout=DROPOUT, target_modules=list(NAMES)
        )
        self._tuned = get_peft_model(self._model, config)
        return [one for one in self._tuned.parameters() if one.requires_grad]

    def read(self, texts: Sequence[Text], *, training: bool = False) -> list[Tokens]:
        """Return the vectors of the tokens of each text, with dropout in training."""
        longest = max(len(one.hidden) for one in texts)
        hidden = torch.zeros(len(texts), longest, texts[0].hidden.shape[1])
        mask = torch.zeros(len(texts), longest, dtype=torch.long)
        for place, one in enumerate(texts):
            hidden[place, : len(one.hidden)] = one.hidden
            mask[place, : len(one.hidden)] = 1
        self._tuned.train(training)
        with torch.set_grad_enabled(training), torch.autocast("cpu", torch.bfloat16):
            found = self._tuned(inputs_embeds=hidden, attention_mask=mask).last_hidden_state
        return [
            Tokens(found[place, : len(one.hidden)].float(), one.ends)
            for place, one in enumerate(texts)
        ]

    def write(self, path: Path) -> None:
        """Write the adapter as a GGUF of llama.cpp, in float16."""
        import numpy as np
        from gguf import GGUFWriter

        config = self._model.config
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        writer = GGUFWriter(path, "llama")
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", ALPHA)
        for name, weights in self._tuned.named_parameters():
            if not weights.requires_grad:
                continue
            *_, layer, _, module, half, _, _ = name.split(".")
            own = f"blk.{FROZEN + int(layer)}.{NAMES[module]}.weight.{half.lower()}"
            matrix = weights.detach().numpy().astype(np.float16)
            if half == "lora_B" and module in heads:
                matrix = permuted(matrix, heads[module])
            writer.add_tensor(own, matrix)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    def _truncate(self, first: int, last: int, norm: torch.nn.Module) -> None:
        """Reduce the model to some of its layers."""
        self._model.layers = self._layers[first:last]
        self._model.config.num_hidden_layers = last - first
        self._model.norm = norm
