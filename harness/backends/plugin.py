"""The backends that come with the harness."""

from __future__ import annotations

from harness.backends.llamacpp import LlamaCppBackend
from harness.backends.ollama import OllamaBackend
from harness.backends.openai import OpenAIBackend
from harness.files import FileStore
from harness.hookspecs import RegisterBackend, hookimpl


@hookimpl
def register_backends(register: RegisterBackend, files: FileStore) -> None:
    register(LlamaCppBackend(files))
    register(OllamaBackend())
    register(OpenAIBackend())
