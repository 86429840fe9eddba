"""Read the form of a request in the thread of its endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.from_thread

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request


def fields_of(request: Request) -> dict[str, str]:
    """Return the text fields of a form; of a field that occurs twice, the last."""
    form = anyio.from_thread.run(_form, request)
    return {name: value for name, value in form.items() if isinstance(value, str)}


async def _form(request: Request) -> FormData:
    return await request.form()
