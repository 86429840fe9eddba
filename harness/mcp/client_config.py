"""Read and change mcp.json, which lists the MCP servers of the user or a trusted project."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from harness.errors import InputError, UsageError, did_you_mean, first_error
from harness.plugins.trust import TrustStore
from harness.redaction import redact, remember
from harness.settings import Settings
from harness.support import bounded_files

SERVERS = "mcpServers"
MAX_BYTES = 1_000_000
MOST = 50
"""Maximum number of servers in a file."""
_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}", re.ASCII)
_SCHEME = re.compile(r"\A(?:Basic|Bearer|Token) ", re.IGNORECASE)
"""Matches the scheme at the beginning of the header Authorization."""
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9-]+|_{2,}")


class Written(BaseModel):
    """A server as written in mcp.json; fields that only other MCP clients use are ignored."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")
    type: Literal["", "stdio", "http", "streamable-http", "streamableHttp"] = ""
    command: str = ""
    args: list[str] = []
    env: dict[str, str] = {}
    url: str = ""
    headers: dict[str, str] = {}
    disabled: bool = False

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        if bool(self.command) == bool(self.url):
            raise ValueError("a server needs a command or a url, and not both")
        if self.url and not self.url.startswith(("https://", "http://", "${")):
            raise ValueError("the url is not http or https")
        return self


@dataclass(frozen=True, slots=True)
class Entry:
    """A server of mcp.json.

    Attributes:
        name: the first part of the names of the server's tools, NAME__TOOL. The name has neither
            two underscores in a row nor an underscore at the end.
        where: the file and the line, for messages.
        written: the server as written in mcp.json. Variables such as `${TOKEN}` are not replaced.
    """

    name: str
    where: str
    written: Written

    @property
    def place(self) -> str:
        """The command or the address as written in mcp.json, with secrets redacted."""
        written = self.written
        return redact(
            shlex.join([written.command, *written.args]) if written.command else written.url
        )

    @property
    def digest(self) -> str:
        """SHA-256 of `written`; after a change of the server, its tools need new permissions."""
        return hashlib.sha256(self.written.model_dump_json().encode()).hexdigest()

    def resolved(self, environ: Mapping[str, str]) -> Written:
        """Return the server after replacing the variables `${NAME}` and `${NAME:-default}`.

        From then on, secrets in the address, the environment and the headers of the server are
        redacted in all output.

        Raises:
            UsageError: a variable without a default is not set in the environment, or the server is
                invalid with the values of its variables.
        """

        def value(found: re.Match[str]) -> str:
            name, default = found[1], found[2]
            if name not in environ and default is None:
                raise UsageError(
                    f"the server {self.name} needs the environment variable {name}, which is not "
                    "set",
                    where=self.where,
                )
            return environ.get(name) or default or ""

        def replaced(data: Any) -> Any:
            if isinstance(data, str):
                return _VARIABLE.sub(value, data)
            if isinstance(data, list):
                return [replaced(one) for one in data]
            if isinstance(data, dict):
                return {key: replaced(one) for key, one in data.items()}
            return data

        try:
            found = Written.model_validate(replaced(self.written.model_dump()))
        except ValidationError as exc:
            problem = f"the server {self.name}, with its variables replaced: {first_error(exc)}"
            # the ValidationError contains values, which may be secret
            raise UsageError(problem, where=self.where) from None
        for name, secret in {"key": found.url, **found.env, **found.headers}.items():
            remember(_SCHEME.sub("", secret), "key" if name in found.headers else name)
        return found


@dataclass(slots=True)
class Configuration:
    """The contents of all mcp.json files.

    Attributes:
        entries: the usable servers, in the order of the files.
        problems: an error for each server or file that is left out.
        untrusted: the project's files whose current content is not trusted.
    """

    entries: list[Entry] = field(default_factory=list)
    problems: list[UsageError] = field(default_factory=list)
    untrusted: list[Path] = field(default_factory=list)


def read(settings: Settings) -> Configuration:
    """Return the contents of the user's mcp.json and the project's trusted mcp.json files."""
    found, trust = Configuration(), TrustStore(settings.trust_file)
    for path in (settings.mcp_file, *settings.project_mcp_files):
        source: Path | None = path
        if path != settings.mcp_file and path.exists():
            source = trust.trusted(path)
        if source is None:
            found.untrusted.append(path)
            continue
        try:
            text, content = _load(path, source)
            servers = content[SERVERS]
            if len(servers) > MOST:
                message = f"it has {len(servers)} servers; {MOST} are allowed"
                raise InputError(message, where=str(path))
        except UsageError as error:
            found.problems.append(error)
            continue
        finally:
            if source != path:
                shutil.rmtree(source.parent, ignore_errors=True)
        for name, server in servers.items():
            try:
                entry = _entry(name, server, partial(_place, path, text, SERVERS, name))
                known = {one.name: one.where for one in found.entries}
                if taken := known.get(entry.name):
                    reason = f"is left out: {taken} has a server with this name"
                    raise UsageError(f"the server {entry.name} {reason}", where=entry.where)
                found.entries.append(entry)
            except UsageError as error:
                found.problems.append(error)
    return found


