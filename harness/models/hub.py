"""The Hugging Face Hub: push files to a repository, and find and download files of a model.

Every request goes through huggingface_hub, with its token (`hf auth login`, HF_TOKEN), its endpoint
(HF_ENDPOINT) and its cache (HF_HOME). A push first uploads the large files, and then makes one
commit. An interrupted push leaves the files of the repository unchanged, and the next push does not
repeat finished uploads.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from harness._version import __version__
from harness.errors import (
    ChecksumMismatch,
    HarnessError,
    InputError,
    ModelUnavailable,
    SkillFailed,
    UsageError,
)
from harness.redaction import remember
from harness.support.bounded_files import file_sha256
from harness.support.process import require

if TYPE_CHECKING:
    from harness.models.registry import FileEntry

SCHEME = "hf:"
ANNOTATOR = "nanda-annotator"
"""The tag on the Hub that marks a model which writes annotations in the form "tagged"."""
PEFT = ("adapter_model.safetensors", "adapter_config.json")
"""The files of an adapter in the format of PEFT: the weights, and their configuration."""
_LOADED = re.compile(r"(?!/)(?!.*\.\.)[^\\]+\.(gguf|safetensors)")
"""Matches the relative path of a GGUF or safetensors file in a repository, without ".."."""
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
_ADVICE = {
    401: (
        "the token is not accepted, or there is no such repository",
        "Store a token with `hf auth login`, or set HF_TOKEN.",
    ),
    403: ("the token does not permit this", "Use a token with write access to the repository."),
    404: ("there is no such repository, revision or file", "A private repository needs a token."),
    409: ("another upload changed the repository at the same time", "Run the line again."),
    429: ("too many requests were sent", "Run the line again in some minutes."),
}
"""The reason and the hint of an error message, by HTTP status."""


class HubPush(BaseModel):
    """A repository of the Hugging Face Hub, and the files that were pushed to it."""

    model_config = ConfigDict(defer_build=True)

    url: str
    commit: str = Field(description="the hash of the commit that contains the files")
    changed: bool = Field(description="False if the repository already had the same files")
    private: bool
    files: dict[str, int] = Field(
        description="the size of each file in bytes, by its path in the repository"
    )

    def __str__(self) -> str:
        done = f"pushed {len(self.files)} files" if self.changed else "nothing has changed"
        access = "private" if self.private else "public"
        return f"{self.url} ({access}), commit {self.commit[:12]}: {done}."


def client(*, write: bool = False) -> Any:
    """Return huggingface_hub's `HfApi` with the user's token.

    Raises:
        UsageError: huggingface_hub is missing, HF_HUB_OFFLINE is set, or `write` is True and there
            is no token.
    """
    require("huggingface_hub", extra="hub")
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.utils import disable_progress_bars, logging

    if constants.is_offline_mode():
        raise UsageError(
            "HF_HUB_OFFLINE is set, so that no request is sent to the Hugging Face Hub",
            hint="Unset HF_HUB_OFFLINE for this line.",
        )
    token = get_token()
    if write and not token:
        raise UsageError(
            "a push to the Hugging Face Hub needs a token with write access",
            hint="Store a token with `hf auth login`, or set HF_TOKEN.",
        )
    remember(token or "", "token")
    logging.set_verbosity_error()
    if not (sys.stderr and sys.stderr.isatty()):
        disable_progress_bars()
    name = {"library_name": "nanda-harness", "library_version": __version__}
    return HfApi(os.environ.get("HF_ENDPOINT"), token or False, **name)


@contextlib.contextmanager
def _errors(where: str, error: type[HarnessError]) -> Iterator[None]:
    """Raise `error` with the reason and a hint if huggingface_hub fails within the block.

    Args:
        where: the address of the repository, for the message.
    """
    from huggingface_hub.errors import HTTPError

    try:
        yield
    except (HTTPError, OSError, RuntimeError, ValueError) as exc:
        causes: list[BaseException] = [exc]  # the library wraps the error of an upload or download
        while cause := causes[-1].__cause__ or causes[-1].__context__:
            causes.append(cause)
        answers = [getattr(one, "response", None) for one in causes]
        status = next((answer.status_code for answer in answers if answer is not None), 0)
        failed = "its server failed" if status >= 500 else ""
        hint = "Run the line again; finished transfers are not repeated."
        reason, hint = _ADVICE.get(status, (failed, hint))
        detail = " ".join(str(exc if status else causes[-1]).split()).rstrip(".")
        reason = f"{reason} (status {status})" if reason else detail or type(exc).__name__
        raise error(f"the Hugging Face Hub: {reason}", where=where, hint=hint) from exc


def check_repository(name: str | None) -> str:
    """Return `name` if it has the form USER/REPO; otherwise raise UsageError."""
    if name and _REPOSITORY.fullmatch(name):
        return name
    reason = f"{name[:80]!r} is not the name of a repository" if name else "no repository is named"
    raise UsageError(
        reason, hint="Name the repository USER/REPO, as in --to USER/REPO or hf:USER/REPO."
    )


def push(
    repository: str | None,
    kind: Literal["model", "dataset"],
    files: Mapping[str, Path | bytes],
    *,
    public: bool,
    notice: Callable[[str], None],
    allow: Callable[[str], object],
) -> HubPush:
    """Show the files with their sizes, and push them as one commit if the user agrees.

    Args:
        files: the files to push, as local paths or as contents, by path in the repository.
        public: True to make a new repository public, and to allow a push to a public repository.
        notice: called once with a text: the address, and the name and size of each file.
        allow: called with the action, such as "sends 5 files to URL"; raises an error if the user
            does not allow the action.

    Returns:
        The repository, the commit, and the size of each file.

    Raises:
        UsageError: the name is invalid, the repository is public and `public` is False, or
            `client` raises the error.
        SkillFailed: the Hub cannot be reached, or refuses a request.
    """
    repository, api = check_repository(repository), client(write=True)
    from huggingface_hub import CommitOperationAdd
    from huggingface_hub.errors import RepositoryNotFoundError

    url = f"{api.endpoint}/{'datasets/' * (kind == 'dataset')}{repository}"
    with _errors(url, SkillFailed):
        try:
            found = api.repo_info(repository, repo_type=kind)
        except RepositoryNotFoundError as exc:
            if exc.response.status_code == 401:
                raise
            found = None
    if found is not None and not found.private and not public:
        raise UsageError(
            "this repository is public",
            where=url,
            hint="Add --public to push to a public repository.",
        )
    private = not public if found is None else bool(found.private)
    sizes = {
        name: len(file) if isinstance(file, bytes) else file.stat().st_size
        for name, file in files.items()
    }
    state = f"{'a new' if found is None else 'the'} {'private' if private else 'public'} repository"
    total = f"{len(files)} file{'s' * (len(files) != 1)}, {sum(sizes.values()):,} bytes"
    lines = [f"{size:>15,}  {name}" for name, size in sizes.items()]
    notice("\n".join([f"{url}, {state}: {total}", *lines]))
    allow(f"sends {total} to {url}, {state}")
    with _errors(url, SkillFailed):
        if found is None:
            api.create_repo(repository, repo_type=kind, private=private, exist_ok=True)
        commit = api.create_commit(
            repository,
            [CommitOperationAdd(name, file) for name, file in files.items()],
            commit_message=f"Push with nanda-harness {__version__}",
            repo_type=kind,
        )
    changed = found is None or commit.oid != found.sha
    return HubPush(url=url, commit=commit.oid, changed=changed, private=private, files=sizes)


class HubFile(NamedTuple):
    """A file of a model on the Hub, at a commit.

    Attributes:
        entry: the registry entry of the file.
        bases: the models from which this model was quantized or tuned, according to its card.
        tags: the tags of the model on the Hub.
    """

    entry: FileEntry
    bases: tuple[str, ...]
    tags: frozenset[str]


def find(reference: str, file: str = "") -> HubFile:
    """Find the weights file of a model on the Hub: a GGUF, or else an adapter in safetensors.

    Args:
        reference: "hf:USER/REPO" or "hf:USER/REPO@REVISION".
        file: the path of a GGUF; required if several GGUF files are possible. Without a path, the
            GGUF of an adapter (see `is_lora`) is possible only if there is no other GGUF.

    Returns:
        The registry entry of the file, at the latest commit of the revision, with the base models
        and the tags of the model.

    Raises:
        UsageError: the reference is invalid, the repository has no such file, `file` is "" and
            several files are possible, or `client` raises the error.
        ModelUnavailable: the Hub cannot be reached, or does not have the repository.
    """
    from harness.models.registry import FileEntry

    name, _, revision = reference.removeprefix(SCHEME).partition("@")
    api = client()
    where = f"{api.endpoint}/{check_repository(name)}"
    with _errors(where, ModelUnavailable):
        info = api.model_info(name, revision=revision or None, files_metadata=True)
    safe = [one for one in info.siblings or () if _LOADED.fullmatch(one.rfilename)]
    present = {one.rfilename: one.lfs for one in safe if one.lfs}
    ggufs = [one for one in present if one.endswith(".gguf")]
    names = [one for one in ggufs if not is_lora(one)] or ggufs or [PEFT[0]] * (PEFT[0] in present)
    names = [one for one in ggufs if one == file] if file else names
    if len(names) != 1:
        wrong = "several GGUF files" if names else f"no {file or 'GGUF file or adapter to load'}"
        raise InputError(
            f"has {wrong}",
            where=where,
            hint=f"`/models add {reference} FILE` adds one of the GGUF files of the repository: "
            f"{', '.join(ggufs) or 'none'}. Pickle files are not loaded, since they can run code.",
        )
    lfs = present[names[0]]
    card = info.card_data or {}
    bases = card.get("base_model") or ()
    entry = FileEntry(
        hub=f"{name}@{info.sha}",
        member=names[0],
        sha256=lfs.sha256,
        size=lfs.size,
        license=card.get("license"),
    )
    named = (bases,) if isinstance(bases, str) else tuple(bases)
    return HubFile(entry, named, frozenset(info.tags or ()))


def is_lora(name: str) -> bool:
    """Return True if a GGUF is an adapter according to its name, and not a whole model."""
    return "lora" in name.lower()


def download(entry: FileEntry) -> Path:
    """Download a file into the Hub's cache, and return the path of the file in the cache.

    For the weights of an adapter in safetensors, the configuration is downloaded as well.

    Raises:
        ModelUnavailable: the file cannot be downloaded, or `client` raises UsageError.
        ChecksumMismatch: the SHA-256 of the file differs from `entry`; the file is deleted.
    """
    repository, _, commit = str(entry.hub).partition("@")
    try:
        api = client()
    except UsageError as exc:
        raise ModelUnavailable(exc.message, hint=exc.hint) from exc
    names = PEFT[::-1] if entry.member == PEFT[0] else (str(entry.member),)
    with _errors(f"{api.endpoint}/{repository}", ModelUnavailable):
        path = [Path(api.hf_hub_download(repository, one, revision=commit)) for one in names][-1]
    if (found := file_sha256(path)) != entry.sha256:
        path.resolve().unlink()
        raise ChecksumMismatch(
            f"{entry.member} at hf:{entry.hub} has sha256 {found[:12]}..., and "
            f"{str(entry.sha256)[:12]}... is expected",
            hint="The file was deleted. Run the line again to download it.",
        )
    return path
