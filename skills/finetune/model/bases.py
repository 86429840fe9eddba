"""The model that is tuned: found where the recipe says, checked, and known by a digest.

A recipe names a folder as transformers saves it, a model of the hub that is in the local cache, or
a GGUF of the registry. The last is unpacked into such a folder once, in the cache of the harness.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.models.schema import FileEntry, ServeEntry
from harness.models.weights import FileStore
from harness.runs import targets
from harness.support.optional_deps import require
from skills.finetune.model import shapes as base_shapes
from skills.finetune.model.facts import BaseFacts
from skills.finetune.model.folder import (
    AS_SAVED,
    blob_name,
    chat_template,
    is_whole,
    template_sha256,
    weight_files,
)
from skills.finetune.model.gguf_folder import FORMAT, differing, unpack
from skills.finetune.run.run_dir import partial
from skills.finetune.run.stage import StageContext
from skills.nanda.framework import sha256_of

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*\Z")
SMALL = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
CONTEXT = 512
"""Of the engine that counts the tokens of probes."""


@dataclass(frozen=True, slots=True)
class Base:
    """A base that is ready to be loaded.

    Attributes:
        folder: config.json, weights as .safetensors, tokenizer.json, a chat template.
        name: as the recipe names it.
        digest: sha256 that changes with anything that is read of it; of a GGUF, with its bytes.
        source: where it is from, as a clause for people.
    """

    folder: Path
    name: str
    digest: str
    source: str


def open_base(context: StageContext) -> Base:
    """The base of the recipe, unpacked where it is a GGUF.

    Raises:
        InputError: it is not on this machine, lacks a file, or is of a kind that cannot be tuned.
        ModelError: it is a file of the registry that cannot be fetched or is another one.
        UsageError: it must be unpacked, and the finetune extra is not installed.
    """
    name = context.recipe.base
    if name in context.call.models.registry.files:
        return _from_gguf(context, name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return Base(folder, name, _checked_digest(context, folder), f"the folder {folder}")
    snapshot = _snapshot(name)
    if snapshot is None:
        raise _absent(name)
    digest = _checked_digest(context, snapshot, _fetching(name))
    return Base(snapshot, name, digest, f"the hub, revision {snapshot.name[:12]}")


def describe(context: StageContext) -> BaseFacts | None:
    """The shapes of the recipe's base, without torch; None where it is not on this machine.

    Nothing is fetched, and its weights need not be there.

    Raises:
        InputError: it is there and cannot be a base.
    """
    name = context.recipe.base
    if name in context.call.models.registry.files:
        return _describe_gguf(context, name)
    folder, source = Path(name).expanduser(), "its config.json"
    if not folder.is_dir():
        snapshot = _snapshot(name)
        if snapshot is None:
            return None
        folder, source = snapshot, "its config.json in the hub's cache"
    config = base_shapes.read_config(folder)
    return base_shapes.of_config(config, name, source, str(folder / "config.json"))


def at_hand(context: StageContext) -> Path | None:
    """The folder that the tokenizer of the recipe's base can be read from; None where there is none
    on this machine yet. Nothing is fetched or unpacked."""
    name, registry = context.recipe.base, context.call.models.registry
    folder: Path | None = Path(name).expanduser()
    if name in registry.files:
        files = FileStore(registry.files, context.cache, context.call.screen.notice)
        there = files.missing(name) is None and not files.to_fetch(name)
        folder = unpacked_folder(context.cache, files.digest(name)) if there else None
    elif folder is None or not folder.is_dir():
        folder = _snapshot(name)
    return folder if folder is not None and (folder / "tokenizer.json").is_file() else None


def open_tokenizer(base: Base) -> Any:
    """The tokenizer of a base, as transformers has it; torch is not needed.

    Raises:
        UsageError: transformers is not installed.
    """
    require("transformers")
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base.folder, local_files_only=True)


def _checked_digest(context: StageContext, folder: Path, hint: str = AS_SAVED) -> str:
    """The digest of a folder that has all that a base needs.

    Raises:
        InputError: it has not, or its weights are damaged.
    """
    base_shapes.read_config(folder)
    weights = weight_files(folder, hint)
    if not (folder / "tokenizer.json").is_file():
        raise InputError("has no tokenizer.json", where=str(folder), hint=hint)
    if not chat_template(folder):
        raise InputError(
            "has no chat template",
            where=str(folder),
            hint="Take the model that was tuned to chat: its name mostly ends in -Instruct.",
        )
    known = {name: targets.digest(folder / name) for name in SMALL if (folder / name).is_file()}
    known["chat template"] = template_sha256(folder)
    store = FileStore(
        {path.name: FileEntry(path=str(path.resolve())) for path in weights},
        context.cache,
        context.call.screen.notice,
    )
    with context.call.screen.progress("reading the base") as tick:
        for path in weights:
            tick(path.name)
            known[path.name] = blob_name(path) or store.digest(path.name)
    return sha256_of(known)


def _from_gguf(context: StageContext, file_id: str) -> Base:
    from filelock import FileLock

    screen = context.call.screen
    entry = context.call.models.registry.files[file_id]
    if entry.sha256 is None or not is_whole(unpacked_folder(context.cache, entry.sha256)):
        require("torch", "transformers", "gguf")  # before anything is fetched
    files = FileStore(context.call.models.registry.files, context.cache, screen.notice)
    gguf, digest = files.ensure(file_id), files.digest(file_id)
    folder = unpacked_folder(context.cache, digest)
    if not is_whole(folder):
        base_shapes.of_gguf(gguf, file_id, "")  # refuses what cannot be a base
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")), screen.progress(f"unpacking {file_id}"):
            if not is_whole(folder):  # another process has done it while this one waited
                with partial(folder) as temporary:
                    unpack(gguf, temporary)
                    _check_tokenizer(files, file_id, temporary)
    identity = sha256_of({"gguf": digest, "unpacked": FORMAT})
    return Base(folder, file_id, identity, f"the GGUF {file_id}, sha256 {digest[:12]}")


def unpacked_folder(cache: Path, digest: str) -> Path:
    """Where `open_base` keeps what it unpacked of the GGUF of this sha256."""
    return cache / "bases" / f"{digest[:16]}-{FORMAT}"


def _check_tokenizer(files: FileStore, file_id: str, folder: Path) -> None:
    """Hold the unpacked tokenizer and template against the engine, which answers with the GGUF's.

    Raises:
        InputError: the engine would read a prompt otherwise than it was trained on.
    """
    from transformers import AutoTokenizer

    from harness.models.backends.base import Message, Request
    from harness.models.backends.llamacpp import LlamaCppBackend

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def unpacked(text: str) -> int:
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
        )
        return len(tokenizer.encode(prompt, add_special_tokens=False))

    entry = ServeEntry(backend="llamacpp", gguf=file_id, context=CONTEXT)
    model = LlamaCppBackend(files).load(entry)
    try:
        text = differing(
            unpacked, lambda text: model.count_tokens(Request((Message("user", text),)))
        )
    finally:
        model.close()
    if text is not None:
        raise InputError(
            f"its tokenizer cannot be unpacked: the engine splits {text[:30]!r} otherwise",
            where=file_id,
            hint="Take the same model as a folder of transformers.",
        )


def _describe_gguf(context: StageContext, file_id: str) -> BaseFacts | None:
    files = FileStore(context.call.models.registry.files, context.cache, context.call.screen.notice)
    if files.missing(file_id) is not None or files.to_fetch(file_id):
        return None
    folder = unpacked_folder(context.cache, files.digest(file_id))
    if (folder / "config.json").is_file():
        config = base_shapes.read_config(folder)
        return base_shapes.of_config(config, file_id, "its GGUF", str(folder))
    if importlib.util.find_spec("gguf") is None:
        return None
    return base_shapes.of_gguf(files.path(file_id), file_id, "its GGUF")


def _snapshot(name: str) -> Path | None:
    """The folder of a model in the hub's cache on this machine; None if it is not there."""
    if not HUB_ID.match(name) or importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json")
    return Path(found).parent if isinstance(found, str) else None


def _absent(name: str) -> InputError:
    if HUB_ID.match(name):
        return InputError(f"the base {name} is not on this machine", hint=_fetching(name))
    return InputError(
        f"there is no base {name!r}",
        hint="`base` is a folder, a model of the hub (owner/name), or a file of the registry.",
    )


def _fetching(name: str) -> str:
    return f"`hf download {name}` fetches it into the local cache."
