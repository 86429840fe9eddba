"""A Hugging Face Hub of tests: the routes that huggingface_hub calls, over a real socket.

    with hub_server() as hub:
        hub.url, hub.repositories["me/model"].files, hub.requests

Large files (.gguf, .safetensors, .parquet) take the way of Git LFS, the others come in the commit.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml
from local_http import Handler, local_server

TOKEN = "hf_0123456789abcdefghijklmnopqrstuv"
LARGE = (".gguf", ".safetensors", ".parquet")


@dataclass
class Repository:
    kind: str
    private: bool = True
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=lambda: ["0" * 40])


@dataclass
class Hub:
    """The state of the server.

    Attributes:
        lfs: the contents of large files by SHA-256; a file of an interrupted push stays here.
        faults: statuses with which the next requests of a route are answered, by a part of its
            path; 0 closes the connection in the middle of the body.
        requests: method, path and range of each request.
        tokens: the tokens that were sent.
    """

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    lfs: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[int]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)

    def count(self, part: str) -> int:
        return sum(part in one for one in self.requests)


class _Handler(Handler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def reply(self, body: Any = None, status: int = 200, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send(status, data, {name.replace("_", "-"): text for name, text in headers.items()})

    def is_faulty(self) -> bool:
        part = f" {self.headers['Range']}" if self.headers["Range"] else ""
        self.hub.requests.append(f"{self.command} {self.path}{part}")
        self.hub.tokens.add((self.headers["Authorization"] or "").removeprefix("Bearer "))
        for part, statuses in self.hub.faults.items():
            if part in self.path and statuses:
                status = statuses.pop(0)
                if status:
                    self.body()
                    self.reply({"error": f"made up, for {TOKEN}"}, status)
                else:
                    self.rfile.read(int(self.headers["Content-Length"] or 0) // 2)
                    self.close_connection = True
                return True
        return False

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def repository(self, name: str) -> Repository | None:
        found = self.hub.repositories.get(name)
        if found is None:
            self.reply({"error": "no such"}, 404, X_Error_Code="RepoNotFound")
        return found

    def do_GET(self) -> None:
        if self.is_faulty():
            return
        path = self.path.partition("?")[0]
        if found := re.fullmatch(r"/(.+?/.+?)/resolve/(\w+)/(.+)", path):
            repository = self.repository(found[1])
            if repository is None:
                return
            data = repository.files.get(found[3])
            if data is None or found[2] not in repository.commits:
                self.reply(b"", 404, X_Error_Code="EntryNotFound")
                return
            tag = hashlib.sha256(data).hexdigest()
            start = int((self.headers["Range"] or "bytes=0-")[6:].partition("-")[0])
            more = {"Content-Range": f"bytes {start}-/{len(data)}"} if start else {}
            head = {"ETag": f'"{tag}"', "X-Repo-Commit": found[2], "Accept-Ranges": "bytes", **more}
            if self.command == "HEAD":
                self.send(200, b"", {"Content-Length": str(len(data)), **head})
            elif self.hub.faults.get("body"):  # the response is cut in the middle
                self.hub.faults["body"].pop()
                self.send(200, data[: len(data) // 2], {"Content-Length": str(len(data)), **head})
                self.close_connection = True
            else:
                self.send(206 if start else 200, data[start:], head)
            return
        found = re.fullmatch(r"/api/(?:model|dataset)s/([^/]+/[^/]+)(?:/revision/(.+))?", path)
        repository = self.repository(found[1]) if found else None
        if found is None or repository is None:
            return
        commit = found[2] if found[2] in repository.commits else repository.commits[-1]
        card = re.match(rb"---\n(.*?)---\n", repository.files.get("README.md", b""), re.S)
        data = yaml.safe_load(card[1]) if card else {}
        siblings = []
        for name, content in repository.files.items():
            large = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            lfs = {**large, "pointerSize": 130} if name.endswith(LARGE) else None
            siblings.append({"rfilename": name, "size": len(content), "blobId": "b", "lfs": lfs})
        self.reply(
            {
                "id": found[1],
                "sha": commit,
                "private": repository.private,
                "siblings": siblings,
                "tags": data.get("tags") or [],
                "cardData": data,
            }
        )

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        if not self.is_faulty():
            data = self.body()
            assert hashlib.sha256(data).hexdigest() == self.path.rpartition("/")[2]
            self.hub.lfs[self.path.rpartition("/")[2]] = data
            self.reply({})

    def do_POST(self) -> None:
        if self.is_faulty():
            return
        body, path = self.body(), self.path.partition("?")[0]
        if path == "/api/repos/create":
            given = json.loads(body)
            name = f"{given['organization']}/{given['name']}"
            private = given.get("visibility") == "private"
            self.hub.repositories[name] = Repository(given["type"], private)
            self.reply({"url": f"{self.hub.url}/{name}"})
        elif path == "/api/validate-yaml":
            text = json.loads(body)["content"]
            yaml.safe_load(text.split("---\n")[1])
            self.reply({"warnings": [], "errors": []})
        elif found := re.fullmatch(r"/(?:datasets/)?(.+)\.git/info/lfs/objects/batch", path):
            objects = json.loads(body)["objects"]
            for one in objects:
                if one["oid"] not in self.hub.lfs:
                    one["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{one['oid']}"}}
            self.reply({"objects": objects, "transfer": "basic"})
        elif found := re.fullmatch(r"/api/\w+s/([^/]+/[^/]+)/(preupload|commit)/main", path):
            repository = self.repository(found[1])
            if repository is not None:
                (self.preupload if found[2] == "preupload" else self.commit)(repository, body)

    def preupload(self, repository: Repository, body: bytes) -> None:
        def oid(name: str) -> str | None:
            data = repository.files.get(name)
            if data is None:
                return None
            git = hashlib.sha1(b"blob %d\0" % len(data) + data)
            return (hashlib.sha256(data) if name.endswith(LARGE) else git).hexdigest()

        files = [
            {
                "path": one["path"],
                "uploadMode": "lfs" if one["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
                "oid": oid(one["path"]),
            }
            for one in json.loads(body)["files"]
        ]
        self.reply({"files": files})

    def commit(self, repository: Repository, body: bytes) -> None:
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.hub.lfs[value["oid"]]
        commit = hashlib.sha1(body + repository.commits[-1].encode()).hexdigest()
        repository.commits.append(commit)
        url = f"{self.hub.url}/me/any/commit/{commit}"
        self.reply({"commitUrl": url, "commitOid": commit, "success": True})


@contextmanager
def hub_server() -> Iterator[Hub]:
    hub = Hub()
    with local_server(type("Bound", (_Handler,), {"hub": hub})) as port:
        hub.url = f"http://127.0.0.1:{port}"
        yield hub
