"""Find, check and unpack the base of a recipe, and identify it by a digest.

The base is a folder in the format of transformers, a model of the Hub in the local cache, or a GGUF
of the registry. A GGUF is unpacked into a folder in the cache of the harness, and kept there.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.models.gguf_file import open_gguf
from harness.models.registry import ServeEntry
from harness.models.weights import FileStore
from harness.support.bounded_files import MAX_JSON_BYTES, file_sha256, read_json, read_text
from harness.support.process import require
from harness.support.text_input import at_home, is_folder, reading
from skills.finetune.model.base_shapes import (
    AS_SAVED,
    BaseFacts,
    check_family,
    read_weights,
    shapes_of_config,
    shapes_of_gguf,
)
from skills.finetune.run_folder import StageContext, partial
from skills.nanda.framework import sha256_of

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*\Z")
TEMPLATE = "chat_template.jinja"
SMALL_FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
UNPACKED_FORMAT = 1
"""Version of the format of unpacked bases; bases in another version are unpacked again."""
SINGLE_DIGITS = frozenset({"smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b"})
"""Pre-tokenizers of llama.cpp (src/llama-vocab.cpp) that split off every digit before they split as
GPT-2 does. A tokenizer that transformers 5.24 reads from a GGUF does not split off the digits.
"""
PROBES = (
    "In 2024 we saw 1,234.5 of x86, CO2 and H2O (n=312; p<0.05), a 3.5% rise.",
    "Blanks  2 before\n\n3 digits,\ttabs   and   more    .  ",
    "Café naïve 中文 ½ ² Δ→∞ I'll they've it's 'quoted' \"twice\" <annotation>",
)
"""Texts that tokenizers tend to split differently."""
CONTEXT = 512
"""Context size in tokens of the engine that tokenizes `PROBES`."""


@dataclass(frozen=True, slots=True)
class Base:
    """A base that is ready to be loaded.

    Attributes:
        folder: a folder with config.json, weights as .safetensors, tokenizer.json and a chat
            template.
        name: the name in the recipe.
        digest: a SHA-256 over the digests of all files that are loaded; for a base from a GGUF, a
            SHA-256 over the digest of the GGUF and `UNPACKED_FORMAT`.
    """

    folder: Path
    name: str
    digest: str


def open_base(context: StageContext) -> Base:
    """Return the base of the recipe; fetch and unpack it if it is a GGUF of the registry.

    Raises:
        InputError: the base is not on this machine, lacks a file, has damaged weights, or has a
            type that cannot be tuned.
        ModelError: a file of the registry cannot be fetched, or has another digest.
        UsageError: the base is a GGUF file, but the finetune extra is not installed.
    """
    name, download = context.recipe.base, ""
    if name in context.call.models.registry.files:
        return _open_gguf_base(context, name)
    if HUB_ID.match(name):
        download = f"`hf download {name}` downloads the base into the local cache."
    if (folder := _folder_of(context)) is None:
        kinds = "`base` is a folder, a model of the hub (owner/name), or a file of the registry."
        raise InputError(f"the base {name!r} is not on this machine", hint=download or kinds)
    hint = AS_SAVED if folder == at_home(name) else download
    read_config(folder)
    weights = read_weights(folder, hint).files
    if not (folder / "tokenizer.json").is_file():
        raise InputError("has no tokenizer.json", where=str(folder), hint=hint)
    if not chat_template(folder):
        raise InputError(
            "has no chat template",
            where=str(folder),
            hint="Use the model that was tuned to chat: its name usually ends in -Instruct.",
        )
    known = {name: file_sha256(folder / name) for name in SMALL_FILES if (folder / name).is_file()}
    known["chat template"] = template_sha256(folder)
    with context.call.screen.progress("reading the base") as tick:
        for path in weights:
            tick(path.name)
            known[path.name] = context.files.digest_of(path.resolve())
    return Base(folder, name, sha256_of(known))


def check_prepared(prepared: Mapping[str, Any], base: Base, folder: Path) -> None:
    """Raise InputError if the rows of a run were prepared for a base with another digest.

    Two bases may have the same shapes, so the digests are compared.

    Args:
        prepared: the contents of prepared.json; {} if the adapter was trained elsewhere.
        folder: the folder of the run.
    """
    if prepared.get("base_digest", base.digest) != base.digest:
        raise InputError(
            f"the rows were prepared for {prepared.get('base')}, which is not "
            f"{base.name} in its current state",
            where=str(folder),
            hint="Use the recipe that the run was started with, or run `/finetune prepare`, and "
            "train again.",
        )


def describe(context: StageContext) -> BaseFacts | None:
    """Return the shapes of the recipe's base; None if the base is not on this machine.

    The function needs no torch, loads no weights, and downloads nothing.

    Raises:
        InputError: the model exists, but cannot be a base.
    """
    name, folder = context.recipe.base, _folder_of(context)
    if folder is None:
        return None
    source, config = "its config.json in the hub's cache", folder / "config.json"
    if name in context.call.models.registry.files:
        source = "its GGUF"
        if not config.is_file():
            return shapes_of_gguf(context.files.path(name), name, source)
    elif folder == at_home(name):
        source = "its config.json"
    return shapes_of_config(read_config(folder), name, source, str(config))


def tokenizer_folder(context: StageContext) -> Path | None:
    """Return the folder with the base's tokenizer; None if this machine has no such folder.

    The base is neither fetched nor unpacked.
    """
    folder = _folder_of(context)
    return folder if folder is not None and (folder / "tokenizer.json").is_file() else None


def open_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a base as an object of transformers; torch is not needed.

    Raises:
        UsageError: transformers is not installed.
    """
    require("transformers")
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def unpacked_folder(cache: Path, digest: str) -> Path:
    """Return the folder into which `open_base` unpacks the GGUF with this SHA-256."""
    return cache / "bases" / f"{digest[:16]}-{UNPACKED_FORMAT}"


