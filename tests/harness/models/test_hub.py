"""The Hugging Face Hub: pushes and downloads, through huggingface_hub and a real socket."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import TOKEN, Hub, Repository

from harness.errors import (
    ChecksumMismatch,
    HarnessError,
    InputError,
    ModelUnavailable,
    NotAllowed,
    SkillFailed,
    UsageError,
)
from harness.models import hub as hubs
from harness.models.registry import FileEntry
from harness.models.weights import FileStore

Push = Callable[..., hubs.HubPush]
WEIGHTS = b"GGUF" + bytes(range(256)) * 40
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "out"
    made.mkdir()
    (made / "model.gguf").write_bytes(WEIGHTS)
    (made / "lora.gguf").write_bytes(b"GGUF of an adapter")
    (made / "README.md").write_text("---\nlicense: mit\ntags: [a]\n---\nA model.\n")
    return made


@pytest.fixture
def shown() -> list[str]:
    return []


@pytest.fixture
def push(hub: Hub, folder: Path, shown: list[str]) -> Push:
    def pushed(to: str | None = "me/model", *, public: bool = False) -> hubs.HubPush:
        files: dict[str, Path | bytes] = {path.name: path for path in sorted(folder.iterdir())}
        return hubs.push(
            to,
            "model",
            {**files, "notes.txt": b"notes"},
            public=public,
            notice=shown.append,
            allow=shown.append,
        )

    return pushed


def test_a_push_shows_the_files_first_and_makes_one_commit(
    hub: Hub, push: Push, shown: list[str]
) -> None:
    done = push()
    repository = hub.repositories["me/model"]
    assert repository.private
    assert repository.files["model.gguf"] == WEIGHTS
    assert set(repository.files) == {"README.md", "lora.gguf", "model.gguf", "notes.txt"}
    assert len(repository.commits) == 2
    assert (done.changed, done.private, done.commit) == (True, True, repository.commits[-1])
    preview, action = shown
    assert preview.startswith(f"{hub.url}/me/model, a new private repository: 4 files, ")
    assert re.search(r"^ +10,244  model.gguf$", preview, re.M)
    assert action.endswith(f"to {hub.url}/me/model, a new private repository")
    assert hub.tokens == {TOKEN, ""}  # uploads of large files are authorized by their URL


def test_a_second_push_makes_no_commit_and_sends_no_file(hub: Hub, push: Push) -> None:
    first = push()
    uploads = hub.count("PUT /lfs/")
    again = push()
    assert (again.changed, again.commit) == (False, first.commit)
    assert hub.count("PUT /lfs/") == uploads == 2
    assert hub.count("/commit/main") == 1
    assert str(again).endswith(f"(private), commit {first.commit[:12]}: nothing has changed.")


def test_a_changed_file_alone_is_committed(hub: Hub, push: Push, folder: Path) -> None:
    push()
    (folder / "model.gguf").write_bytes(WEIGHTS + b"!")
    assert push().changed
    assert hub.count("PUT /lfs/") == 3
    assert hub.repositories["me/model"].files["model.gguf"] == WEIGHTS + b"!"


def test_a_cut_upload_is_repeated_and_a_stopped_push_continues(hub: Hub, push: Push) -> None:
    hub.faults = {f"lfs/{SHA256}": [0, 500, 429]}
    push()  # huggingface_hub repeats the upload
    assert hub.repositories["me/model"].files["model.gguf"] == WEIGHTS
    hub.repositories.clear()
    hub.lfs.clear()
    hub.faults = {f"lfs/{SHA256}": [0] * 6}
    with pytest.raises(SkillFailed, match=r"Hugging Face Hub: .*finished transfers are not"):
        push()
    assert len(hub.repositories["me/model"].commits) == 1, "the commit follows the files"
    others = len(hub.lfs)
    before = hub.count("PUT /lfs/")
    assert push().changed
    assert hub.count("PUT /lfs/") - before == 2 - others


@pytest.mark.parametrize(
    ("route", "status", "message"),
    [
        ("/api/models/", 401, "the token is not accepted, or there is no such repository"),
        ("repos/create", 403, "the token does not permit this (status 403). Use a token with wri"),
        ("/commit/", 409, "another upload changed the repository at the same time (status 409)"),
        ("/commit/", 429, "too many requests were sent (status 429). Run the line again in"),
        ("preupload", 500, "its server failed (status 500). Run the line again; finished"),
        (
            "validate-yaml",
            500,
            "its server failed (status 500). Run the line again; finished",
        ),
    ],
)
def test_refusals_of_the_hub(hub: Hub, push: Push, route: str, status: int, message: str) -> None:
    hub.faults = {route: [status] * 9}
    with pytest.raises(SkillFailed) as caught:
        push()
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{hub.url}/me/model: the Hugging Face Hub: ")
    assert TOKEN not in str(caught.value)
    assert not hub.count("/commit/main") or route == "/commit/"


def test_a_private_push_does_not_go_to_a_public_repository(hub: Hub, push: Push) -> None:
    hub.repositories["me/model"] = Repository("model", private=False)
    with pytest.raises(UsageError, match=r"is public. Add --public to push"):
        push()
    assert not push(public=True).private
    assert not push("me/other", public=True).private
    assert not hub.repositories["me/other"].private


def test_nothing_is_sent_without_consent(hub: Hub, folder: Path) -> None:
    def refuse(action: str) -> None:
        raise NotAllowed(action)

    with pytest.raises(NotAllowed, match="sends 1 file, 2 bytes to"):
        hubs.push("me/m", "model", {"a": b"ab"}, public=False, notice=print, allow=refuse)
    assert hub.requests == ["GET /api/models/me/m"]


@pytest.mark.parametrize("name", [None, "", "model", "a/b/c", "../model", "me/mödel"])
def test_a_push_needs_a_repository(hub: Hub, push: Push, name: str | None) -> None:
    with pytest.raises(UsageError, match="Name the repository USER/REPO, as in --to"):
        push(name)
    assert not hub.requests


def test_offline_and_without_a_token_nothing_is_sent(
    hub: Hub, push: Push, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE is set"):
        push()
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE is set"):
        hubs.find("hf:me/model")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(
        UsageError, match=r"needs a token with write access. Store a token with `hf auth login`"
    ):
        push()
    assert not hub.requests


def test_a_missing_package_is_named_with_the_extra(
    push: Push, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"huggingface_hub, .* \"nanda-harness\[hub\]\""):
        push()


def test_an_unreachable_hub(push: Push, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SkillFailed, match=r"127.0.0.1:9/me/model: the Hugging Face Hub: .*refused"):
        push()
    with pytest.raises(ModelUnavailable):
        hubs.find("hf:me/model")


@pytest.fixture
def model(hub: Hub) -> Repository:
    card = b"---\nlicense: mit\nbase_model: you/base\ntags: [nanda-annotator]\n---\n"
    files = {"m.Q4_K_M.gguf": WEIGHTS, "m-lora.gguf": b"lora", "README.md": card}
    hub.repositories["me/model"] = Repository("model", files=files)
    return hub.repositories["me/model"]


def test_the_gguf_of_a_model_is_found_at_its_commit(model: Repository) -> None:
    entry, bases, tags = hubs.find("hf:me/model")
    assert entry.hub == f"me/model@{model.commits[-1]}"
    assert (entry.member, entry.sha256, entry.license) == ("m.Q4_K_M.gguf", SHA256, "mit")
    assert (bases, tags) == (("you/base",), {"nanda-annotator"})
    assert hubs.find("hf:me/model@main", "m-lora.gguf").entry.member == "m-lora.gguf"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"pytorch_model.bin": b""}, "has no GGUF file or adapter to load.*Pickle files are not"),
        (
            {"a.gguf": b"", "b.gguf": b""},
            "has several GGUF files. `/models add hf:me/model FILE` .*: a.gguf, b.gguf",
        ),
    ],
)
def test_repositories_without_a_file_to_load(
    model: Repository, files: dict[str, bytes], message: str
) -> None:
    model.files = files
    with pytest.raises(InputError, match=message):
        hubs.find("hf:me/model")
    with pytest.raises(InputError, match=r"has no c\.gguf\."):
        hubs.find("hf:me/model", "c.gguf")


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ("hf:me/none", ModelUnavailable, "there is no such repository, revision or file"),
        ("hf:model", UsageError, "'model' is not the name of a repository"),
    ],
)
def test_references_without_a_model(
    hub: Hub, reference: str, error: type[HarnessError], message: str
) -> None:
    with pytest.raises(error, match=message):
        hubs.find(reference)


def store(tmp_path: Path, entry: FileEntry) -> FileStore:
    return FileStore({"m": entry}, tmp_path / "cache", io.StringIO().write)


def test_a_download_is_verified_and_an_interrupted_one_continues(
    hub: Hub, model: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    entry = hubs.find("hf:me/model").entry
    files = store(tmp_path, entry)
    assert (files.missing("m"), files.to_fetch("m")) == (None, len(WEIGHTS))
    hub.faults = {"body": [1] * 9}
    with pytest.raises(ModelUnavailable, match="me/model: the Hugging Face Hub"):
        store(tmp_path, entry).ensure("m")
    hub.faults = {"body": [1]}
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)
    path = files.ensure("m")
    assert path.read_bytes() == WEIGHTS
    assert hub.count("m.Q4_K_M.gguf bytes=5120-")
    requests = len(hub.requests)
    assert store(tmp_path, entry).ensure("m") == path
    assert len(hub.requests) == requests


def test_a_download_without_the_hub_makes_a_model_unavailable(
    model: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With this error, the fallback serves."""
    from huggingface_hub import constants

    entry = hubs.find("hf:me/model").entry
    with monkeypatch.context() as offline:
        offline.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(ModelUnavailable, match="HF_HUB_OFFLINE is set"):
            store(tmp_path, entry).ensure("m")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelUnavailable, match=r"huggingface_hub, .* \"nanda-harness\[hub\]\""):
        store(tmp_path, entry).ensure("m")


def test_another_file_than_the_pinned_one_is_deleted(model: Repository, tmp_path: Path) -> None:
    entry = hubs.find("hf:me/model").entry
    model.files["m.Q4_K_M.gguf"] = WEIGHTS[::-1]
    with pytest.raises(ChecksumMismatch, match=r"is expected. The file was deleted"):
        store(tmp_path, entry).ensure("m")
    assert not any(path.exists() for path in (tmp_path / "hub-cache").rglob("*.gguf"))
    model.files["m.Q4_K_M.gguf"] = WEIGHTS
    assert store(tmp_path, entry).ensure("m").read_bytes() == WEIGHTS