def add(path: Path, name: str, server: Mapping[str, Any], *, force: bool = False) -> Entry:
    """Add a server to the file `path`, and return the new entry.

    Args:
        server: the server in the form of mcp.json.
        force: True to replace a server with the same name.

    Raises:
        UsageError: the server cannot be used, or a server with this name exists and `force` is
            False.
        InputError: the file cannot be used.
        OutputError: the file cannot be written, and is unchanged.
    """
    text, content = _load(path)
    entry = replace(_entry(name, server, lambda *keys: ""), where=str(path))
    for known in _named(content, entry.name):
        if not force:
            raise UsageError(
                f"there is a server {known!r}",
                where=_place(path, text, SERVERS, known),
                hint="--force replaces the server.",
            )
        del content[SERVERS][known]
    content[SERVERS][name] = dict(server)
    bounded_files.write_json(path.resolve(), content, f"the server {name!r}", mode=0o600)
    return entry


def remove(path: Path, name: str) -> None:
    """Delete a server from the file `path`.

    Args:
        name: the server's name as written in the file, or as in the names of its tools.

    Raises:
        UsageError: there is no server with this name.
        InputError: the file cannot be used.
        OutputError: the file cannot be written, and is unchanged.
    """
    _, content = _load(path)
    names = [name] if name in content[SERVERS] else _named(content, name)
    if not names:
        hint = did_you_mean(name, content[SERVERS]) or "`/mcp` lists all servers."
        raise UsageError(f"there is no server {name!r}", where=str(path), hint=hint)
    for one in names:
        del content[SERVERS][one]
    bounded_files.write_json(path.resolve(), content, "the servers", mode=0o600)


def _named(content: Mapping[str, Any], name: str) -> list[str]:
    """Return the names, as written in a file, of the servers whose `Entry.name` is `name`."""
    return [one for one in content[SERVERS] if _prefix_of(one) == name]


def _entry(name: str, server: object, place: Callable[..., str]) -> Entry:
    """Return the entry of a server of mcp.json.

    Args:
        name: the server's name as written in the file.
        server: the parsed JSON of the server.
        place: returns the file and the line of a nested key of the server, for messages; it may
            return "".

    Raises:
        UsageError: the server or its name cannot be used.
    """
    try:
        written = Written.model_validate(server)
    except ValidationError as exc:
        problem = f"the server {name!r}: {first_error(exc)}"
        raise UsageError(problem, where=place(*map(str, exc.errors()[0]["loc"]))) from exc
    if not (prefix := _prefix_of(name)):
        raise UsageError(f"the server {name!r} needs a name with letters or digits", where=place())
    return Entry(prefix, place(), written)


def _load(path: Path, source: Path | None = None) -> tuple[str, dict[str, Any]]:
    """Return the text and the parsed content of the file `path`.

    A missing file counts as a file without servers, with the text "".

    Args:
        source: a trusted copy, which is read instead of the file.

    Raises:
        InputError: the file cannot be read, or has no object `mcpServers`.
    """
    try:
        text, content = bounded_files.parsed_json(source or path, MAX_BYTES, path)
    except InputError as exc:
        if isinstance(exc.__cause__, FileNotFoundError):
            return "", {SERVERS: {}}
        raise
    if not isinstance(content, dict) or not isinstance(content.get(SERVERS), dict):
        raise InputError(
            f"it has no object {SERVERS!r}",
            where=_place(path, text, SERVERS),
            hint=f'Write {{"{SERVERS}": {{"NAME": {{"command": "...", "args": []}}}}}}.',
        )
    return text, content


def _prefix_of(name: str) -> str:
    """Return `Entry.name` for a server's name in a file; "" if no character can be used."""
    return _NOT_IN_NAMES.sub("_", name).strip("_")[:30].rstrip("_")


def _place(path: Path, text: str, *keys: str) -> str:
    """Return "FILE:LINE" for the innermost key that is found in `text`.

    Args:
        path: the path of the file.
        text: the content of the file.
        keys: the nested keys, outermost first.
    """
    at = 0
    for key in keys:
        written = re.escape(json.dumps(key, ensure_ascii=False))
        found = re.compile(rf"{written}\s*:").search(text, at)
        if found is None:
            break
        at = found.start()
    line = text.count("\n", 0, at) + 1
    return f"{path}:{line}"
