"""Read messages from stdin, one per line, within limits.

`agent.py mcp` and `agent.py acp` communicate over stdin and stdout. A client may be faulty, so
reading a line that is too long or has too many values needs no more memory than reading an allowed
message.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator

import anyio.to_thread

from harness.support.bounded_http import MESSAGE, VALUES, has_too_many_values

HEAD = 999
"""Number of leading bytes that are searched for id and method if a line exceeds a limit."""
INVALID_REQUEST = -32600
_ID = re.compile(rb'"id"\s*:\s*(\d{1,18}|"[\w-]{1,99}")')
_METHOD = re.compile(rb'"method"\s*:')


class StdinMessages:
    """An asynchronous iterator over the lines of stdin.

    A request that exceeds a limit is replaced by a request of an unknown method, so that the client
    receives an error. An answer that exceeds a limit is replaced by an error, so that no caller
    waits for the answer. Skills and their child processes read the null device instead of stdin.
    """

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(0), "rb")
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    async def __aiter__(self) -> AsyncIterator[str]:
        while line := await anyio.to_thread.run_sync(self._next, abandon_on_cancel=True):
            yield line.decode(errors="replace")

    def _next(self) -> bytes:
        """Return the next line or its replacement, or b"" at the end of stdin."""
        line = self._file.readline(MESSAGE)
        if len(line) < MESSAGE and not has_too_many_values(line):
            return line
        head = line[:HEAD]
        while line and not line.endswith(b"\n"):
            line = self._file.readline(1 << 16)
        problem = f"a message of more than {MESSAGE:,} bytes or {VALUES:,} values"
        number = json.loads(found[1]) if (found := _ID.search(head)) else 0
        message: dict[str, object] = {"jsonrpc": "2.0", "id": number}
        if found and not _METHOD.search(head):
            message["error"] = {"code": INVALID_REQUEST, "message": problem}
        else:
            message["method"] = problem
        return json.dumps(message).encode()