def _folder_of(context: StageContext) -> Path | None:
    """Return the folder of the recipe's base, or None if the base is not on this machine.

    The folder of a model of the hub is its snapshot in the cache. The folder of a GGUF is the
    folder for its unpacked files, which may not exist yet.
    """
    name, files = context.recipe.base, context.files
    if name in context.call.models.registry.files:
        if not files.path(name).is_file():
            return None
        return unpacked_folder(context.call.settings.cache_dir, files.digest(name))
    if is_folder(name):
        return at_home(name)
    if not HUB_ID.match(name) or importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json")
    return Path(found).parent if isinstance(found, str) else None


def _open_gguf_base(context: StageContext, file_id: str) -> Base:
    """Return a base of the registry; fetch and unpack its GGUF if necessary.

    Raises:
        InputError, ModelError, UsageError: as for `open_base`.
    """
    from filelock import FileLock

    files, screen = context.files, context.call.screen
    require("torch", "transformers")  # check before a file is fetched
    gguf, digest = files.ensure(file_id), files.digest(file_id)
    folder = unpacked_folder(context.call.settings.cache_dir, digest)
    if not is_whole(folder):
        shapes_of_gguf(gguf, file_id, "")  # raises InputError for a model that cannot be a base
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")), screen.progress(f"unpacking {file_id}"):
            if not is_whole(folder):  # another process may have unpacked it in the meantime
                with partial(folder) as temporary:
                    unpack(gguf, temporary)
                    _check_tokenizer(files, file_id, temporary)
    identity = sha256_of({"gguf": digest, "unpacked": UNPACKED_FORMAT})
    return Base(folder, file_id, identity)


def _check_tokenizer(files: FileStore, file_id: str, folder: Path) -> None:
    """Check that the engine counts as many tokens as the unpacked tokenizer in each of `PROBES`.

    Raises:
        InputError: the numbers of tokens of a text differ.
    """
    from harness.models.backend import Message, Request
    from harness.models.backends.llamacpp import LlamaCppBackend

    tokenizer = open_tokenizer(folder)

    def unpacked(text: str) -> int:
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
        )
        return len(tokenizer.encode(prompt, add_special_tokens=False))

    model = LlamaCppBackend(files).load(
        ServeEntry(backend="llamacpp", gguf=file_id, context=CONTEXT)
    )
    with contextlib.closing(model):
        for text in PROBES:
            if model.count_tokens(Request((Message("user", text),))) != unpacked(text):
                raise InputError(
                    f"its tokenizer cannot be unpacked: the engine splits {text[:30]!r} "
                    "differently",
                    where=file_id,
                    hint="Use a folder with the config.json and the .safetensors files of this "
                    "model.",
                )


