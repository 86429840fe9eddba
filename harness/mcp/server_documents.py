"""MCP resources: help on tools, documents of skills, and the files that calls have saved."""

from __future__ import annotations

import base64
import json
import mimetypes
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

import anyio.to_thread
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from harness.api.document import Document, DocumentSource
from harness.errors import HarnessError, NothingFound
from harness.mcp.server_calls import Calls
from harness.settings import Settings
from harness.support.reading.bounded_files import read_bytes

T = TypeVar("T")

SCHEME = "harness"
PAGE = 100
"""Documents of one answer."""
BYTES = 10_000_000
"""Maximum size of a saved file that is read."""


class Help(DocumentSource):
    """The complete descriptions of the tools, as JSON."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def documents(self, settings: Settings, after: str, most: int) -> list[Document]:
        names = sorted(name for name in self._calls.tools if name > after)
        about = "All options of the tool, and the form of its result"
        return [Document(name, f"help on {name}", about) for name in names[:most]]

    def document(self, settings: Settings, key: str) -> str:
        if key not in self._calls.tools:
            raise NothingFound(f"there is no tool {key}")
        return self._calls.tools[key].complete().model_dump_json(by_alias=True, exclude_none=True)


class Documents:
    """Help on tools, the documents of skills, and the files that calls have saved."""

    def __init__(self, calls: Calls) -> None:
        self._calls, self._settings = calls, calls.app.settings

    def _sources(self) -> Iterator[tuple[str, DocumentSource]]:
        yield "help", Help(self._calls)
        for name, found in self._calls.skills.items():
            if isinstance(found.skill, DocumentSource):
                yield name, found.skill

    async def list_resources(
        self, ctx: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        first, after = _position(params.cursor if params else None)
        listed: list[types.Resource] = []
        for name, source in self._sources():
            if first and name != first:
                continue
            most = PAGE - len(listed)
            found = await _in_thread(source.documents, self._settings, after, most)
            listed += (_resource(name, source, one) for one in found)
            if len(listed) == PAGE:
                cursor = json.dumps([name, found[-1].key])
                return types.ListResourcesResult(resources=listed, next_cursor=cursor)
            first, after = "", ""
        return types.ListResourcesResult(resources=listed)

    async def list_templates(
        self, ctx: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(
            resource_templates=[
                types.ResourceTemplate(
                    name=name,
                    uri_template=f"{SCHEME}://{name}/{{key}}",
                    description=f"A document of /{name}",
                    mime_type=source.document_type,
                )
                for name, source in self._sources()
            ]
        )

    async def read_resource(
        self, ctx: ServerRequestContext[Any], params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        uri = str(params.uri)
        parts = urlsplit(uri)
        source = dict(self._sources()).get(parts.netloc) if parts.scheme == SCHEME else None
        path = Path(url2pathname(parts.path))
        if source is not None:
            key = unquote(parts.path.removeprefix("/"))
            text = await _in_thread(source.document, self._settings, key)
            found: types.TextResourceContents | types.BlobResourceContents
            found = types.TextResourceContents(uri=uri, text=text, mime_type=source.document_type)
        elif parts.scheme == "file" and path in self._calls.saved:
            found = _file(uri, await _in_thread(read_bytes, path, BYTES))
        else:
            raise MCPError(types.INVALID_PARAMS, f"Unknown resource: {uri[:200]}")
        return types.ReadResourceResult(contents=[found])


async def _in_thread(read: Callable[..., T], *arguments: Any) -> T:
    """Return what `read` returns; its errors become those of the protocol."""
    try:
        return await anyio.to_thread.run_sync(read, *arguments)
    except HarnessError as error:
        raise MCPError(types.INVALID_PARAMS, str(error)) from error
    except OSError as error:
        raise MCPError(types.INVALID_PARAMS, f"cannot be read: {error.strerror}") from error


def _position(cursor: str | None) -> tuple[str, str]:
    """Return the skill and the key of the last document that a client has."""
    if cursor is None:
        return "", ""
    try:
        skill, key = json.loads(cursor)
    except (TypeError, ValueError) as exc:
        raise MCPError(types.INVALID_PARAMS, f"Invalid cursor: {cursor[:200]}") from exc
    return str(skill), str(key)


def _resource(skill: str, source: DocumentSource, document: Document) -> types.Resource:
    return types.Resource(
        name=document.name,
        uri=f"{SCHEME}://{skill}/{quote(document.key, safe='')}",
        description=document.description or None,
        mime_type=source.document_type,
    )


def _file(uri: str, content: bytes) -> types.TextResourceContents | types.BlobResourceContents:
    kind, _ = mimetypes.guess_type(uri)
    try:
        return types.TextResourceContents(uri=uri, text=content.decode(), mime_type=kind)
    except UnicodeDecodeError:
        blob = base64.b64encode(content).decode()
        return types.BlobResourceContents(uri=uri, blob=blob, mime_type=kind)
