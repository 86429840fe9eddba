"""What /finetune asks of an Ollama server: blobs, models made of them, and how they answer.

The Python client of Ollama sends each file whole whether the server has it or not, shows no
progress, knows no version, and cannot ask for a prompt that was rendered and not answered. The
protocol is Ollama's docs/api.md and server/*.go; docs/ollama.md tells what of it was run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from harness.errors import (
    HarnessError,
    InputError,
    ModelBusy,
    ModelUnavailable,
    NothingFound,
    SkillFailed,
)
from harness.models.backends.remote import CONNECT_SECONDS, broken_off
from skills.finetune.deploy.ollama_host import url_of

if TYPE_CHECKING:
    import httpx

SECONDS = 60.0
LONG_SECONDS = 1800.0
"""Silence that is borne where a server quantizes, checks, or loads gigabytes: it need not speak."""
CHUNK = 1 << 20
START = "Start it with `ollama serve`, or name another with --host or OLLAMA_HOST."
HINTS: Mapping[str, str] = {
    "adapters are no longer supported": "Since 0.34.1 Ollama takes merged models alone: leave out "
    "--adapter.",
    "quantization is only supported": "Since 0.34.1 Ollama does not quantize a GGUF: "
    "`/finetune quantize` does it here.",
    "unsupported quantization type": "`/finetune quantize` does it here, with llama.cpp.",
    "no space left": "It keeps its models where OLLAMA_MODELS says, for a while twice.",
    "only one adapter": "Merge the others first.",
}
"""What to do about an error, by words of it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One chat. `done_reason` is "stop", or "length" where it was cut off."""

    text: str
    done_reason: str


def answers(host: str) -> str | None:
    """The version of the Ollama server at `host`; None where none answers."""
    try:
        with Ollama(host) as ollama:
            return ollama.version()
    except HarnessError:
        return None


class Ollama:
    """A server, for the time of a `with` block.

    Args:
        host: an address as OLLAMA_HOST has it: "http://127.0.0.1:11434", "127.0.0.1", ":11434".

    Raises:
        UsageError: `host` is no address.
    """

    def __init__(self, host: str) -> None:
        import httpx

        url = url_of(host)
        self.host = str(url).rstrip("/")
        self._name = f"Ollama at {self.host}"
        self._client = httpx.Client(
            base_url=url,
            timeout=httpx.Timeout(SECONDS, connect=CONNECT_SECONDS),
            # A proxy of the environment does not lead to this machine.
            trust_env=url.host not in ("127.0.0.1", "localhost", "::1"),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._client.close()

    def version(self) -> str:
        """Its version, "0.33.0".

        Raises:
            ModelUnavailable: nothing answers there, or something else than Ollama.
        """
        found = self._json("GET", "/api/version", seconds=CONNECT_SECONDS)
        if not isinstance(version := found.get("version"), str):
            raise self._no_ollama()
        return version

    def digest(self, model: str) -> str | None:
        """The digest of a model that it has; None where it has none of that name."""
        full = model if ":" in model.rpartition("/")[2] else f"{model}:latest"
        models = self._json("GET", "/api/tags").get("models") or ()
        return next((one.get("digest") for one in models if one.get("name") == full), None)

    def has_blob(self, sha256: str) -> bool:
        """Whether it has a file with this sha256."""
        with self._talk():
            response = self._client.head(f"/api/blobs/sha256:{sha256}")
        if response.status_code not in (200, 404):
            raise self._refused(response.status_code, "a question for a file")
        return bool(response.status_code == 200)

    def send_blob(self, path: Path, sha256: str, sent: Callable[[int], None]) -> None:
        """Send a file, which is read once; `sent` is told the bytes so far.

        Raises:
            InputError: the file is no more what it was when its sha256 was taken.
        """
        headers = {"Content-Length": str(path.stat().st_size)}
        with self._talk():
            response = self._client.post(
                f"/api/blobs/sha256:{sha256}",
                content=_pieces(path, sent),
                headers=headers,
                timeout=self._long(),
            )
        if response.status_code not in (200, 201):
            said = _error_in(response.text)
            if "digest mismatch" in said:
                raise InputError("has changed while it was sent", where=str(path))
            raise self._refused(response.status_code, said)

    def create(self, body: Mapping[str, Any], told: Callable[[str], None]) -> None:
        """Make a model; `told` is given each line about it, "quantizing F16 model to Q4_K_M 40%".

        Raises:
            SkillFailed: it cannot be made of this, in the server's own words.
            GenerationFailed: the server broke off.
        """
        with (
            self._talk(),
            self._client.stream("POST", "/api/create", json=body, timeout=self._long()) as response,
        ):
            if response.status_code != 200:
                response.read()
                raise self._refused(response.status_code, _error_in(response.text))
            last = ""
            for line in filter(None, map(str.strip, response.iter_lines())):
                status = _object(line)
                if status is None:
                    raise broken_off(self._name, "a line of it is no JSON object")
                if "error" in status:
                    code = status.get("status")
                    code = code if isinstance(code, int) else 500
                    raise self._refused(code, str(status["error"]))
                last = str(status.get("status", ""))
                told(_with_share(last, status))
            if last != "success":
                raise broken_off(self._name, f"its last word was {last or 'nothing'!r}, no success")

    def show(self, model: str) -> Mapping[str, Any]:
        """All it tells of a model: `details`, `parameters` (a text), `template`, `model_info`.

        Raises:
            NothingFound: it has no such model.
        """
        return self._json("POST", "/api/show", {"model": model})

    def render(self, model: str, messages: Sequence[Mapping[str, str]]) -> str | None:
        """The prompt that it makes of a conversation; None where it is too old to tell (0.11.5)."""
        asked = {"_debug_render_only": True, "options": {"num_predict": 1}}
        found = self._chat(model, messages, asked)
        rendered = (found.get("_debug_info") or {}).get("rendered_template")
        return rendered if isinstance(rendered, str) else None

    def chat(self, model: str, messages: Sequence[Mapping[str, str]]) -> Answer:
        """One answer, under the parameters that the model itself has."""
        found = self._chat(model, messages, {})
        content = (found.get("message") or {}).get("content") or ""
        return Answer(str(content), str(found.get("done_reason", "")))

    def _chat(
        self, model: str, messages: Sequence[Mapping[str, str]], more: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        body = {"model": model, "messages": list(messages), "stream": False, "think": False}
        return self._json("POST", "/api/chat", {**body, **more}, seconds=LONG_SECONDS)

    def _json(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        seconds: float = SECONDS,
    ) -> Mapping[str, Any]:
        import httpx

        timeout = httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
        with self._talk():
            response = self._client.request(method, path, json=body, timeout=timeout)
        if response.status_code != 200:
            raise self._refused(response.status_code, _error_in(response.text))
        found = _object(response.text)
        if found is None:
            raise self._no_ollama()
        return found

    @contextmanager
    def _talk(self) -> Iterator[None]:
        import httpx

        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
            raise ModelUnavailable(f"no Ollama server at {self.host}", hint=START) from exc
        except httpx.TimeoutException as exc:
            raise ModelUnavailable(f"{self._name} does not answer", hint="Restart it.") from exc
        except httpx.HTTPError as exc:
            raise broken_off(self._name) from exc

    def _refused(self, status: int, said: str) -> HarnessError:
        message = f"{self._name} answers {status}: {said or 'and does not say why'}"
        hint = next((hint for words, hint in HINTS.items() if words in said), None)
        if status == 403:
            return ModelUnavailable(
                message,
                hint="A server that listens on its own machine alone is to be called 127.0.0.1 or "
                "localhost.",
            )
        if status == 404:
            return NothingFound(message, hint=hint or "`ollama list` shows what it has.")
        if status in (429, 503):
            return ModelBusy(message, hint="Its queue is full: try again in a moment.")
        return SkillFailed(message, hint=hint or "The server's own log says more.")

    def _no_ollama(self) -> ModelUnavailable:
        return ModelUnavailable(
            f"what answers at {self.host} is not Ollama",
            hint="--host and OLLAMA_HOST name its address.",
        )

    def _long(self) -> httpx.Timeout:
        import httpx

        return httpx.Timeout(LONG_SECONDS, connect=CONNECT_SECONDS)


def _pieces(path: Path, sent: Callable[[int], None]) -> Iterator[bytes]:
    total = 0
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            yield piece
            total += len(piece)
            sent(total)


def _with_share(status: str, line: Mapping[str, Any]) -> str:
    total, completed = line.get("total"), line.get("completed")
    return f"{status} {100 * (completed or 0) // total}%" if total else status


def _object(text: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _error_in(text: str) -> str:
    found = _object(text) or {}
    return str(found.get("error") or " ".join(text.split())[:200])