def chat_template(folder: Path) -> str:
    """Return the chat template that transformers uses for a base, or "" if there is none."""
    own = folder / TEMPLATE
    if own.is_file():
        with reading(own):
            return read_text(own, MAX_JSON_BYTES)
    template = _json(folder / "tokenizer_config.json").get("chat_template") or ""
    if isinstance(template, list):  # a model may have several named templates
        named = [one for one in template if isinstance(one, dict) and one.get("name") == "default"]
        template = named[0].get("template", "") if named else ""
    return str(template)


def template_sha256(folder: Path) -> str:
    """Return the SHA-256 of the chat template."""
    return hashlib.sha256(chat_template(folder).encode()).hexdigest()


def end_tokens(folder: Path) -> frozenset[int]:
    """Return the ids of the tokens that end an answer, from the configuration of the base."""
    found: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        ids = _json(folder / name).get("eos_token_id")
        found.update(ids if isinstance(ids, list) else [ids] if isinstance(ids, int) else [])
    return frozenset(found)


def read_config(folder: Path) -> dict[str, Any]:
    """Return the contents of the config.json of a base.

    Raises:
        InputError: the file is missing, or the model cannot be a base.
    """
    path = folder / "config.json"
    if not path.is_file():
        is_adapter = (folder / "adapter_config.json").exists()
        raise InputError(
            "is an adapter, not a model" if is_adapter else "has no config.json",
            where=str(folder),
            hint="A base is a folder as transformers saves a model.",
        )
    config = _json(path)
    check_family(config.get("model_type"), path)
    if config.get("quantization_config"):
        raise InputError(
            "contains weights that are already quantized",
            where=str(path),
            hint="Use the same model in 16 bits: it is quantized according to the recipe.",
        )
    return config


def is_whole(folder: Path) -> bool:
    """Return True if a folder of an unpacked base contains config.json and all weights."""
    try:
        return bool(read_weights(folder).files) and (folder / "config.json").is_file()
    except InputError:
        return False


def _json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; {} if the file is missing or contains another type.

    Raises:
        InputError: the file cannot be read.
    """
    with reading(path):
        found = read_json(path) if path.exists() else {}
    return found if isinstance(found, dict) else {}


def unpack(gguf: Path, folder: Path) -> None:
    """Write the model of a GGUF into `folder` in the format of transformers, in bfloat16.

    Raises:
        InputError: transformers cannot read the model.
    """
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    unpack_tokenizer(gguf, folder)
    with _translated(gguf):
        AutoModelForCausalLM.from_pretrained(
            str(gguf.parent),
            gguf_file=gguf.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
        ).save_pretrained(folder)


def unpack_tokenizer(gguf: Path, folder: Path) -> None:
    """Write the tokenizer and the chat template of a GGUF into `folder`.

    Raises:
        InputError: transformers cannot read the model.
    """
    from transformers import AutoTokenizer

    with _translated(gguf):
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    if open_gguf(gguf).values.get("tokenizer.ggml.pre") in SINGLE_DIGITS:
        from tokenizers import pre_tokenizers

        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    tokenizer.save_pretrained(folder)


@contextmanager
def _translated(gguf: Path) -> Iterator[None]:
    """Raise errors of transformers in the block as InputError, and hide output to stderr."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except (ValueError, KeyError, NotImplementedError, RuntimeError) as exc:
        raise InputError(
            f"cannot be unpacked by transformers: {' '.join(str(exc).split())[:200]}",
            where=str(gguf),
            hint="A base is a model of the Llama or Qwen family with its tokenizer.",
        ) from exc
