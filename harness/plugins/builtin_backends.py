"""The backends that come with the harness."""

from __future__ import annotations

from harness.api.hookspecs import RegisterBackend, hookimpl
from harness.models.backends.llamacpp import LlamaCppBackend
from harness.models.backends.ollama import OllamaBackend
from harness.models.backends.openai import OpenAIBackend
from harness.models.weights import FileStore


@hookimpl
def register_backends(register: RegisterBackend, files: FileStore) -> None:
    register(LlamaCppBackend(files))
    register(OllamaBackend())
    register(OpenAIBackend())
