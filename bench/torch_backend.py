"""The backends of bench/stages.py: transformers, and the embedded engine without grammars."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.api.hookspecs import RegisterBackend, hookimpl
from harness.models.backend import Availability, Model, OnText, Reply, Request
from harness.models.backends.llamacpp import LlamaCppBackend
from harness.models.registry import ServeEntry
from harness.models.weights import FileStore
from harness.support.bounded_files import file_sha256
from skills.finetune.training.trainer import quiet

TORCH, FREE = "torch", "llamacpp-free"


class Plugin:
    """Registers the two backends of this module."""

    @hookimpl
    def register_backends(self, register: RegisterBackend, files: FileStore) -> None:
        register(TorchBackend())
        register(FreeBackend(files))


class FreeBackend(LlamaCppBackend):
    """The embedded engine without grammars, for comparison with transformers."""

    name = FREE

    def load(self, entry: ServeEntry, slots: int | None = 1) -> Model:
        model: Any = super().load(entry, slots)
        model.takes_grammar = False
        return model


class TorchBackend:
    """A backend for models in the format of transformers, named "FOLDER" or "FOLDER + ADAPTER".

    The backend computes in float32 and decodes greedily, one request at a time.
    """

    name = TORCH

    def probe(self, entry: ServeEntry) -> Availability:
        return Availability(True)

    def load(self, entry: ServeEntry, slots: int | None = 1) -> Model:
        assert entry.model is not None
        folder, _, adapter = entry.model.partition(" + ")
        return TorchModel(Path(folder), Path(adapter) if adapter else None)


class TorchModel:
    takes_grammar = False
    slots = 1
    context = None

    def __init__(self, folder: Path, adapter: Path | None) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        weights = [folder / "model.safetensors"]
        with quiet():
            self._tokenizer = AutoTokenizer.from_pretrained(folder)
            self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
            if adapter is not None:
                from peft import PeftModel

                self._model = PeftModel.from_pretrained(self._model, adapter).eval()
                weights.append(adapter / "adapter_model.safetensors")
        self._one_at_a_time = threading.Lock()
        self.digests: Mapping[str, str] = {path.name: file_sha256(path) for path in weights}

    def count_tokens(self, request: Request) -> None:
        return None

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        import torch

        assert request.temperature == 0, "it is decoded greedily"
        begun = time.monotonic()
        given = self._tokenizer.apply_chat_template(
            [{"role": one.role, "content": one.content} for one in request.messages],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        with self._one_at_a_time, torch.inference_mode():
            [whole] = self._model.generate(
                **given,
                max_new_tokens=request.max_tokens,
                do_sample=False,
                stop_strings=list(request.stop) or None,
                tokenizer=self._tokenizer,
                pad_token_id=self._tokenizer.eos_token_id,
            )
        prompt = given["input_ids"].shape[1]
        said = whole[prompt:]
        text = self._tokenizer.decode(said, skip_special_tokens=True)
        for stop in request.stop:
            text = text.partition(stop)[0]
        if on_text:
            on_text(text)
        finish = "length" if len(said) >= request.max_tokens else "stop"
        return Reply(text, finish, prompt, len(said), time.monotonic() - begun)

    def close(self) -> None:
        self._model = None
